/* metal_device.h - an Apple GPU behind gpu.h. */
#ifndef DS4_BACKEND_METAL_DEVICE_H
#define DS4_BACKEND_METAL_DEVICE_H

#include "backend/gpu/gpu.h"

extern const gpu_api metal_api;

#endif
