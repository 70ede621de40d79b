/* metal_backend.h - the backend "metal", in builds that have it. */
#ifndef DS4_BACKEND_METAL_BACKEND_H
#define DS4_BACKEND_METAL_BACKEND_H

#include "backend/backend.h"

extern const ds4_backend ds4_backend_metal;

#endif
