/* emulator.h - run GPU kernels on the CPU, thread by thread, and watch what they do.
 *
 * Every thread of a group is a fiber; 32 of them make a simdgroup, whose functions wait for all 32
 * lanes. The order in which lanes, simdgroups and groups get their turns is chosen by a seed: a kernel
 * that forgets a barrier gives other results, or is caught outright. Group memory is poisoned with NaN
 * before each group and has borders that are looked at afterwards. Built with -fsanitize=thread,
 * fibers are threads to the sanitizer: it then finds every pair of accesses that no barrier orders. */
#ifndef DS4_TESTS_EMULATOR_H
#define DS4_TESTS_EMULATOR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct emulator_launch {
    void (*call)(const void *args, void *const *buffer);    /* the kernel, for one thread */
    const char *name;
    const void *args;
    void *const *buffer;
    uint32_t groups[3], n_threads;      /* of a group: a multiple of 32, at most 1024 */
} emulator_launch;

/* Orders of turns: 0 ascending, 1 descending, others shuffled. */
void emulator_order(uint32_t seed);

/* Run all groups. Returns NULL, or a sentence about what the kernel did wrong (static, until the next
 * launch): groups after that one did not run. */
const char *emulator_run(const emulator_launch *launch);

/* The kernels of src/backend/gpu/kernels by their number in kernel_list.h. */
typedef struct emulator_kernel {
    const char *name;
    void (*call)(const void *args, void *const *buffer);
    uint32_t args_bytes, n_buffers;
} emulator_kernel;
const emulator_kernel *emulator_kernel_get(uint32_t i_kernel);

/* The same from the Metal text of the build (mk/metal.mk). */
const emulator_kernel *emulator_text_kernel_get(uint32_t i_kernel);

#ifdef __cplusplus
}
#endif

#endif
