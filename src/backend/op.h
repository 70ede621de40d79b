/* op.h - the model-sized operations that a step is made of (floor 2).
 *
 * src/model writes a step as an array of these once; a backend compiles it and runs it in order
 * over each batch. What changes from step to step is in ds4_batch. Every
 * operation says what it reads and writes; formulas are in docs/MODEL.md at the section
 * named. Activations are float32 rows, one row for each token of the batch.
 *
 * "Agreement" says how near a backend must come to the formula in exact arithmetic, for any input whose
 * result is finite; tests/ops checks it. "rms" is the root mean square of the row that is written. Bounds
 * leave room for another order of sums in float32, and for no rounding to less than that but where it is
 * said. What an operation writes is independent of the tokens beside it (ARCHITECTURE.md, Determinism). */
#ifndef DS4_BACKEND_OP_H
#define DS4_BACKEND_OP_H

#include "backend/kv_state.h"
#include "ds4.h"

#include <stdbool.h>
#include <stdint.h>

struct ds4_expert_cache;            /* see expert_cache.h */

typedef struct ds4_buf ds4_buf;     /* device memory, owned by the device that made it */

/* A place in device memory. */
typedef struct ds4_view {
    ds4_buf *buf;
    uint64_t off;                   /* bytes */
} ds4_view;

/* Float rows: row t starts at off + t * stride * 4. */
typedef struct ds4_rows {
    ds4_view at;
    uint32_t stride;                /* floats from one row to the next */
} ds4_rows;

/* The rate at which a weight is read decides where it should lie. */
typedef enum ds4_use {
    DS4_USE_ALWAYS,                 /* by every token */
    DS4_USE_ROWS,                   /* single rows here and there: a token table */
    DS4_USE_EXPERTS,                /* by the tokens that chose the expert */
} ds4_use;

/* The place and form of a weight, defined by each backend. Nobody else looks inside. */
typedef struct ds4_layout ds4_layout;

/* A weight matrix [n_out][n_in], or several of one shape, as ds4_backend.bind() made it. */
typedef struct ds4_matrix {
    uint32_t          dtype;        /* ds4_dtype, of the file */
    uint32_t          n_in, n_out;
    uint32_t          n_mats;       /* experts or groups; 1 for a plain matrix */
    ds4_use           use;
    const ds4_layout *layout;       /* NULL: it has no place, its experts are streamed */
} ds4_matrix;

/* ---- what a step works on ----------------------------------------------------------- */

/* The two parts of a block: attention rows of ratio-4 layers, of which a token reads top_k
 * at most, and the rows that every later token reads: indexer rows and those of ratio 128. */
typedef struct ds4_block {
    ds4_view cold, warm;
} ds4_block;

/* The tokens of one session in the batch: rows first .. first + n - 1. */
typedef struct ds4_span {
    uint32_t        first, n;
    uint32_t        pos;            /* position of the first of them */
    bool            decode;         /* an answer's tokens, not a prompt's; see ds4_dev_info.cut */
    uint32_t        window_from;    /* positions before it are in no window of ds4_op_attend_block */
    ds4_view        tail;
    const ds4_block *blocks;        /* block b holds the rows of tokens 256b .. 256b + 255 */
} ds4_span;

typedef struct ds4_batch {
    uint32_t             n_tokens, n_spans;
    const int32_t       *token;     /* [n_tokens] ids */
    const uint32_t      *pos;       /* [n_tokens] positions */
    const ds4_span      *span;      /* [n_spans], in order, together all tokens */
    const uint32_t      *span_of;   /* [n_tokens] */
    const uint32_t      *logit_row; /* [n_logit_rows] rows of the batch whose logits are wanted */
    uint32_t             n_logit_rows;      /* 0: none; at most ds4_limits.max_logit_rows */
    const ds4_pick *const *pick;    /* [n_logit_rows] see ds4_op_sample; entries may be NULL, and all may */
    const ds4_kv_layout *kv;
} ds4_batch;

/* ---- the operations ------------------------------------------------------------------ */

typedef enum ds4_op_kind {
    DS4_OP_ANGLES, DS4_OP_EMBED, DS4_OP_PROJECT, DS4_OP_HC_ENTER, DS4_OP_HC_LEAVE, DS4_OP_NORM,
    DS4_OP_HEADS, DS4_OP_KV_ROW, DS4_OP_COMPRESS, DS4_OP_INDEX_QUERY, DS4_OP_SELECT, DS4_OP_ATTEND,
    DS4_OP_WINDOW, DS4_OP_ROUTE, DS4_OP_EXPERTS, DS4_OP_HC_MERGE, DS4_OP_PREFETCH, DS4_OP_SAMPLE,
    DS4_OP_HC_SUM, DS4_OP_ATTEND_BLOCK, DS4_OP_GUESS, DS4_OP_STEER, DS4_N_OPS
} ds4_op_kind;

