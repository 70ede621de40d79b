/* own_args.h - the kernels that are CUDA's own: their list, and what they are told. Read by C and nvcc.
 *
 * Each stands in for kernels of the dialect and gives their bits; how, is said in its file. */
#ifndef DS4_BACKEND_CUDA_OWN_ARGS_H
#define DS4_BACKEND_CUDA_OWN_ARGS_H

#include "backend/gpu/args.h"
#include "backend/gpu/kernel_list.h"

/* X(name, number of buffers), numbered behind those of the dialect. */
#define CUDA_OWN_KERNELS(X)   \
    X(own_pack_q8_0, 2)       \
    X(own_pack_iq2_xxs, 2)    \
    X(own_pack_q2_k, 2)       \
    X(own_round, 2)           \
    X(own_project, 0)         \
    X(own_gemm, 3)            \
    X(own_sort, 4)            \
    X(own_gate_up_one, 6)     \
    X(own_down_one, 7)        \
    X(own_experts_few_iq2, 6) \
    X(own_experts_few_q2k, 6) \
    X(own_experts_iq2, 6)     \
    X(own_experts_q2k, 6)     \
    X(own_attend_part, 9)     \
    X(own_attend_join, 5)     \
    X(own_attend_all, 11)     \
    X(own_enter_4096, 7)      \
    X(own_enter_256, 7)       \
    X(own_index_scores, 8)    \
    X(own_index_choose, 3)

#define CUDA_OWN_NUMBER(name, n_buffers) CUDA_KERNEL_##name,
enum { CUDA_BEFORE_OWN = GPU_N_KERNELS - 1, CUDA_OWN_KERNELS(CUDA_OWN_NUMBER) CUDA_N_KERNELS };

enum {
    OWN_THREADS = 256,
    OWN_MAX_PARTS = 8,
    OWN_MAX_USED = 8,           /* experts of a token */
    OWN_PITCH = 20,             /* words of a column of partial sums: no bank conflicts */
    OWN_TABLE_BYTES = 32768,    /* of IQ2_XXS codewords and signs, 16 copies of each */
    OWN_MOE_ROWS = 128,         /* rows of an expert that a group multiplies */
    OWN_GEMM_ROWS = 128,
    OWN_GEMM_TOKENS = 64,
};

/* The form of weights: rows of the file, or records of 16 rows (own_records.cuh). */
typedef enum own_form {
    OWN_ROWS, OWN_Q8_0, OWN_IQ2_XXS, OWN_Q2_K,
    OWN_Q8_0_PRECISE,           /* of a part: records of Q8_0, float activations */
} own_form;

/* Bytes of a record, of rounded activations of a record's columns, and its columns. */
enum {
    OWN_Q8_RECORD = 2176, OWN_Q8_COLUMNS = 128,
    OWN_IQ2_RECORD = 1056, OWN_Q2K_RECORD = 1344, OWN_K_COLUMNS = 256,
    OWN_IQ2_CODES = 256, OWN_Q2K_CODES = 288,
};

typedef struct own_pack_args {
    uint64_t row_bytes;
    uint32_t n_in, n_tiles;
} own_pack_args;

/* Rows of x become codes in the order of a form, then scales. */
typedef struct own_round_args {
    uint32_t form, n;           /* values of a row, all matrices together */
    uint32_t n_each, x_stride, x_mat;   /* values of a matrix; floats from row to row, matrix to matrix */
    uint32_t to_bytes, to_scales;
} own_round_args;

/* A matrix, or several side by side, times the rows of the step. */
typedef struct own_part {
    uint64_t w, x, y;           /* x: floats, or rounded rows where n_tokens > 1 and form is OWN_Q8_0 */
    uint64_t w_mat;             /* bytes from matrix to matrix */
    uint32_t form, n_in, n_out;
    uint32_t x_bytes, x_scales; /* of a row of x; within it to the scales */
    uint32_t x_mat, y_mat;      /* values from matrix to matrix */
    uint32_t y_stride;
    uint32_t n_groups, first;   /* groups of threads of a matrix; the part's first of the launch */
} own_part;

typedef struct own_project_args {
    own_part part[OWN_MAX_PARTS];
    uint32_t n_parts, n_tokens;
} own_project_args;

typedef struct own_gemm_args {
    uint64_t w_mat;
    uint32_t n_in, n_out, n_tokens;
    uint32_t x_bytes, x_scales, x_mat, y_mat, y_stride;
} own_gemm_args;

typedef struct own_one_args {   /* the experts of a single token */
    uint64_t gate_mat, up_mat, down_mat;
    uint32_t n_embd, n_ffn, n_used;
    float    clamp;
} own_one_args;

typedef struct own_select_args {
    select_args select;
    uint32_t    key_stride;     /* of a token's scores */
} own_select_args;

typedef struct own_experts_args {
    uint64_t w_mat;
    uint32_t n_in, n_out, n_experts, n_used;
    uint32_t x_bytes, x_scales, x_by_token, y_stride;
} own_experts_args;

#endif
