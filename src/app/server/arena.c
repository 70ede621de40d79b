/* arena.c - see arena.h. */
#include "app/server/arena.h"

#include <stdlib.h>
#include <string.h>

struct ds4_arena_block {
    ds4_arena_block *next;
    size_t           used, capacity;
    _Alignas(16) char data[];
};

enum { BLOCK_BYTES = 8 << 10, FIRST_ELEMENTS = 8 };

void *ds4_arena_alloc(ds4_arena *a, size_t n, size_t each)
{
    if (each && n > (SIZE_MAX / 2) / each) {
        a->failed = true;
        return NULL;
    }
    const size_t     bytes = (n * each + 15) / 16 * 16;
    ds4_arena_block *b = a->blocks;

    if (!b || bytes > b->capacity - b->used) {
        const size_t capacity = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        a->over |= !ds4_purse_take(a->purse, sizeof *b + capacity);
        b = a->over ? NULL : malloc(sizeof *b + capacity);
        if (!b) {
            if (!a->over) ds4_purse_give(a->purse, sizeof *b + capacity);
            a->failed = true;
            return NULL;
        }
        *b = (ds4_arena_block){ .next = a->blocks, .capacity = capacity };
        a->blocks = b;
        a->n_bytes += sizeof *b + capacity;
    }
    void *p = b->data + b->used;
    b->used += bytes;
    memset(p, 0, bytes);
    return p;
}

ds4_slice ds4_arena_copy(ds4_arena *a, ds4_slice s)
{
    char *p = ds4_arena_alloc(a, s.n_bytes + 1, 1);

    if (!p) return (ds4_slice){ "", 0 };
    if (s.n_bytes) memcpy(p, s.data, s.n_bytes);
    return (ds4_slice){ p, s.n_bytes };
}

ds4_slice ds4_arena_take(ds4_arena *a, ds4_str *s)
{
    a->failed |= s->failed;
    const ds4_slice copy = ds4_arena_copy(a, (ds4_slice){ ds4_str_text(s), s->n_bytes });
    ds4_str_clear(s);
    return copy;
}

void *ds4_arena_grow(ds4_arena *a, void *array, uint32_t n, uint32_t *capacity, size_t each)
{
    if (n < *capacity) return array;
    const uint32_t room = n ? 2 * n : FIRST_ELEMENTS;
    void          *grown = n <= UINT32_MAX / 2 ? ds4_arena_alloc(a, room, each) : NULL;

    if (!grown) {
        a->failed = true;
        return NULL;
    }
    if (n) memcpy(grown, array, n * each);
    *capacity = room;
    return grown;
}

void ds4_arena_append(ds4_arena *a, ds4_slice *text, size_t *room, ds4_slice more)
{
    const size_t both = text->n_bytes + more.n_bytes;

    if (more.n_bytes == 0) return;
    if (text->n_bytes == 0) {
        *text = more;
        *room = 0;
        return;
    }
    if (both >= *room) {
        char *grown = ds4_arena_alloc(a, both + 1, 2);
        if (!grown) return;
        if (text->n_bytes) memcpy(grown, text->data, text->n_bytes);
        text->data = grown;
        *room = 2 * (both + 1);
    }
    char *end = (char *)text->data + text->n_bytes; /* no longer borrowed */
    if (more.n_bytes) memcpy(end, more.data, more.n_bytes);
    end[more.n_bytes] = '\0';
    text->n_bytes = both;
}

void ds4_arena_clear(ds4_arena *a)
{
    while (a->blocks) {
        ds4_arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    ds4_purse_give(a->purse, a->n_bytes);
    a->n_bytes = 0;
    a->failed = a->over = false;
}