/* out = cosines [n_rot/2] then sines [n_rot/2] of each token's position times freq.
 * Section 3.5: the product is float32, its cosine exact for that float.
 * Agreement: 3e-7, as angles reach 2^20 and are not reduced in float32. */
typedef struct ds4_op_angles {
    ds4_view freq;                  /* [n_rot / 2] float32 */
    uint32_t n_rot;
    ds4_rows out;                   /* [n_rot] */
} ds4_op_angles;

/* h = n_hc copies of the token's embedding. Section 3.1.
 * Agreement: the bits of the decoder (docs/MODEL.md section 9). */
typedef struct ds4_op_embed {
    ds4_matrix table;               /* [n_vocab][n_embd] */
    uint32_t   n_hc;
    ds4_rows   h;                   /* [n_hc * n_embd] */
} ds4_op_embed;

/* y = W x for up to DS4_MAX_PROJECT products side by side. With `precise` the activations
 * stay float32 whatever the weight type; without, integer types multiply with int8
 * activations as their format intends. Section 3.
 * Matrix m of several reads n_in values from m * x_step on in each row of x, and writes n_out
 * values from m * y_step on in each row of y.
 * Agreement: 8e-6 * sum |w x|. Where int8 activations are allowed, also eight standard deviations of
 * rounding to them: steps of the largest value of 32 (Q8_0, MXFP4) or 256 activations / 127. */
enum { DS4_MAX_PROJECT = 8 };
typedef struct ds4_product {
    ds4_matrix w;
    ds4_rows   x, y;
    uint32_t   x_step, y_step;      /* floats; 0 for one matrix */
    bool       precise;
} ds4_product;
typedef struct ds4_op_project {
    uint32_t           n;
    bool               is_head;     /* x and y have a row for each of batch->logit_row, not for each token */
    const ds4_product *part;        /* [n] stay as long as the operation */
} ds4_op_project;

/* Enter a hyper-connection and norm: from the streams h and m = fn * h (unscaled)
 * a = rms(sum_s pre[s] h[s], norm), gate = post[n_hc] then comb[n_hc][n_hc]. Sections 3.2, 3.4.
 * Agreement: gate 3e-5 rms, times the largest exponent that comb has where that is above 1; a 3e-5 of
 * sum |pre h| after the norm: twenty rounds of divisions carry on what exponents lost. */
typedef struct ds4_op_hc_enter {
    uint32_t n_hc, n_embd, n_iters;
    float    norm_eps, hc_eps;
    ds4_view scale, base, norm;     /* float32 [3], [n_hc * (2 + n_hc)], [n_embd] */
    ds4_rows h, m, a, gate;
} ds4_op_hc_enter;

/* h_new[j] = post[j] y + sum_i comb[i][j] h[i]. Section 3.3.
 * Agreement: 4e-6 of the sum of magnitudes. */
typedef struct ds4_op_hc_leave {
    uint32_t n_hc, n_embd;
    ds4_rows h, y, gate, h_new;
} ds4_op_hc_leave;

/* y = rms(x, w). y may be x: in place.
 * Agreement: 1e-5 rms. */
typedef struct ds4_op_norm {
    uint32_t n;
    float    eps;
    ds4_view w;
    ds4_rows x, y;
} ds4_op_norm;

/* In place, each head: rms without weight, then rotate the last n_rot values. Section 3.6.
 * Agreement: 1e-5 rms of the head. */
typedef struct ds4_op_heads {
    uint32_t n_heads, n_head, n_rot;
    float    eps;
    ds4_rows angles, q;
} ds4_op_heads;

/* In place x = rotate(rms(x, w)); row = pack(x), one for each token, not yet in the window. Section 3.6.
 * Agreement: x 2e-5 rms; the row has the bits of packing what is left in x. */
typedef struct ds4_op_kv_row {
    float    eps;
    ds4_view w;
    ds4_rows angles, x;
    ds4_view rows;                  /* [n_tokens][row_bytes] */
} ds4_op_kv_row;

/* Feed the projections k and s of every token to a compressor; write the rows that become
 * complete into their blocks. The ring in the tail (ds4_kv_ring) holds k and s (bias added)
 * of the last two windows of ratio 4, or of one of ratio 128; width = 2 n for ratio 4,
 * n for ratio 128. Section 3.7.
 * Agreement: rings hold the bits of k and of the float32 sum of s and its bias; a row has the codes
 * nearest to its values, or where these lie between two within 5e-5 of their block's largest, either. */
