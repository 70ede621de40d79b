/* arena.h - memory that is given back all at once, when a request is over. */
#ifndef DS4_APP_SERVER_ARENA_H
#define DS4_APP_SERVER_ARENA_H

#include "base/err.h"
#include "base/str.h"

typedef struct ds4_arena_block ds4_arena_block;

/* Zeroed is empty. A failed allocation is remembered. */
typedef struct ds4_arena {
    ds4_arena_block *blocks;
    bool             failed;
} ds4_arena;

void     *ds4_arena_alloc(ds4_arena *a, size_t n, size_t each);     /* zeroed; NULL when short */
ds4_slice ds4_arena_copy(ds4_arena *a, ds4_slice s);                /* with a zero byte behind */
ds4_slice ds4_arena_take(ds4_arena *a, ds4_str *s);     /* moves the text here; *s is empty again */
void      ds4_arena_clear(ds4_arena *a);

#endif
