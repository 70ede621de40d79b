/* kernel_table.h - the kernels that a C++ file has compiled as a table that the emulator runs.
 *
 * The file has included the kernels, and then this. */
#ifndef DS4_TESTS_EMULATOR_KERNEL_TABLE_H
#define DS4_TESTS_EMULATOR_KERNEL_TABLE_H

#undef char
#undef kernel
#undef thread
#include "backend/gpu/kernel_list.h"
#include "emulator/emulator.h"

#include <utility>

namespace {

/* A kernel's parameters are five numbers of its thread, its struct, its buffers. */
template <class A, class... B, size_t... I>
void call_with(void (*fn)(uint3, uint, uint3, uint, uint, const A &, B...), const void *args, void *const *buffer,
               std::index_sequence<I...>)
{
    const emulator::place &p = emulator::here();
    fn(uint3{ p.group[0], p.group[1], p.group[2] }, p.index, uint3{ p.n_threads, 1, 1 }, p.index & 31,
       p.index >> 5, *static_cast<const A *>(args), static_cast<B>(buffer[I])...);
}

template <class A, class... B>
void call_kernel(void (*fn)(uint3, uint, uint3, uint, uint, const A &, B...), const void *args, void *const *buffer)
{
    call_with(fn, args, buffer, std::index_sequence_for<B...>{});
}

template <class A, class... B>
constexpr uint32_t n_buffers_of(void (*)(uint3, uint, uint3, uint, uint, const A &, B...))
{
    return sizeof...(B);
}

#define CALL(name, args_t, n)                                                                \
    void call_##name(const void *args, void *const *buffer) { call_kernel(&name, args, buffer); } \
    static_assert(n_buffers_of(static_cast<decltype(&name)>(nullptr)) == n, #name);
GPU_KERNELS(CALL)

#define ROW(name, args_t, n) { #name, call_##name, sizeof(args_t), n },
const emulator_kernel table[] = { GPU_KERNELS(ROW) };

}

#endif
