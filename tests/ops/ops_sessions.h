/* ops_sessions.h - sessions with a past, for cases that work on their state.
 *
 * Each session has rows in its window, projections in its rings and compressed rows in its blocks, all
 * random, at the places that kv_state.h names. */
#ifndef DS4_TESTS_OPS_SESSIONS_H
#define DS4_TESTS_OPS_SESSIONS_H

#include "ops/ops.h"

/* Layers of a case, by ratio. */
enum { NONE = 0, RATIO_4 = 1, RATIO_128 = 2 };

/* A session and what the host knows of it. */
typedef struct past {
    uint32_t   pos, n, first;      /* tokens before the step, in it; its first row */
    ops_array *tail, *cold, *warm; /* blocks side by side */
    ds4_block  block[512];
} past;

typedef struct state {
    uint32_t n;
    past     session[OPS_MAX_SPANS];
} state;

/* Values in an attention row, or in one of the indexer. */
uint32_t ops_n_values(const ops *o, bool index);

/* A record of a row in the case's form, by the kernels' reference; and back. */
void ops_pack(const ops *o, uint8_t *record, const float *x, bool index);
void ops_unpack(const ops *o, float *x, const uint8_t *record, bool index);

/* Copy record `row` of a table at base, into the table or out of it. */
void ops_copy_record(const ds4_kv_rows *t, uint8_t *base, uint32_t row, uint8_t *record, bool into);

/* The part of the blocks that holds row c of a layer, on the host. */
uint8_t *ops_block_of(const ops *o, const ds4_kv_layer *l, uint8_t *cold, uint8_t *warm, uint32_t c,
                      bool index);

/* A record of values of the case's fill. */
void ops_random_record(ops *o, uint8_t *record, bool index);

/* Share the step's tokens among sessions at positions where something begins, ends or is full. */
void ops_make_state(ops *o, state *s);

/* Packed rows of this step's tokens, as ds4_op_kv_row leaves them. */
ops_array *ops_step_rows(ops *o);

/* Rotate pairs of values by angles (cosines, then sines), or back. */
void ops_rotate(double *x, uint32_t n, const float *angles, bool back);

/* Cosines and sines of angles of all sizes for every token. */
ops_array *ops_make_angles(ops *o);

/* x = rms(x, w). */
void ops_normed(double *x, uint32_t n, const float *w);

/* x = H x / sqrt(n). */
void ops_hadamard(double *x, uint32_t n);

#endif
