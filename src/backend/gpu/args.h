/* args.h - what the kernels are told: structs that C, CUDA and Metal read alike.
 *
 * Fields are 4 or 8 bytes and lie on multiples of their size. Strides count floats unless they say bytes.
 * The numbers of a step that no operation has (tokens, positions, spans, where the sessions' state
 * lies) is not here but in tables in device memory, so that a recorded list of launches stays valid. */
#ifndef DS4_BACKEND_GPU_KERNELS_ARGS_H
#define DS4_BACKEND_GPU_KERNELS_ARGS_H

/* Kernels have included kdl.h before, whose languages bring these types themselves. */
#ifndef DS4_BACKEND_GPU_KERNELS_KDL_H
#include <stdint.h>
#endif

enum {
    KD_GROUP = 256,             /* threads of a group, but for those below */
    KD_ROWS = 8,                /* simdgroups of a group: outputs of a product, heads of attention */
    KD_TOKENS = 8,              /* tokens that a weight is decoded for at once */
    KD_SEGMENT = 2048,          /* columns of a product that are summed up alone */
    KD_MAX_SEGMENTS = 32,       /* of a row */
    KD_SEGMENT_I8 = 512,        /* the same of integer weights in blocks of 32 */
    KD_MAX_QUANTIZED = 256,     /* activations that are rounded with one scale */
    KD_CHUNK = 64,              /* attention rows that are summed up alone */
    KD_MAX_HEAD = 512,          /* values of an attention row or head */
    KD_MAX_INDEX = 128,         /* values of an indexer row */
    KD_MAX_INDEX_HEADS = 64,
    KD_MAX_HC = 8,              /* streams */
    KD_MAX_EXPERTS = 1024,
    KD_MAX_TOP_K = 1024,        /* rows the indexer chooses */
    KD_INDEX_PART = 4096,       /* rows whose best are found by one group */
};

/* ---- the step ------------------------------------------------------------------------------------ */

/* A session's tokens in the step. Places of state are bytes from the device's base. */
typedef struct kd_span {
    uint64_t tail;
    uint32_t first, n, pos;
    uint32_t blocks;            /* of the table of blocks, the first that is this session's */
} kd_span;

typedef struct kd_block {
    uint64_t cold, warm;
} kd_block;

/* The places of a table's values: arrays of rows, which may be one array of records. Bytes
 * from the beginning of the table's memory (the tail, a block). */
typedef struct kd_row_form {
    uint32_t code, code_stride;         /* E4M3 codes [n_nope] */
    uint32_t scale, scale_stride;       /* E8M0, one for each 64 codes */
    uint32_t rot, rot_stride;           /* F16 [n_rot] */
} kd_row_form;

/* The same of indexer rows: E2M1 codes [n / 2] bytes, a scale for each 32 values. */
typedef struct kd_index_form {
    uint32_t code, code_stride;
    uint32_t scale, scale_stride;
} kd_index_form;

/* Attention rows of a layer. With `exact` a row is float [n_nope + n_rot] in place of its codes. */
typedef struct kd_kv {
    kd_row_form here, ring, block;      /* rows of this step, of the window, compressed ones */
    uint32_t    n_nope, n_rot, exact;
    uint32_t    n_window, n_slots;      /* rows a token sees, rows of the ring */
    uint32_t    ratio, per_block;       /* 0, 4 or 128; compressed rows of a block */
} kd_kv;

/* ---- one token at a time ------------------------------------------------------------------------- */

typedef struct angles_args {
    uint32_t n_tokens, n_half, stride;
} angles_args;

typedef struct embed_args {
    uint64_t row_bytes;
    uint32_t n_embd, n_hc, stride;
} embed_args;

typedef struct norm_args {
    uint32_t n, x_stride, y_stride;
    uint32_t has_weight;
    float    eps;
} norm_args;

typedef struct hc_args {
    uint32_t n_hc, n_embd, n_iters;
    uint32_t h_stride, m_stride, a_stride, gate_stride, y_stride;
    float    norm_eps, hc_eps;
} hc_args;

/* ---- products ------------------------------------------------------------------------------------ */

