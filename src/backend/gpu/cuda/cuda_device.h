/* cuda_device.h - NVIDIA GPUs behind gpu.h. */
#ifndef DS4_BACKEND_CUDA_DEVICE_H
#define DS4_BACKEND_CUDA_DEVICE_H

#include "backend/gpu/gpu.h"

extern const gpu_api cuda_api;

#endif