typedef struct ds4_op_compress {
    uint32_t layer;                 /* in ds4_kv_layout */
    bool     index;                 /* the indexer's compressor: Hadamard and FP4 instead of FP8 */
    uint32_t n, n_rot;              /* values in a row */
    float    eps;
    ds4_view ape, norm, freq;       /* float32 [ratio][width], [n], [n_rot / 2] */
    ds4_rows k, s;                  /* [width]; s is changed: the bias is added */
} ds4_op_compress;

/* Indexer queries: rotate, Hadamard, FP4; packed rows for each token and head. Section 3.9.
 * Agreement: q 2e-5 rms of the head; packed has the bits of packing what is left in q. */
typedef struct ds4_op_index_query {
    uint32_t n_heads, n, n_rot;
    ds4_rows angles, q;             /* q is changed */
    ds4_view packed;                /* [n_tokens][n_heads][irow_bytes] */
} ds4_op_index_query;

/* The top_k rows of each token in ascending order; a token that sees no more than top_k
 * rows is left alone (it attends to all). Ties: the lower row. Section 3.9.
 * Agreement: no chosen row scores less than the top_k-th by more than 8e-6 * sum |weight| * sum |q r|. */
typedef struct ds4_op_select {
    uint32_t layer, n_heads, n, top_k;
    float    scale;                 /* of the head weights */
    ds4_rows weight;                /* [n_heads]; may be scaled in place */
    ds4_view query;                 /* as ds4_op_index_query packed them */
    ds4_view chosen;                /* int32 [n_tokens][top_k] */
} ds4_op_select;

/* Attention of all heads over the window, then the compressed rows; rotates back. Section 3.6.
 * Agreement: 2e-5 of the largest |row value|, and 4e-6 of it for each unit of sum |scale q row|: an
 * exponent of that size loses as many digits. */
typedef struct ds4_op_attend {
    uint32_t layer, n_heads, n_head, n_rot, top_k;
    float    scale;
    ds4_view sink;                  /* float32 [n_heads] */
    ds4_view rows;                  /* of this batch, from ds4_op_kv_row */
    ds4_view chosen;                /* from ds4_op_select; read where more than top_k rows are visible */
    ds4_rows angles, q, out;        /* [n_heads * n_head] */
} ds4_op_attend;

/* Attention of a block of guesses (docs/SPECULATION.md, DSpark): a token sees the n_window positions before
 * its span, from span->window_from on, and then all tokens of its span, later ones too. A span has at most
 * DS4_MAX_BLOCK tokens. The layer is of ratio 0. Agreement: as ds4_op_attend. */
enum { DS4_MAX_BLOCK = 16 };
typedef ds4_op_attend ds4_op_attend_block;     /* without top_k and chosen */

/* The batch's rows enter the layer's raw window. Agreement: bits. */
typedef struct ds4_op_window {
    uint32_t layer;
    ds4_view rows;
} ds4_op_window;

/* Choose experts and weights from the router's logits; by bias and top-k, or from the
 * token table where there is one. Section 3.10. logits are changed: they may hold the scores.
 * Agreement: equal scores go to the lower expert, also those that are zero in float32 (logits below
 * -103); the same experts where scores differ by 1e-5; weights 1e-5 relative. */
typedef struct ds4_op_route {
    uint32_t n_experts, n_used;
    float    scale;
    bool     normalize;
    bool     by_token;
    ds4_view bias;                  /* float32 [n_experts], without by_token; buf NULL: none */
    ds4_view table;                 /* int32 [n_vocab][n_used], with by_token */
    ds4_rows logits;                /* [n_experts] */
    ds4_view expert;                /* int32 [n_tokens][n_used] */
    ds4_rows weight;                /* [n_used] */
} ds4_op_route;

/* y = sum over the chosen experts (in order of their rank) + the shared expert. Section 3.10.
 * Streamed experts come from the cache: then the matrices gate, up and down have no place
 * of their own (layout NULL). Fails with DS4_E_IO when the disk does.
 * Agreement: that of three products; what lies between them may be rounded to int8 once more. Streamed
 * experts give the bits of resident ones. */
typedef struct ds4_op_experts {
    struct ds4_expert_cache *cache; /* NULL: resident */
    uint32_t   layer;               /* in the cache */
    uint32_t   n_used;
    float      clamp;
    ds4_matrix gate, up, down;      /* n_mats experts */
    ds4_matrix shared_gate, shared_up, shared_down;
    ds4_view   expert;
    ds4_rows   weight, x, y;
    ds4_rows   inputs;              /* buf NULL: not wanted. Else [n_used][gate.n_out], stride the same:
                                       what the chosen experts' down products read, times the weight */
    uint32_t   n_guess;             /* 0: none. Else what the next layer may need is read ahead */
    ds4_view   guess;               /* int32 [n_tokens][n_guess], likelier ones first */
} ds4_op_experts;

