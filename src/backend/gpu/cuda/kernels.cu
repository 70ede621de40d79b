/* kernels.cu - every kernel, for nvcc. The result is embedded by cuda_image.c. */
#include "backend/gpu/kernels/token.k"
#include "backend/gpu/kernels/product.k"
#include "backend/gpu/kernels/experts.k"
#include "backend/gpu/kernels/attention.k"
#include "backend/gpu/kernels/compress.k"
#include "backend/gpu/kernels/index.k"
