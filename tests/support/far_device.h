/* far_device.h - a device far away, to prove that nothing above a backend looks into its memory.
 *
 * It is the CPU backend behind handles that are no addresses: buffers without a host address, layouts
 * that are numbers. Work is done by another thread, when it is waited for: who reads too early reads
 * old bytes, and a batch that did not stay as it was shows. Memory must be committed before
 * anything touches it, and is full of rubbish after discard(). Rows lie in planes, prompts are cut at 128
 * tokens (DS4_FAR_CUT: at others), and memory is the device's own.
 *
 * Test programs and programs that are linked with mk/far.mk have it as their preferred backend "far". */
#ifndef DS4_TESTS_FAR_DEVICE_H
#define DS4_TESTS_FAR_DEVICE_H

#include "backend/backend.h"

extern const ds4_backend ds4_backend_far;

/* The number-th commit() from now on fails with DS4_E_NOMEM; 0: none fails. */
void far_fail_commit(uint32_t number);

/* Buffers of all far devices that were not freed. */
uint32_t far_live(void);

#endif
