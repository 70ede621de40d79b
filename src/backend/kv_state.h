/* kv_state.h - the form of all sessions' state, and the place of each row in it (floor 2).
 *
 * A session's state is a tail (raw windows and compressor rings of all layers) and blocks
 * (compressed rows of all layers for 256 tokens each). Rings are indexed by position, so
 * their content is a function of the position and not of the way that led to it. Backends,
 * and those who copy state, ask ds4_kv_rows_at() where rows lie; nobody else computes it.
 * Source: docs/MODEL.md sections 6 and 7. */
#ifndef DS4_BACKEND_KV_STATE_H
#define DS4_BACKEND_KV_STATE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    DS4_BLOCK_TOKENS  = 256,        /* tokens whose compressed rows make one block */
    DS4_KV_MAX_PLANES = 3,
    DS4_KV_ALIGN      = 16,         /* bytes; planes and tables begin at its multiples */
};

/* The form in which a device stores rows. The numbers stand in files of the store. */
typedef enum ds4_kv_form {
    DS4_KV_RECORDS = 0,             /* packed rows, one behind the other */
    DS4_KV_FLOATS  = 1,             /* plain float32, no rounding (diagnostic) */
    DS4_KV_PLANES  = 2,             /* fields of packed rows apart: all codes, all scales, all F16 values */
} ds4_kv_form;

/* A table of rows: n_planes arrays [n_rows][width], in the order of the fields of a record. */
typedef struct ds4_kv_rows {
    uint64_t off;                   /* bytes from the beginning of its memory */
    uint32_t n_rows;                /* places of a ring, or rows of a block */
    uint32_t n_planes;
    uint32_t width[DS4_KV_MAX_PLANES];      /* bytes */
} ds4_kv_rows;

/* A compressor's ring: k [n_rows][width] floats, then s likewise; position pos at
 * pos % n_rows. */
typedef struct ds4_kv_ring {
    uint64_t off;                   /* bytes, in the tail */
    uint32_t n_rows, width;         /* width in floats: see ds4_op_compress */
} ds4_kv_ring;

/* The place of one layer's state, alike in every session of an engine. */
typedef struct ds4_kv_layer {
    uint32_t    ratio;              /* 0, 4 or 128 tokens in a compressed row */
    ds4_kv_rows raw;                /* tail: attention rows, position pos at pos % n_rows */
    ds4_kv_ring comp, icomp;        /* tail: compressor, and that of the indexer */
    ds4_kv_rows row;                /* block: attention rows; cold for ratio 4, warm for 128 */
    ds4_kv_rows irow;               /* block: indexer rows, warm */
} ds4_kv_layer;

/* The form of all sessions' state. */
typedef struct ds4_kv_layout {
    ds4_kv_form form;
    uint32_t n_nope, n_rot;         /* an attention row: values rounded to FP8, values kept in F16 */
    uint32_t n_index;               /* values in an indexer row; 0 without an indexer */
    uint32_t n_window;              /* tokens that a token sees in full, itself included */
    uint64_t row_bytes, irow_bytes; /* of one row, whatever the form */
    uint64_t cold_bytes, warm_bytes;    /* of a block */
    uint64_t tail_bytes;
    uint32_t n_layers;
    uint32_t n_model;               /* of these, the model's; then those of a drafter, of ratio 0 */
    const ds4_kv_layer *layer;      /* [n_layers] */
} ds4_kv_layout;

typedef struct ds4_kv_range {
    uint64_t off, n_bytes;          /* off from the beginning of the table's memory */
} ds4_kv_range;

/* The bytes of rows first .. first + n - 1, in the order of the planes. Fills n_planes
 * ranges and returns their number. It stands here so that compilers fold it: attention asks
 * for every row. */
static inline uint32_t ds4_kv_rows_at(const ds4_kv_rows *t, uint32_t first, uint32_t n,
                                      ds4_kv_range out[DS4_KV_MAX_PLANES])
{
    uint64_t plane = t->off;

    assert(first + n <= t->n_rows);
    for (uint32_t i = 0; i < t->n_planes; i++) {
        const uint64_t width = t->width[i], bytes = t->n_rows * width;
        out[i] = (ds4_kv_range){ plane + first * width, n * width };
        plane += (bytes + DS4_KV_ALIGN - 1) / DS4_KV_ALIGN * DS4_KV_ALIGN;
    }
    return t->n_planes;
}

/* Positions from, from + 1 ... of a ring of n_rows that lie side by side: at most `to - from`,
 * fewer where the ring begins anew. */
static inline uint32_t ds4_kv_run(uint32_t from, uint32_t to, uint32_t n_rows)
{
    const uint32_t left = n_rows - from % n_rows;
    return to - from < left ? to - from : left;
}

#endif
