/* emulator.cpp - see emulator.h: fibers, their turns, and the memory of a group.
 *
 * Threads of a group run one after the other on one thread of the system. A fiber runs until it waits;
 * then the next lane of its simdgroup has its turn. When all lanes wait at the same line the simdgroup
 * goes on; when all simdgroups wait at the same barrier the group does. This file is not instrumented
 * by the thread sanitizer: what it does by itself orders nothing for the kernels. */
#include "emulator/emulator.h"
#include "emulator/fibers.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

#if defined(EMULATOR_TSAN)
#include <sanitizer/tsan_interface.h>
#elif defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace {

enum { MAX_THREADS = 1024, LANES = 32, MAX_ARRAYS = 16, GROUP_BYTES = 32 << 10, BORDER = 64,
       ARENA_BYTES = GROUP_BYTES + (MAX_ARRAYS + 1) * 2 * BORDER, STACK_BYTES = 256 << 10, PAGE = 4096 };
const uint8_t POISON = 0xff, BORDER_BYTE = 0xb5;

enum state { READY, AT_LANES, AT_GROUP, DONE };

struct fiber {
    void    *stack_pointer;
    uint8_t *stack;
    state    is;
    int      line;                  /* where it waits */
    bool     parity;                /* which of two sets of words its next exchange uses */
    uint32_t n_barriers, n_arrays;
    void    *sanitizer;
};

struct simdgroup {
    uint32_t order[LANES], at;      /* whose turn comes next */
    uint32_t word[2][LANES];
    char     sync[2][8];            /* objects of the sanitizer */
};

struct array { size_t at, n_bytes; const char *name; };

struct group {
    const emulator_launch *launch;
    emulator::place        place;
    fiber                  fibers[MAX_THREADS];
    simdgroup              simd[MAX_THREADS / LANES];
    uint32_t               n_threads, n_made, order[MAX_THREADS / LANES], at, seed;
    uint32_t               current;
    void                  *scheduler;
    void                  *scheduler_sanitizer, *fake_stack;
    const void            *scheduler_stack;
    size_t                 scheduler_stack_bytes;
    uint8_t               *arena;
    array                  arrays[MAX_ARRAYS];
    uint32_t               n_arrays;
    size_t                 arena_used, n_bytes;
    bool                   failed;
    const char            *fault;               /* what, at which line, by which thread */
    int                    fault_line;
    uint32_t               fault_thread;
    char                   message[256];
    char                   sync_start[8], sync_end[8], sync_any[8], sync_group[2][8];
};

group    g;
uint32_t order_seed;

/* ---- switching ------------------------------------------------------------------------------------- */

