/* emit.h - the forward pass of DeepSeek V4, written once as a list of operations.
 *
 * Read emit.c for the order of a step, emit_attn.c and emit_ffn.c for the two halves of
 * a layer, with docs/MODEL.md section 3 beside them. */
#ifndef DS4_MODEL_EMIT_H
#define DS4_MODEL_EMIT_H

#include "model/shape.h"
#include "model/steering.h"
#include "model/weights.h"

enum { DS4_HEAD_ROWS = 64 };    /* rows of logits computed at once, at most */

/* The activations of a step: one row for each token of the batch. */
typedef struct ds4_step_buffers {
    ds4_buf *buf;
    ds4_rows h[2];              /* residual streams [n_hc * n_embd], before and after a sublayer */
    ds4_rows mix;               /* hc projections [n_hc * (2 + n_hc)] */
    ds4_rows gate;              /* hc post and comb [n_hc + n_hc * n_hc] */
    ds4_rows a;                 /* normed sublayer input [n_embd] */
    ds4_rows y;                 /* sublayer output [n_embd] */
    ds4_rows angles[2];         /* of plain and of compressed layers [n_rot] */
    ds4_rows qr, q, kv;         /* [q_rank], [n_heads * n_head], [n_head] */
    ds4_rows ck, cs, ik, is;    /* compressor projections [2 n_head] twice, [2 n_index] twice */
    ds4_rows iq, iw;            /* indexer queries [index_heads * n_index], head weights */
    ds4_rows o, low;            /* attention output [n_heads * n_head], [o_groups * o_rank] */
    ds4_rows logits_r, weight;  /* router [n_experts], [n_used] */
    ds4_view rows, packed_q, chosen, expert;
    struct {                    /* of guesses about streamed experts, see emit_ffn.c */
        ds4_rows mix, gate, a, logits_r, weight;
        ds4_view expert;
    } guess;
    struct {                    /* of a drafter; without one they have no place */
        ds4_rows taps;          /* [n_taps * n_embd] */
        ds4_rows x, normed;     /* [n_embd] a block's streams together, and for the head */
        ds4_rows m;             /* [n_rank] of the token before a guess */
        ds4_rows bias;          /* [n_vocab], ds4_head_rows() rows */
        ds4_view guessed;       /* ds4_guessed for each of them */
    } draft;
    ds4_rows x, logits;         /* head input and output, ds4_head_rows() rows */
    ds4_view picked;            /* ds4_picked for each of them */
} ds4_step_buffers;

/* Rows of logits that steps of up to max_batch tokens compute at once. */
static inline uint32_t ds4_head_rows(uint32_t max_batch)
{
    return max_batch < DS4_HEAD_ROWS ? max_batch : DS4_HEAD_ROWS;
}

/* Allocate them for max_batch tokens. Returns DS4_OK; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_step_buffers_open(ds4_step_buffers *out, const ds4_shape *s,
                                                const ds4_kv_layout *kv, uint32_t max_batch,
                                                const ds4_backend *backend, ds4_dev *dev,
                                                ds4_err *err);

/* Lay the buffers out without memory (buf NULL), to plan with. */
void ds4_step_buffers_describe(ds4_step_buffers *out, const ds4_shape *s, const ds4_kv_layout *kv,
                               uint32_t max_batch);

/* The use that a plan counts on: sessions of n_ctx tokens, experts streamed or not. */
typedef struct ds4_step_use {
    uint32_t n_ctx, n_sessions;
    bool     stream;
} ds4_step_use;

/* Bytes of the buffers that the steps of a plan touch. */
uint64_t ds4_step_buffers_bytes(const ds4_shape *s, const ds4_kv_layout *kv, uint32_t max_batch,
                                const ds4_step_use *use);

/* A list under construction; writes to op and part stay inside their capacity. */
typedef struct ds4_emitter {
    const ds4_shape        *s;
    const ds4_weights      *w;
    const ds4_step_buffers *b;
    const ds4_steer_places *steer;          /* NULL, or its buffer is: nothing is steered */
    bool                    with_index;     /* some token sees more than top_k rows */
    bool                    is_block;       /* of guesses: see ds4_op_attend_block */
    ds4_expert_cache       *cache;          /* of streamed experts; NULL: resident */
    ds4_op                 *op;
    uint32_t                n, capacity;
    ds4_product            *part;           /* the products of all operations */
    uint32_t                n_parts, max_parts;
} ds4_emitter;

/* Append an operation whose fields are still zero. */
ds4_op *ds4_emit(ds4_emitter *e, ds4_op_kind kind, const char *name, int32_t layer);

/* One product of the operation that was emitted last, a DS4_OP_PROJECT. Several matrices read and
 * write side by side. */
void ds4_emit_product(ds4_emitter *e, const ds4_matrix *w, ds4_rows x, ds4_rows y, bool precise);

void ds4_emit_enter(ds4_emitter *e, const char *name, int32_t layer, const ds4_hc_weights *hc, ds4_view norm,
                    ds4_rows h);
void ds4_emit_leave(ds4_emitter *e, const char *name, int32_t layer, ds4_rows h, ds4_rows h_new);

/* Take a layer's direction out of y, which is attention's or the experts'. */
void ds4_emit_steer(ds4_emitter *e, uint32_t layer, bool experts);

void ds4_emit_attention(ds4_emitter *e, uint32_t layer);    /* a -> y; emit_attn.c */
void ds4_emit_experts(ds4_emitter *e, uint32_t layer);      /* a -> y; emit_ffn.c */

void ds4_emit_prefetch(ds4_emitter *e, uint32_t layer);     /* h[0] -> a guess; emit_ffn.c */

/* Experts that are guessed for a token, as many in every layer: the later ones are read if there is time. */
uint32_t ds4_emit_guesses(const ds4_shape *s);

/* A whole step: token ids to the logits of the rows that the batch names. The last
 * DS4_HEAD_OPS operations are the head, which may run again for other rows of the batch. */
enum { DS4_HEAD_OPS = 2 };
void ds4_emit_step(ds4_emitter *e);

/* ---- emit_draft.c: a drafter ------------------------------------------------------------------------ */

/* After layer `layer` of a step: keep the mean of its streams, if the drafter reads it. */
void ds4_emit_tap(ds4_emitter *e, uint32_t layer);

/* After the last layer: the rows that the drafter's windows have of the step's tokens. */
void ds4_emit_context(ds4_emitter *e);

/* A block of guesses: token ids to base logits. Every row is named by the batch, in order. */
void ds4_emit_block(ds4_emitter *e);

/* The next guess of each chain, behind the batch's tokens. */
void ds4_emit_guess(ds4_emitter *e);

/* The step's first operations: angles and embedding. */
void ds4_emit_start(ds4_emitter *e);

/* Tokens from the logits of a step; one operation. */
void ds4_emit_sample(ds4_emitter *e);

/* Operations and products of a step, at most. */
uint32_t ds4_emit_capacity(const ds4_shape *s);
uint32_t ds4_emit_max_products(const ds4_shape *s);

#endif