/* Start reading the experts that a layer will need: those of the token table, or a guess.
 * Changes nothing but time. Agreement: the likelier experts are asked for first. */
typedef struct ds4_op_prefetch {
    struct ds4_expert_cache *cache;
    uint32_t layer, n_used;
    bool     by_token;
    ds4_view table;                 /* int32 [n_vocab][n_used], with by_token */
    ds4_view expert;                /* int32 [n_tokens][n_used], without */
} ds4_op_prefetch;

/* The head's input for the rows of batch->logit_row: x[i] = rms(sum_s t[s] h[row[i]][s], norm),
 * with t from m = fn * h. Section 3.11.
 * Agreement: as `a` of ds4_op_hc_enter. */
typedef struct ds4_op_hc_merge {
    uint32_t n_hc, n_embd;
    float    norm_eps, hc_eps;
    ds4_view scale, base, norm;
    ds4_rows h, m, x;               /* x has a row for each of batch->logit_row */
} ds4_op_hc_merge;

/* x = sum_s t[s] h[s] for each token: with t from m = fn * h as ds4_op_hc_merge, but without its norm; or
 * where there is no m (buf NULL) the mean of the streams. Section 3.11.
 * Agreement: 4e-6 * sum |t h|; with t from m 3e-5. */
typedef struct ds4_op_hc_sum {
    uint32_t n_hc, n_embd;
    float    norm_eps, hc_eps;
    ds4_view scale, base;           /* float32 [1], [n_hc]; not read without m */
    ds4_rows h, m, x;
} ds4_op_hc_sum;

/* The next guess of each token t of the batch, which stands for a chain of guesses: r is logit_row[t], the
 * row of its place in a block that was computed before. The token is the first largest of logits[r] +
 * bias[t]; chance is the sigmoid of confidence . (x[r], m[t]) + shift. A row with a value that is not finite
 * gets token -2.
 * Agreement: the token is the largest of the float32 sums; chance 1e-5, and 4e-6 of the sum of magnitudes. */
typedef struct ds4_guessed {
    int32_t token;
    float   chance;
} ds4_guessed;
typedef struct ds4_op_guess {
    uint32_t n_vocab, n_embd, n_rank;
    ds4_view confidence;            /* float32 [n_embd + n_rank] */
    float    shift;                 /* is added to the product */
    ds4_rows logits, x;             /* [n_vocab], [n_embd]; rows of the block */
    ds4_rows bias, m;               /* [n_vocab], [n_rank]; a row for each token */
    ds4_view guessed;               /* ds4_guessed for each token */
} ds4_op_guess;

/* Choose a token from each row of logits for which the batch has a pick: pick.h says how. A row
 * with a value that is not finite gets token -2. A device without this operation refuses it in
 * compile() with DS4_E_UNSUPPORTED; then the host chooses.
 * Agreement: pick.h. */
enum { DS4_PICKED_NOT_FINITE = -2 };
typedef struct ds4_op_sample {
    uint32_t n_vocab;
    ds4_rows logits;                /* [n_vocab], a row for each of batch->logit_row */
    ds4_view picked;                /* ds4_picked, likewise; rows without a pick are left alone */
} ds4_op_sample;

/* In place y -= factor v dot(v, y); a factor of 0 leaves the bits of y alone. The factor is read whenever
 * the operation runs. docs/STEERING.md.
 * Agreement: 4e-6 (|y| + |factor v| sum |v y|). */
typedef struct ds4_op_steer {
    uint32_t n;
    ds4_view v, factor;             /* float32 [n], [1] */
    ds4_rows y;
} ds4_op_steer;

typedef struct ds4_op {
    ds4_op_kind kind;
    const char *name;               /* for traces and dumps: "attn.q_b"; static storage */
    int32_t     layer;              /* -1 outside layers */
    ds4_rows    out;                /* what a dump of this operation shows; buf NULL: nothing */
    uint32_t    n_out;              /* values in a row of it */
    union {
        ds4_op_angles      angles;
        ds4_op_embed       embed;
        ds4_op_project     project;
        ds4_op_hc_enter    hc_enter;
        ds4_op_hc_leave    hc_leave;
        ds4_op_norm        norm;
        ds4_op_heads       heads;
        ds4_op_kv_row      kv_row;
        ds4_op_compress    compress;
        ds4_op_index_query index_query;
        ds4_op_select      select;
        ds4_op_attend      attend;
        ds4_op_window      window;
        ds4_op_route       route;
        ds4_op_experts     experts;
        ds4_op_hc_merge    hc_merge;
        ds4_op_prefetch    prefetch;
        ds4_op_sample      sample;
        ds4_op_hc_sum      hc_sum;
        ds4_op_attend_block attend_block;
        ds4_op_guess       guess;
        ds4_op_steer       steer;
    };
} ds4_op;

#endif
