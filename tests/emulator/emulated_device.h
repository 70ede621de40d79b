/* emulated_device.h - the emulator as a GPU: what the executor does with one can be run and watched
 * anywhere. */
#ifndef DS4_TESTS_EMULATED_DEVICE_H
#define DS4_TESTS_EMULATED_DEVICE_H

#include "backend/gpu/gpu.h"

extern const gpu_api     emulated_api;
extern const struct ds4_backend emulated_backend;

/* The number-th allocation from now on fails; 0: none. */
void emulated_fail_alloc(uint32_t number);

/* Launches from now on run the Metal text of a kernel, or (off, the beginning) the dialect as C++ reads
 * it. Tests change it from order to order: all must give the same bits. */
void emulated_run_text(bool on);
bool emulated_ran_text(gpu_kernel kernel);          /* at least once */

/* Allocations that were not freed. */
uint32_t emulated_live(void);

#endif
