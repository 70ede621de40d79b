/* kernels.cpp - the kernels of the GPU backends, compiled for the CPU as Metal's compiler reads them. */
#include "backend/gpu/kernels/token.k"
#include "backend/gpu/kernels/product.k"
#include "backend/gpu/kernels/product_i8.k"
#include "backend/gpu/kernels/experts.k"
#include "backend/gpu/kernels/attention.k"
#include "backend/gpu/kernels/compress.k"
#include "backend/gpu/kernels/index.k"

#include "emulator/kernel_table.h"

extern "C" const emulator_kernel *emulator_kernel_get(uint32_t i_kernel)
{
    return &table[i_kernel];
}
