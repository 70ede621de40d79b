/* own_ops.h - CUDA's own kernels behind gpu_own.h: int8 products on tensor cores, with weights in records. */
#ifndef DS4_BACKEND_CUDA_OWN_OPS_H
#define DS4_BACKEND_CUDA_OWN_OPS_H

#include "backend/gpu/gpu_own.h"

extern const gpu_own cuda_own;

#endif
