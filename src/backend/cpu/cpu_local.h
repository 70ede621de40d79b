/* cpu_local.h - what the files of the CPU backend share. */
#ifndef DS4_BACKEND_CPU_LOCAL_H
#define DS4_BACKEND_CPU_LOCAL_H

#include "backend/backend.h"
#include "backend/cpu/cpu_kv.h"
#include "backend/cpu/cpu_spill.h"
#include "base/team.h"
#include "kernels/kernels.h"

typedef struct cpu_buf {
    ds4_buf        head;            /* host NULL with spill */
    cpu_spill_buf *spill;           /* it lies in a file; or NULL */
} cpu_buf;

/* The file that a buffer of this backend lies in; NULL: it is memory. */
static inline cpu_spill_buf *cpu_spill_of(const ds4_buf *buf)
{
    return ((const cpu_buf *)(const void *)buf)->spill;
}

enum {
    INDEX_QUERIES = 64, INDEX_RUN = 512,        /* see cpu_index.c */
    ATTEND_TOKENS = 16, ATTEND_HEADS = 64,      /* see cpu_attn.c */
    CPU_MAX_TEAM = 256,
};

/* The largest sizes that operations have. */
typedef struct cpu_sizes {
    uint32_t max_in;                /* values of a row that is multiplied or mixed */
    uint32_t max_heads, max_head;   /* attention heads, values in one */
    uint32_t max_rows;              /* attention rows that one token can see */
    uint32_t max_top_k;             /* rows that the indexer chooses; 0: there is none */
    uint32_t max_experts, max_used, max_ffn, max_embd;
    uint32_t max_vocab;             /* logits that a token is chosen from; 0: none is */
    uint64_t act_bytes;             /* encoded inputs of one activation row for one operation */
    uint64_t x_bytes[2], h_bytes;   /* one of routed and of shared experts; of their inner activations */
} cpu_sizes;

/* Scratch of one team member. */
typedef struct cpu_own {
    float        *row;              /* [max_in] a decoded weight row */
    float        *rows;             /* [max_rows + ATTEND_TOKENS][max_head] unpacked attention rows */
    uint8_t      *packed;           /* [CPU_SPILL_BATCH] rows from files */
    const float **row_at;           /* [max_rows], then as many for a window */
    float        *scores;           /* [max_heads or ATTEND_HEADS][max_rows], or of the indexer */
    uint64_t     *picks;            /* [INDEX_QUERIES + 1][cpu_pick_slots()] */
    ds4_candidate *candidates;      /* [max_vocab] */
} cpu_own;

/* A matrix whose rows the team shares with those of others. */
typedef struct cpu_part {
    const uint8_t *w;
    uint64_t n_rows, row_bytes;
    uint32_t dtype;                 /* equal ones stand side by side */
    uint32_t n_tokens;              /* that each row is multiplied with */
    uint32_t tile;                  /* rows that are best taken together, see cpu_tile() */
} cpu_part;

/* Matrices of one operation. */
enum { CPU_MAX_PARTS = 24 };

/* The activations that a part of a product multiplies. */
typedef struct cpu_input {
    ds4_rows x, y;
    uint32_t n_in;
    bool     precise;
    ds4_act  act;                   /* the form that the weights want */
    uint32_t same;                  /* an earlier part with this input in this form, or the part itself */
} cpu_input;

/* The weights of an operation of a program that are known before it runs. */
typedef struct cpu_step {
    cpu_part  *parts;               /* [n_parts] n_tokens and tile are the run's */
    cpu_input *inputs;              /* [n_parts] of products */
    uint32_t   n_parts;
    bool       is_head;             /* see ds4_op_project */
    bool       is_chosen;           /* more weights follow, which the operation chooses */
    uint64_t   weight_bytes;        /* all that the operation reads; 0: it tells itself */
} cpu_step;