extern "C" void emulator_switch(void **save, void *load);
#if defined(__x86_64__)
asm(".text\n.globl emulator_switch\nemulator_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
enum { FRAME_WORDS = 8, RETURN_WORD = 6 };
#elif defined(__aarch64__)
#if defined(__APPLE__)
#define SYMBOL "_emulator_switch"
#else
#define SYMBOL "emulator_switch"
#endif
asm(".text\n.globl " SYMBOL "\n" SYMBOL ":\n"
    "sub sp,sp,#160\n"
    "stp x19,x20,[sp,#0]\nstp x21,x22,[sp,#16]\nstp x23,x24,[sp,#32]\nstp x25,x26,[sp,#48]\n"
    "stp x27,x28,[sp,#64]\nstp x29,x30,[sp,#80]\n"
    "stp d8,d9,[sp,#96]\nstp d10,d11,[sp,#112]\nstp d12,d13,[sp,#128]\nstp d14,d15,[sp,#144]\n"
    "mov x9,sp\nstr x9,[x0]\nmov sp,x1\n"
    "ldp x19,x20,[sp,#0]\nldp x21,x22,[sp,#16]\nldp x23,x24,[sp,#32]\nldp x25,x26,[sp,#48]\n"
    "ldp x27,x28,[sp,#64]\nldp x29,x30,[sp,#80]\n"
    "ldp d8,d9,[sp,#96]\nldp d10,d11,[sp,#112]\nldp d12,d13,[sp,#128]\nldp d14,d15,[sp,#144]\n"
    "add sp,sp,#160\nret\n");
enum { FRAME_WORDS = 20, RETURN_WORD = 11 };
#else
#error "the emulator switches fibers on x86-64 and Arm"
#endif

void release(void *object)
{
#if defined(EMULATOR_TSAN)
    __tsan_release(object);
#else
    (void)object;
#endif
}

void acquire(void *object)
{
#if defined(EMULATOR_TSAN)
    __tsan_acquire(object);
#else
    (void)object;
#endif
}

/* From fiber `from` (or the scheduler) to fiber `to` (or the scheduler). */
void go(fiber *from, fiber *to)
{
    void **save = from ? &from->stack_pointer : &g.scheduler;
    void  *load = to ? to->stack_pointer : g.scheduler;

    if (to) g.current = (uint32_t)(to - g.fibers);
#if defined(EMULATOR_TSAN)
    __tsan_switch_to_fiber(to ? to->sanitizer : g.scheduler_sanitizer, __tsan_switch_to_fiber_no_sync);
#elif defined(__SANITIZE_ADDRESS__)
    void **fake = from ? &from->sanitizer : &g.fake_stack;
    __sanitizer_start_switch_fiber(fake, to ? to->stack + PAGE : g.scheduler_stack,
                                   to ? size_t{ STACK_BYTES } : g.scheduler_stack_bytes);
#endif
    emulator_switch(save, load);
#if defined(__SANITIZE_ADDRESS__) && !defined(EMULATOR_TSAN)
    const void *bottom;
    size_t      n_bytes;
    __sanitizer_finish_switch_fiber(*fake, &bottom, &n_bytes);
    /* The scheduler's own stack is learnt when a fiber is entered; this is a switch back. */
#endif
}

void fail(const char *what, int line)
{
    if (g.failed) return;
    g.failed = true;
    g.fault = what;
    g.fault_line = line;
    g.fault_thread = g.current;
}

/* ---- turns ----------------------------------------------------------------------------------------- */

uint32_t random_below(uint32_t n)
{
    g.seed = g.seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(g.seed >> 8) * n) >> 24);
}

void make_order(uint32_t *order, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) order[i] = order_seed == 1 ? n - 1 - i : i;
    if (order_seed < 2) return;
    for (uint32_t i = n; i > 1; i--) {
        const uint32_t j = random_below(i), t = order[i - 1];
        order[i - 1] = order[j];
        order[j] = t;
    }
}

/* All lanes wait at the same simd function, or some are past it. */
bool lanes_may_go(uint32_t i_simd)
{
    fiber *lane = &g.fibers[i_simd * LANES];
    bool   any = false, same = true;

    for (uint32_t i = 0; i < LANES; i++) any |= lane[i].is == AT_LANES;
    for (uint32_t i = 0; any && i < LANES; i++) same &= lane[i].is == AT_LANES && lane[i].line == lane[0].line;
    if (any && !same) fail("a simd function that part of a simdgroup reaches", lane[0].line);
    return any && same;
}

bool group_may_go()
{
    const uint32_t n = g.n_threads;
    bool           any = false, same = true;

    for (uint32_t i = 0; i < n; i++) any |= g.fibers[i].is == AT_GROUP;
    for (uint32_t i = 0; any && i < n; i++) {
        same &= g.fibers[i].is == AT_GROUP && g.fibers[i].line == g.fibers[0].line;
    }
    if (any && !same) fail("a barrier that part of a group reaches", g.fibers[0].line);
    return any && same;
}

fiber *next_of(uint32_t i_simd)
{
    simdgroup *s = &g.simd[i_simd];

    while (s->at < LANES) {
        fiber *f = &g.fibers[i_simd * LANES + s->order[s->at++]];
        if (f->is == READY) return f;
    }
    return nullptr;
}

void wake(uint32_t i_simd)
{
    for (uint32_t i = 0; i < LANES; i++) g.fibers[i_simd * LANES + i].is = READY;
    make_order(g.simd[i_simd].order, LANES);
    g.simd[i_simd].at = 0;
}

