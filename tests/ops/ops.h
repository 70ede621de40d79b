/* ops.h - one operation at a time on any backend, against a reference in plain C.
 *
 * A case is an operation with a shape, a number of tokens and a kind of values. It makes arrays (on the
 * host and on the device), runs the operation, and compares: what it writes with the reference, what
 * it does not write with what was there. References compute in double from the host's arrays, or
 * exactly where op.h says so under "Agreement". A case that fails says why and ends there. */
#ifndef DS4_TESTS_OPS_H
#define DS4_TESTS_OPS_H

#include "backend/op_check.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "model/kv_layout.h"

#include <setjmp.h>
#include <stdbool.h>

enum { OPS_MAX_ARRAYS = 32, OPS_MAX_WEIGHTS = 16, OPS_MAX_MEMORY = 8,
       OPS_MAX_SPANS = 4, OPS_MAX_TOKENS = 4096 };

typedef enum ops_fill { OPS_ORDINARY, OPS_EXTREME, OPS_ZERO, OPS_N_FILLS } ops_fill;

/* The sizes of a model, as far as operations see them. */
typedef struct ops_shape {
    const char *name;
    uint32_t n_embd, n_hc, n_iters, n_heads, n_head, n_rot, n_window, q_rank, o_groups;
    uint32_t index_heads, n_index, top_k;
    uint32_t n_experts, n_used, n_ffn, n_vocab;
} ops_shape;

/* Memory of the device and what the host knows of it. */
typedef struct ops_array {
    ds4_buf *buf;
    uint8_t *host;                  /* what was put there */
    uint8_t *found;                 /* what is there after the run; NULL before */
    uint64_t n_bytes;
    bool     is_written;            /* a comparison has looked at it */
} ops_array;

/* A matrix and its bytes, as in a file. */
typedef struct ops_weights {
    ds4_matrix w;
    uint8_t   *bytes;
    uint64_t   n_bytes, row_bytes;
} ops_weights;

typedef struct ops {
    const ds4_backend *backend;
    ds4_dev           *dev;
    ds4_limits         limits;
    ds4_kernels        ref;         /* plain C: formats of rows and weights */
    ds4_rng            rng;
    const ops_shape   *shape;
    ops_fill           fill;
    ds4_kv_form        form;        /* of rows in device memory */
    bool               spills;      /* rows of ratio 4 lie in files */
    ds4_kv_layout      kv;
    ds4_kv_layer       layer[3];    /* ratios 0, 4, 128 */
    ops_array          array[OPS_MAX_ARRAYS];
    ops_weights        weights[OPS_MAX_WEIGHTS];
    void              *memory[OPS_MAX_MEMORY];
    uint32_t           n_arrays, n_weights, n_memory;
    uint32_t           n_tokens;
    int32_t            token[OPS_MAX_TOKENS];
    uint32_t           pos[OPS_MAX_TOKENS], span_of[OPS_MAX_TOKENS], logit_row[OPS_MAX_TOKENS];
    ds4_span           span[OPS_MAX_SPANS];
    ds4_batch          batch;
    bool               is_refused;  /* the backend has no such operation or type */
    jmp_buf            end;
    char               why[256];
} ops;

typedef void ops_case(ops *o);

/* A kind of operation that can be run, and its names. */
typedef struct ops_kind {
    const char *name;               /* as OP= names it */
    ds4_op_kind kind;
    ops_case   *run;
    bool        has_state;          /* works on sessions: also run with rows in planes and of floats */
    uint32_t    dtype;              /* products: weight type + 1; 0: it has none */
    double    (*cost)(const ops_shape *s, uint32_t n_tokens);      /* multiplications, about */
} ops_kind;

extern const ops_kind  ops_kinds[];             /* the last has no name */
extern const ops_shape ops_shapes[];

/* ---- ops_run.c ----------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3), noreturn)) void ops_fail(ops *o, const char *fmt, ...);

/* Run a case; true when it passed, or the backend refuses it (then o->is_refused). */
bool ops_run_case(ops *o, ops_case *fn);

uint32_t ops_below(ops *o, uint32_t n);
float    ops_value(ops *o);                     /* of the case's fill */
float    ops_normal(ops *o);                    /* roughly normal, whatever the fill */

/* Arrays: n values, of ops_value(); of bytes; of a pattern that no operation writes. */
ops_array *ops_floats(ops *o, uint64_t n);
ops_array *ops_bytes(ops *o, const void *bytes, uint64_t n_bytes);
ops_array *ops_room(ops *o, uint64_t n_bytes);
/* Zeroed memory of the host that lives as long as the case, also when a backend refuses it. */
void      *ops_memory(ops *o, uint64_t n_bytes);
ops_array *ops_cold(ops *o, const void *bytes, uint64_t n_bytes);       /* bytes in DS4_MEM_COLD */

/* A matrix of random weights; ops_dtype_of() gives the case's type. */
ops_weights *ops_matrix(ops *o, uint32_t dtype, uint32_t n_in, uint32_t n_out, uint32_t n_mats, ds4_use use);

/* A length near n that rows of the type can have. */
uint32_t ops_whole_blocks(uint32_t dtype, uint32_t n);

/* Row r of a matrix, decoded. */
void ops_decode(const ops *o, const ops_weights *w, uint64_t r, float *out);

static inline ds4_view ops_view(const ops_array *a)
{
    return (ds4_view){ a->buf, 0 };
}

static inline ds4_rows ops_rows(const ops_array *a, uint32_t stride)
{
    return (ds4_rows){ { a->buf, 0 }, stride };
}

static inline const float *ops_host(const ops_array *a)
{
    return (const float *)(const void *)a->host;
}

/* Tokens without sessions, at positions of their own; every other row wants logits. */
void ops_plain_batch(ops *o, uint32_t n_vocab);

/* Check, compile, run, wait; then read every array. */
void ops_run(ops *o, ds4_op op);

/* The values of an array as they are now. */
const float *ops_found(ops *o, ops_array *a);

/* A value is as expected up to `bound`; NaN never is. */
void ops_near(ops *o, double got, double want, double bound, const char *what, uint64_t row, uint64_t i);
/* n values of a row agree up to bound times their root mean square, plus 1e-30. */
void ops_near_row(ops *o, const float *got, const double *want, uint32_t n, double bound, const char *what,
                  uint64_t row);
void ops_same_bytes(ops *o, ops_array *a, const void *want, const char *what);

/* Arrays that no comparison has looked at hold what was put there. */
void ops_unchanged(ops *o);

/* ---- ops_token.c, ops_product.c, ops_state.c, ops_attend.c, ops_choice.c, ops_draft.c: the cases --- */

ops_case ops_angles, ops_embed, ops_norm, ops_steer, ops_heads, ops_hc_enter, ops_hc_leave, ops_hc_merge;
ops_case ops_project, ops_project_int8, ops_project_head, ops_experts, ops_experts_streamed;
ops_case ops_experts_inputs, ops_prefetch;
ops_case ops_kv_row, ops_window, ops_compress_4, ops_compress_128, ops_compress_index, ops_index_query;
ops_case ops_select, ops_attend, ops_attend_4, ops_attend_128;
ops_case ops_route, ops_route_by_token, ops_sample;
ops_case ops_hc_sum, ops_hc_mean, ops_attend_block, ops_attend_block_short, ops_guess;

/* The weight type of the case that runs: that of its kind. */
uint32_t ops_dtype_of(const ops *o);

#endif
