/* fibers.h - what Metal's names in metal_stdlib need of the emulator, inside a running kernel. */
#ifndef DS4_TESTS_EMULATOR_FIBERS_H
#define DS4_TESTS_EMULATOR_FIBERS_H

#include <cstddef>
#include <cstdint>

namespace emulator {

struct place { uint32_t group[3], n_threads, index; };
const place &here();

/* Wait until all threads of the group, or all lanes of the simdgroup, came to the same line. */
void group_barrier(int line);
void lane_barrier(int line);

/* Give a word to the other lanes and get that of lane `from`; all lanes at the same line. */
uint32_t exchange(uint32_t word, uint32_t from, int line);

/* The n-th array that a thread asks for is the same for all threads of the group. */
void *group_memory(size_t n_bytes, const char *name);

}
#endif