struct ds4_dev {
    const ds4_backend *backend;
    ds4_team        *team;
    ds4_kernels      k;
    ds4_limits       limits;
    cpu_sizes        sizes;         /* of the programs that were compiled, see cpu_scratch.c */
    cpu_own         *own;           /* [team size] */
    uint8_t         *act;           /* encoded activations of one product */
    struct cpu_weights *weights;    /* see cpu_load.c */
    struct cpu_moe  *moe;           /* see cpu_moe.c */
    cpu_spill       *spill;         /* NULL: rows stay in memory */
    bool             keeps_pages;   /* the system would not take memory back, which was said */
    struct cpu_ahead *ahead;        /* see cpu_ahead.c */
    const ds4_batch *batch;         /* of the run in progress */
    const cpu_step  *step, *step_end;   /* the operation in progress, the end of the program */
    ds4_ticket       n_runs;
    ds4_time_fn     *time_fn;       /* NULL: nobody asks */
    void            *time_ctx;
    uint64_t         marked_ns;     /* when the last mark was made */
};

/* Room for a token's candidates: a run more than twice what it chooses. */
static inline uint64_t cpu_pick_slots(const cpu_sizes *s)
{
    return 2 * (uint64_t)s->max_top_k + INDEX_RUN;
}

/* Tokens of a step that the indexer takes at once. */
static inline uint32_t cpu_index_group(uint32_t n_tokens, uint32_t n_members)
{
    const uint32_t n = n_tokens / (4 * n_members);
    return n < 4 ? 4 : n < INDEX_QUERIES ? n : INDEX_QUERIES;
}

static inline uint8_t *cpu_at(ds4_view v)
{
    return v.buf->host + v.off;
}

/* Matrix i of w. A layout of this backend is where the weights lie. */
static inline const uint8_t *cpu_weights(const ds4_matrix *w, uint32_t i)
{
    const uint64_t mat_bytes = w->n_out * ds4_row_bytes(w->dtype, w->n_in);
    return (const uint8_t *)(const void *)w->layout + i * mat_bytes;
}

static inline float *cpu_floats(ds4_view v)
{
    return (float *)(void *)cpu_at(v);
}

static inline float *cpu_row(ds4_rows rows, uint32_t t)
{
    return cpu_floats(rows.at) + (uint64_t)t * rows.stride;
}

/* Time since the last mark goes to `name`. */
void cpu_note(ds4_dev *dev, const char *name, uint64_t weight_bytes);

static inline void cpu_mark(ds4_dev *dev, const char *name, uint64_t weight_bytes)
{
    if (dev->time_fn) cpu_note(dev, name, weight_bytes);
}

/* Run fn on the team, or here if there is too little to share. */
void cpu_run(ds4_dev *dev, ds4_team_fn *fn, void *ctx, uint64_t n_items);

/* Rows that are computed value by value can be shared in stretches. A stretch is whole blocks of
 * every form of activations. */
enum { CPU_STRETCH = 256 };
static inline uint32_t cpu_stretches(uint32_t n_values)
{
    return (n_values + CPU_STRETCH - 1) / CPU_STRETCH;
}

/* ---- cpu_mem.c ---- */

/* Memory that the system provides as it is touched, zeroed; NULL on failure. */
void *cpu_reserve(uint64_t n_bytes);
void *cpu_reserve_large(uint64_t n_bytes);          /* in large pages, if it is large and there are any */
void  cpu_release(void *data, uint64_t n_bytes);

/* As in ds4_backend. */
ds4_status cpu_alloc(ds4_dev *dev, ds4_mem kind, uint64_t n_bytes, ds4_buf **out, ds4_err *err);
ds4_status cpu_commit(ds4_dev *dev, ds4_view at, uint64_t n_bytes, ds4_err *err);
uint64_t   cpu_resident(const ds4_dev *dev, ds4_mem kind);
void       cpu_free(ds4_dev *dev, ds4_buf *buf);
ds4_status cpu_write(ds4_dev *dev, const ds4_copy *copies, uint32_t n, ds4_err *err);
ds4_status cpu_read(ds4_dev *dev, const ds4_copy *copies, uint32_t n, ds4_err *err);
void       cpu_discard(ds4_dev *dev, ds4_view at, uint64_t n_bytes);