/* Whose turn it is; NULL when all are done or something is wrong. */
fiber *pick()
{
    const uint32_t n = g.n_threads / LANES;

    while (!g.failed) {
        for (; g.at < n; g.at++) {
            const uint32_t i = g.order[g.at];
            fiber         *f = next_of(i);
            if (!f && lanes_may_go(i)) {
                wake(i);
                f = next_of(i);
            }
            if (f) return f;
            if (g.failed) return nullptr;
        }
        if (!group_may_go()) return nullptr;
        for (uint32_t i = 0; i < n; i++) wake(i);
        make_order(g.order, n);
        g.at = 0;
    }
    return nullptr;
}

void wait_turn(fiber *f, state why, int line)
{
    f->is = why;
    f->line = line;
    release(g.sync_any);                /* for the scheduler alone, if it must give up */
    fiber *next = pick();
    if (next != f) go(f, next);
}

void fiber_main()
{
#if defined(__SANITIZE_ADDRESS__) && !defined(EMULATOR_TSAN)
    const void *bottom;
    size_t      n_bytes;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &n_bytes);
    if (!g.scheduler_stack) {
        g.scheduler_stack = bottom;
        g.scheduler_stack_bytes = n_bytes;
    }
#endif
    for (;;) {
        fiber *f = &g.fibers[g.current];
        acquire(g.sync_start);
        g.launch->call(g.launch->args, g.launch->buffer);
        release(g.sync_end);
        wait_turn(f, DONE, 0);
    }
}

/* ---- groups ---------------------------------------------------------------------------------------- */