/* y[t] = W x[t]; group KD_TGZ of several products lies its strides further on. */
typedef struct product_args {
    uint64_t row_bytes, w_stride;       /* bytes; from matrix to matrix */
    uint32_t n_in, n_out, n_tokens;
    uint32_t x_stride, y_stride;        /* from token to token */
    uint32_t x_mat, y_mat;              /* from matrix to matrix */
    uint32_t n_sharing;                 /* simdgroups of a row, see gpu_product.c */
    uint32_t aligned;                   /* rows of x lie on 16 bytes, n_in is a multiple of 8 */
} product_args;

/* y[pair] = W[expert of the pair] x[token of the pair, or the pair]. */
typedef struct experts_args {
    uint64_t row_bytes, w_stride;
    uint32_t n_in, n_out, n_pairs, n_used;
    uint32_t x_stride, y_stride;
    uint32_t x_by_token;                /* else x has a row for each pair */
    uint32_t sorted;                    /* tiles are those of experts_sort; else a pair is a tile */
    uint32_t n_sharing, aligned;
} experts_args;

/* Activations as int8: a row of codes for each token, then their scales. */
typedef struct quantize_args {
    uint32_t n, group;                  /* values of a matrix, of them those with one scale: 32 or 256 */
    uint32_t x_stride, x_mat;
    uint32_t to_bytes, to_scales;       /* of a token's row; from its beginning to the scales */
} quantize_args;

/* The products with them. */
typedef struct product_i8_args {
    uint64_t row_bytes, w_stride;
    uint32_t n_in, n_out, n_tokens, group;
    uint32_t x_bytes, x_scales, x_mat;  /* as above; codes from matrix to matrix */
    uint32_t y_stride, y_mat;
} product_i8_args;

typedef struct experts_i8_args {
    uint64_t row_bytes, w_stride;
    uint32_t n_in, n_out, n_used;
    uint32_t x_bytes, x_scales, y_stride;
    uint32_t x_by_token, sorted;        /* as in experts_args */
} experts_i8_args;

typedef struct sort_args {
    uint32_t n_pairs, n_experts;
} sort_args;

typedef struct activate_args {
    uint32_t n_rows, n, n_used;         /* n_used 0: all weights are 1 */
    uint32_t weight_stride;
    float    clamp;
} activate_args;

typedef struct experts_sum_args {
    uint32_t n_tokens, n, n_used, y_stride;
} experts_sum_args;

typedef struct route_args {
    uint32_t n_experts, n_used, by_token, has_bias, normalize;
    uint32_t logits_stride, weight_stride;
    float    scale;
} route_args;

/* ---- attention ----------------------------------------------------------------------------------- */

typedef struct heads_args {
    uint32_t n_heads, n_head, n_rot, q_stride, angles_stride;
    float    eps;
} heads_args;

typedef struct kv_row_args {
    kd_kv    kv;
    uint32_t x_stride, angles_stride;
    float    eps;
} kv_row_args;

typedef struct window_args {
    kd_kv    kv;
    uint32_t row_bytes;                 /* of a row in any form, for moving it */
} window_args;

typedef struct attend_args {
    kd_kv    kv;
    uint32_t n_heads, n_head, top_k;
    uint32_t q_stride, out_stride, angles_stride;
    uint32_t first_token;               /* of the launch */
    uint32_t n_chunks;                  /* partial results of a token and head; 0: the group takes them all */
    float    scale;
} attend_args;

typedef struct compress_args {
    kd_kv    kv;                        /* of the layer */
    kd_index_form irow;                 /* rows of the indexer's compressor, in warm memory */
    uint64_t ring_off;                  /* the compressor's ring in the tail */
    uint32_t n, n_rot, width, n_slots, index;
    uint32_t k_stride, s_stride;
    float    eps;
} compress_args;

typedef struct index_query_args {
    uint32_t n_heads, n, n_rot, exact;
    uint32_t q_stride, angles_stride, irow_bytes;
} index_query_args;

typedef struct select_args {
    kd_index_form irow;
    uint32_t per_block;                 /* indexer rows of a block */
    uint32_t first_token;               /* group KD_TGY is this and those behind it */
    uint32_t n_heads, n, top_k, exact;
    uint32_t weight_stride, query_bytes;        /* of a packed head */
    uint32_t n_parts;                   /* lists of a token */
    float    scale;
} select_args;

#endif
