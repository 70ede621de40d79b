/* kernel_list.h - every kernel of the dialect: its name, the struct it is told, how many buffers it
 * takes.
 *
 * The list numbers the kernels (GPU_KERNEL_norm), tells a backend which names to look for in its
 * compiled library, and the emulator which functions to call. */
#ifndef DS4_BACKEND_GPU_KERNEL_LIST_H
#define DS4_BACKEND_GPU_KERNEL_LIST_H

/* Kernels of one weight type: X(name, args, n_buffers), as the whole list. */
#define GPU_KERNELS_OF(type, X)          \
    X(project_##type, product_args, 3)   \
    X(experts_##type, experts_args, 6)   \
    X(embed_##type, embed_args, 3)

/* And with int8 activations. */
#define GPU_KERNELS_I8_OF(type, X)            \
    X(project_i8_##type, product_i8_args, 3)  \
    X(experts_i8_##type, experts_i8_args, 6)

#define GPU_KERNELS(X)                   \
    X(angles, angles_args, 3)            \
    X(rms_norm, norm_args, 3)            \
    X(hc_enter, hc_args, 7)              \
    X(hc_leave, hc_args, 4)              \
    X(hc_merge, hc_args, 7)              \
    X(heads, heads_args, 2)              \
    X(kv_row, kv_row_args, 4)            \
    X(window, window_args, 3)            \
    X(attend, attend_args, 12)           \
    X(attend_join, attend_args, 5)       \
    X(compress_bias, compress_args, 3)   \
    X(compress_emit, compress_args, 7)   \
    X(compress_keep, compress_args, 4)   \
    X(index_query, index_query_args, 3)  \
    X(index_part, select_args, 8)        \
    X(index_join, select_args, 3)        \
    X(route, route_args, 6)              \
    X(experts_sort, sort_args, 3)        \
    X(activate, activate_args, 3)        \
    X(experts_sum, experts_sum_args, 3)  \
    GPU_KERNELS_OF(f32, X)               \
    GPU_KERNELS_OF(f16, X)               \
    GPU_KERNELS_OF(bf16, X)              \
    GPU_KERNELS_OF(q8_0, X)              \
    GPU_KERNELS_OF(mxfp4, X)             \
    GPU_KERNELS_OF(q2_k, X)              \
    GPU_KERNELS_OF(q4_k, X)              \
    GPU_KERNELS_OF(q6_k, X)              \
    GPU_KERNELS_OF(iq2_xxs, X)           \
    X(quantize, quantize_args, 2)        \
    GPU_KERNELS_I8_OF(q8_0, X)           \
    GPU_KERNELS_I8_OF(mxfp4, X)          \
    GPU_KERNELS_I8_OF(q2_k, X)           \
    GPU_KERNELS_I8_OF(q4_k, X)           \
    GPU_KERNELS_I8_OF(q6_k, X)           \
    GPU_KERNELS_I8_OF(iq2_xxs, X)

#define GPU_KERNEL_NUMBER(name, args, n_buffers) GPU_KERNEL_##name,
typedef enum gpu_kernel { GPU_KERNELS(GPU_KERNEL_NUMBER) GPU_N_KERNELS } gpu_kernel;

enum { GPU_MAX_BUFFERS = 12 };

#endif
