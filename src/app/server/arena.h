/* arena.h - memory that is given back all at once, when a request is over. */
#ifndef DS4_APP_SERVER_ARENA_H
#define DS4_APP_SERVER_ARENA_H

#include "app/server/budget.h"
#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

typedef struct ds4_arena_block ds4_arena_block;

/* Zeroed is empty. A failed allocation is remembered. */
typedef struct ds4_arena {
    ds4_arena_block *blocks;
    size_t           n_bytes;   /* taken from the system */
    ds4_purse       *purse;     /* that they are taken out of too; NULL: none */
    bool             failed;
    bool             over;      /* it failed because the purse may have no more */
} ds4_arena;

void     *ds4_arena_alloc(ds4_arena *a, size_t n, size_t each);     /* zeroed; NULL when short */
ds4_slice ds4_arena_copy(ds4_arena *a, ds4_slice s);                /* with a zero byte behind */
ds4_slice ds4_arena_take(ds4_arena *a, ds4_str *s);     /* moves the text here; *s is empty again */

/* Make room for one more behind n elements. Returns the array itself while n < *capacity, else a
 * copy with at least twice the room, zeroed behind the n; NULL when short. */
void *ds4_arena_grow(ds4_arena *a, void *array, uint32_t n, uint32_t *capacity, size_t each);

/* Append to a text: an empty one borrows `more`, which must lie in the arena or be constant. *room
 * is 0 at first, then how many bytes the text may fill there with the zero byte behind it. It
 * doubles, so that many small parts cost what their sum does. */
void ds4_arena_append(ds4_arena *a, ds4_slice *text, size_t *room, ds4_slice more);

void      ds4_arena_clear(ds4_arena *a);

#endif
