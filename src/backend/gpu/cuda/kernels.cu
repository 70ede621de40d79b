/* kernels.cu - every kernel, for nvcc. The result is embedded by cuda_image.c. */
#include "backend/gpu/kernels/token.k"
#include "backend/gpu/kernels/product.k"
#include "backend/gpu/kernels/product_i8.k"
#include "backend/gpu/kernels/experts.k"
#include "backend/gpu/kernels/attention.k"
#include "backend/gpu/kernels/compress.k"
#include "backend/gpu/kernels/index.k"

/* Kernels of CUDA's own. */
#include "backend/gpu/cuda/own_attend.cuh"
#include "backend/gpu/cuda/own_enter.cuh"
#include "backend/gpu/cuda/own_experts.cuh"
#include "backend/gpu/cuda/own_gemm.cuh"
#include "backend/gpu/cuda/own_index.cuh"
#include "backend/gpu/cuda/own_pack.cuh"
