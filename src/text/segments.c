/* segments.c - see segments.h. */
#include "text/segments.h"

#include "text/vocab_impl.h"

#include <stdlib.h>
#include <string.h>

void ds4_segments_add(ds4_segments *s, bool trusted, const char *data, size_t n_bytes)
{
    if (n_bytes == 0 || s->failed) return;
    if (s->n == 0 || s->items[s->n - 1].trusted != trusted) {
        if (s->n == s->capacity) {
            const uint32_t capacity = s->capacity ? s->capacity * 2 : 16;
            ds4_segment *items = capacity > s->capacity && capacity <= UINT32_MAX / 2
                                     ? realloc(s->items, capacity * sizeof *items) : NULL;
            if (!items) {
                s->failed = true;
                return;
            }
            s->items = items;
            s->capacity = capacity;
        }
        s->items[s->n++] = (ds4_segment){ .trusted = trusted };
    }
    s->items[s->n - 1].n_bytes += n_bytes;
    ds4_str_add(&s->text, data, n_bytes);
    if (s->text.failed) s->failed = true;
}

void ds4_segments_own(ds4_segments *s, const char *text)
{
    ds4_segments_add(s, true, text, strlen(text));
}

void ds4_segments_foreign(ds4_segments *s, ds4_slice text)
{
    ds4_segments_add(s, false, text.data, text.n_bytes);
}

void ds4_segments_clear(ds4_segments *s)
{
    ds4_str_clear(&s->text);
    free(s->items);
    *s = (ds4_segments){ 0 };
}

ds4_slice ds4_segments_text(const ds4_segments *s)
{
    return (ds4_slice){ ds4_str_text(&s->text), s->text.n_bytes };
}

/* Walks over the special tokens in trusted bytes. */
typedef struct special_walk {
    const ds4_vocab    *v;
    const ds4_segments *s;
    uint32_t            i;              /* segment that is searched */
    size_t              begin, end;     /* what is left of it, as offsets into the text */
} special_walk;

static special_walk walk_from(const ds4_vocab *v, const ds4_segments *s, size_t from)
{
    special_walk w = { .v = v, .s = s };
    if (s->n == 0) return w;
    w.end = s->items[0].n_bytes;
    while (w.end <= from && w.i + 1 < s->n) w.end += s->items[++w.i].n_bytes;
    w.begin = from < w.end ? from : w.end;
    return w;
}

/* The next special token at or behind w->begin: its id and place, or -1 with the place at
 * the end of the text. */
static int32_t walk_next(special_walk *w, size_t *begin, size_t *n_bytes)
{
    while (w->i < w->s->n) {
        if (w->s->items[w->i].trusted) {
            const int32_t id = ds4_vocab_next_special(w->v, w->s->text.data + w->begin,
                                                      w->end - w->begin, begin, n_bytes);
            if (id >= 0) {
                *begin += w->begin;
                w->begin = *begin + *n_bytes;
                return id;
            }
        }
        w->begin = w->end;
        if (++w->i < w->s->n) w->end += w->s->items[w->i].n_bytes;
    }
    *begin = w->s->text.n_bytes;
    *n_bytes = 0;
    return -1;
}

ds4_status ds4_segments_encode_from(const ds4_vocab *v, const ds4_segments *s, size_t from,
                                    ds4_tokens *out, ds4_err *err)
{
    if (s->failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for a prompt");
    const char  *text = ds4_str_text(&s->text);
    special_walk walk = walk_from(v, s, from);
    size_t       pos = from, begin, n_bytes;

    while (pos < s->text.n_bytes) {
        const int32_t id = walk_next(&walk, &begin, &n_bytes);
        DS4_TRY(ds4_vocab_encode(v, text + pos, begin - pos, 0, out, err));
        if (id >= 0) ds4_tokens_add(out, id);
        pos = begin + n_bytes;
    }
    return out->failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for the tokens of a prompt")
                       : DS4_OK;
}

ds4_status ds4_segments_encode(const ds4_vocab *v, const ds4_segments *s, ds4_tokens *out,
                               ds4_err *err)
{
    return ds4_segments_encode_from(v, s, 0, out, err);
}

uint32_t ds4_segments_match(const ds4_vocab *v, const ds4_segments *s, const int32_t *ids,
                            uint32_t n_ids, size_t *n_bytes)
{
    const ds4_slice text = ds4_segments_text(s);
    special_walk walk = walk_from(v, s, 0);
    size_t       pos = 0, special_begin, special_bytes;
    int32_t      special = walk_next(&walk, &special_begin, &special_bytes);
    uint32_t     n = 0;

    for (; n < n_ids; n++) {
        const ds4_slice bytes = ds4_vocab_token_bytes(v, ids[n]);
        if (bytes.n_bytes == 0 || bytes.n_bytes > text.n_bytes - pos) break;
        if (memcmp(text.data + pos, bytes.data, bytes.n_bytes) != 0) break;
        if (ds4_vocab_is_special(v, ids[n])) {
            if (special != ids[n] || special_begin != pos) break;
            special = walk_next(&walk, &special_begin, &special_bytes);
        } else if (pos + bytes.n_bytes > special_begin) {
            break;              /* plain bytes where the text has a marker */
        }
        pos += bytes.n_bytes;
    }
    if (n_bytes) *n_bytes = pos;
    return n;
}