/* Cosine and sine of float32 (pos * freq), exact for that float: docs/MODEL.md section 3.5. */
void cpu_angle(float *c, float *s, uint32_t pos, float freq);

/* Encode n_rows activation rows of n values as `act` wants them, [n_rows][ds4_act_bytes()]. */
void cpu_encode(const ds4_kernels *k, ds4_act act, uint8_t *out, const float *x, uint32_t n);

/* Rows from .. to-1 of one matrix times all activation rows. x is in the form of the
 * matrix, or float32 with precise. */
typedef struct cpu_slab {
    const uint8_t *w;
    uint32_t       dtype, n_in;
    uint64_t       row_bytes;
    const uint8_t *x;
    uint64_t       x_stride;        /* bytes */
    uint32_t       n_tokens;
    float         *y;
    uint64_t       y_stride;        /* floats */
    bool           precise;
} cpu_slab;
void cpu_multiply(const ds4_dev *dev, const cpu_slab *slab, uint64_t from, uint64_t to, float *row);

/* Rows from .. to-1 of a part. */
typedef void cpu_part_fn(void *ctx, uint32_t i_part, uint64_t from, uint64_t to, uint32_t member);

/* Run fn on the team until every row of every part was in exactly one call. */
void cpu_run_parts(ds4_dev *dev, const cpu_part *parts, uint32_t n_parts, cpu_part_fn *fn,
                   void *ctx);

/* Called with the rows from .. to-1 of a part with which a member will begin its line. */
typedef void cpu_stretch_fn(void *ctx, uint32_t member, const cpu_part *part, uint64_t from, uint64_t to);

/* Call fn with the first rows of each member in cpu_run_parts() over these parts. */
void cpu_parts_begin(const cpu_part *parts, uint32_t n_parts, uint32_t n_members, cpu_stretch_fn *fn,
                     void *ctx);

/* Activation rows of a product of a program. */
static inline uint32_t cpu_project_rows(const ds4_batch *batch, bool is_head)
{
    return is_head ? batch->n_logit_rows : batch->n_tokens;
}

/* The parts of a step for n_tokens activation rows. */
void cpu_step_parts(const cpu_step *step, uint32_t n_tokens, cpu_part *out);

/* Let waiting members prefetch weights: first those of `parts`, which this operation multiplies
 * next, then those of the operations behind it. No result depends on it. */
void cpu_look_ahead(ds4_dev *dev, const cpu_part *parts, uint32_t n_parts);

/* Rows that kernels take together: part of a tile costs as much as a whole one. */
uint32_t cpu_tile(uint32_t dtype, uint64_t row_bytes, uint32_t n_tokens);

/* A row of a table whose memory lies in a file: there it is one record. */
static inline cpu_spill_row cpu_spill_row_at(const ds4_kv_rows *t, ds4_view base, uint32_t row)
{
    ds4_kv_range   at[DS4_KV_MAX_PLANES];
    const uint32_t n_planes = ds4_kv_rows_at(t, row, 1, at);

    assert(n_planes == 1);
    (void)n_planes;
    return (cpu_spill_row){ cpu_spill_of(base.buf), base.off + at[0].off };
}

cpu_sizes  cpu_sizes_of(const ds4_op *ops, uint32_t n, const ds4_kv_layout *kv, uint32_t n_ctx);
ds4_status cpu_scratch_grow(ds4_dev *dev, const cpu_sizes *sizes, ds4_err *err);
void       cpu_scratch_free(ds4_dev *dev);

ds4_status cpu_weights_create(ds4_dev *dev, ds4_err *err);
void       cpu_weights_free(ds4_dev *dev);

ds4_status cpu_ahead_create(ds4_dev *dev, ds4_err *err);
void       cpu_ahead_free(ds4_dev *dev);

ds4_status cpu_moe_create(ds4_dev *dev, ds4_err *err);
void       cpu_moe_free(ds4_dev *dev);

#endif