void make_fiber(fiber *f)
{
    f->stack = static_cast<uint8_t *>(mmap(nullptr, STACK_BYTES + PAGE, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (f->stack == MAP_FAILED) abort();
    mprotect(f->stack, PAGE, PROT_NONE);            /* a stack that is too small is noticed */
    void **top = reinterpret_cast<void **>(f->stack + PAGE + STACK_BYTES) - FRAME_WORDS - 2;
    memset(top, 0, (FRAME_WORDS + 2) * sizeof *top);
    top[RETURN_WORD] = reinterpret_cast<void *>(fiber_main);
    f->stack_pointer = top;
#if defined(EMULATOR_TSAN)
    f->sanitizer = __tsan_create_fiber(0);
#endif
}

/* The thread sanitizer forgets what it knew about memory that is mapped anew. */
void new_arena()
{
#if defined(EMULATOR_TSAN)
    if (g.arena) munmap(g.arena, ARENA_BYTES);
    g.arena = nullptr;
#endif
    if (!g.arena) {
        g.arena = static_cast<uint8_t *>(mmap(nullptr, ARENA_BYTES, PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (g.arena == MAP_FAILED) abort();
    }
    g.n_arrays = 0;
    g.arena_used = g.n_bytes = 0;
    release(g.sync_start);
}

/* The sanitizer does not see these writes. */
void fill(uint8_t *to, uint8_t value, size_t n)
{
    for (size_t i = 0; i < n; i++) static_cast<volatile uint8_t *>(to)[i] = value;
}

void check_borders()
{
    for (uint32_t i = 0; i < g.n_arrays; i++) {
        const array &a = g.arrays[i];
        for (size_t k = 0; k < BORDER; k++) {
            if (g.arena[a.at - BORDER + k] == BORDER_BYTE && g.arena[a.at + a.n_bytes + k] == BORDER_BYTE) continue;
            fail("group memory was written outside of an array", 0);
            return;
        }
    }
}

void run_group(const uint32_t at[3])
{
    const uint32_t n = g.launch->n_threads;

    memcpy(g.place.group, at, sizeof g.place.group);
    g.place.n_threads = g.n_threads = n;
    g.seed = order_seed * 2654435761u + at[0] * 977 + at[1] * 131 + at[2] * 7 + 1;
    for (; g.n_made < n; g.n_made++) make_fiber(&g.fibers[g.n_made]);
    for (uint32_t i = 0; i < n; i++) {
        fiber *f = &g.fibers[i];
        f->is = READY;
        f->parity = false;
        f->n_barriers = f->n_arrays = 0;
    }
    new_arena();
    for (uint32_t i = 0; i < n / LANES; i++) wake(i);
    make_order(g.order, n / LANES);
    g.at = 0;
    go(nullptr, pick());
    if (!g.failed) check_borders();
}

}

/* ---- inside a kernel ------------------------------------------------------------------------------- */

const emulator::place &emulator::here()
{
    g.place.index = g.current;
    return g.place;
}

void emulator::group_barrier(int line)
{
    fiber *f = &g.fibers[g.current];
    /* Two objects by turns: a thread may come to the next barrier before another leaves this one. */
    char  *sync = g.sync_group[f->n_barriers++ & 1];

    release(sync);
    wait_turn(f, AT_GROUP, line);
    acquire(sync);
}

void emulator::lane_barrier(int line)
{
    fiber *f = &g.fibers[g.current];
    char  *sync = g.simd[g.current / LANES].sync[f->parity];

    f->parity = !f->parity;
    release(sync);
    wait_turn(f, AT_LANES, line);
    acquire(sync);
}

uint32_t emulator::exchange(uint32_t word, uint32_t from, int line)
{
    fiber     *f = &g.fibers[g.current];
    simdgroup *s = &g.simd[g.current / LANES];
    const bool parity = f->parity;

    f->parity = !parity;
    s->word[parity][g.current % LANES] = word;
    wait_turn(f, AT_LANES, line);
    return s->word[parity][from % LANES];
}

void *emulator::group_memory(size_t n_bytes, const char *name)
{
    fiber         *f = &g.fibers[g.current];
    const uint32_t i = f->n_arrays++;

    if (i < g.n_arrays) return g.arena + g.arrays[i].at;
    g.n_bytes += n_bytes;
    if (g.n_bytes > GROUP_BYTES || i >= MAX_ARRAYS) {
        fprintf(stderr, "emulator: %s brings the group's memory to %zu bytes, at most %d\n", name, g.n_bytes,
                GROUP_BYTES);
        abort();
    }
    const size_t at = (g.arena_used + BORDER + 15) / 16 * 16;
    fill(g.arena + at - BORDER, BORDER_BYTE, BORDER);
    fill(g.arena + at, POISON, n_bytes);
    fill(g.arena + at + n_bytes, BORDER_BYTE, BORDER);
    g.arrays[g.n_arrays++] = { at, n_bytes, name };
    g.arena_used = at + n_bytes + BORDER;
    return g.arena + at;
}

/* ---- launches -------------------------------------------------------------------------------------- */

extern "C" void emulator_order(uint32_t seed)
{
    order_seed = seed;
}

extern "C" const char *emulator_run(const emulator_launch *launch)
{
    const uint32_t *n = launch->groups;
    const uint64_t  total = (uint64_t)n[0] * n[1] * n[2];

    g.launch = launch;
    g.failed = false;
    if (total == 0) {
        snprintf(g.message, sizeof g.message, "kernel %s: a grid without groups", launch->name);
        return g.message;
    }
    if (launch->n_threads == 0 || launch->n_threads % LANES != 0 || launch->n_threads > MAX_THREADS) {
        snprintf(g.message, sizeof g.message, "kernel %s: a group of %u threads", launch->name, launch->n_threads);
        return g.message;
    }
#if defined(EMULATOR_TSAN)
    g.scheduler_sanitizer = __tsan_get_current_fiber();
#endif
    release(g.sync_start);
    for (uint64_t i = 0; i < total && !g.failed; i++) {
        /* Any order of groups is allowed; a stride that shares no divisor visits all. */
        uint64_t k = order_seed == 1 ? total - 1 - i : i;
        if (order_seed > 1 && total % 7919 != 0) k = (i * 7919 + order_seed) % total;
        const uint32_t at[3] = { (uint32_t)(k % n[0]), (uint32_t)(k / n[0] % n[1]),
                                 (uint32_t)(k / ((uint64_t)n[0] * n[1])) };
        run_group(at);
    }
    acquire(g.sync_end);
    if (!g.failed) return nullptr;
    acquire(g.sync_any);
    snprintf(g.message, sizeof g.message, "kernel %s: %s (line %d, thread %u of group %u,%u,%u)", launch->name,
             g.fault, g.fault_line, g.fault_thread, g.place.group[0], g.place.group[1], g.place.group[2]);
    /* Fibers that wait in the middle of a kernel never go on; new ones take their places. Their stacks
     * are left as they are: the address sanitizer remembers the frames on them. */
    g.n_made = 0;
    return g.message;
}
