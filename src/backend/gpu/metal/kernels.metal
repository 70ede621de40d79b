/* kernels.metal - every kernel, for Metal's compiler: expanded when the program is built (mk/metal.mk),
 * compiled by the system when a device is opened. */
#include "backend/gpu/kernels/token.k"
#include "backend/gpu/kernels/product.k"
#include "backend/gpu/kernels/product_i8.k"
#include "backend/gpu/kernels/experts.k"
#include "backend/gpu/kernels/attention.k"
#include "backend/gpu/kernels/compress.k"
#include "backend/gpu/kernels/index.k"
