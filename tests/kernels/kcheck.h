/* kcheck.h - compare the fast kernels with the reference, slot by slot and instruction set
 * by instruction set, and time both.
 *
 * A check program calls kcheck_begin(), then kcheck_slot() for each slot it knows, then
 * kcheck_end(). Output is TAP. Buffers touch unreadable pages, so a read or write one byte
 * too far stops the case and is reported. Every run prints its seed; give the seed back as
 * an argument to repeat the run. --bench measures longer and on more sizes; --slot=TEXT and
 * --set=NAME try only slots whose name has the text, or one instruction set. */
#ifndef DS4_TESTS_KCHECK_H
#define DS4_TESTS_KCHECK_H

#include "kernels/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Kinds of random data. Each slot is tried with all of them. */
typedef enum kcheck_fill { KCHECK_ANY, KCHECK_EXTREME, KCHECK_ZERO, KCHECK_N_FILLS } kcheck_fill;

/* The tables and sizes that a case works with. */
typedef struct kcheck {
    const ds4_kernels *ref;
    const ds4_kernels *fast;
    const char        *isa;         /* "avx2" */
    const char        *slot;        /* "matmul q8_0" */
    uint32_t           arg;         /* what kcheck_slot() was given, e.g. the weight type */
} kcheck;

typedef void kcheck_body(const kcheck *c);

void kcheck_begin(int argc, char **argv, unsigned n_slots);
int  kcheck_end(void);                          /* the exit status */

/* Run body for every instruction set of this machine: one TAP line each.
 *
 *   slot    for the reports
 *   offset  of the slot in ds4_kernels; a set that leaves it to the reference is skipped
 *   arg     handed to body and time
 *   time    prints timing with kcheck_report(); only called when body succeeds; or NULL */
void kcheck_slot(const char *slot, size_t offset, uint32_t arg, kcheck_body *body,
                 kcheck_body *time);

uint32_t kcheck_rand(void);
uint32_t kcheck_below(uint32_t n);              /* 0 .. n-1 */
float    kcheck_float(kcheck_fill fill);        /* roughly normal; +-1; 0 */
int      kcheck_rounds(int n);                  /* n, fewer under sanitizers or an emulator */
bool     kcheck_bench(void);                    /* --bench was given */

/* Memory that ends at, or starts after, an unreadable page (drawn at random). It lives until
 * kcheck_free_all() or the end of the case. What surrounds it within its page must stay as
 * it is: kcheck_intact() verifies that and fails the case otherwise. */
void *kcheck_alloc(size_t bytes);
void *kcheck_copy(const void *from, size_t bytes);
void  kcheck_intact(void);
void  kcheck_free_all(void);

/* Fail the case with a message and leave it; does not return. */
__attribute__((format(printf, 1, 2), noreturn)) void kcheck_fail(const char *fmt, ...);

/* Fail unless |got - want| <= bound; NaN on one side only fails. what is a format. */
#define kcheck_near(got, want, bound, ...) \
    kcheck_near_at((double)(got), (double)(want), (double)(bound), __VA_ARGS__)
__attribute__((format(printf, 4, 5)))
void kcheck_near_at(double got, double want, double bound, const char *what, ...);

/* Fail unless the floats are the same bits; any NaN equals any NaN. */
void kcheck_same_floats(const float *got, const float *want, size_t n, const char *what);
void kcheck_same_bytes(const void *got, const void *want, size_t bytes, const char *what);

/* Nanoseconds per call: the best of several rounds. */
double kcheck_time_ns(void (*call)(void *ctx, const ds4_kernels *k), void *ctx,
                      const ds4_kernels *k);

/* "# SLOT ISA [SIZE]: ref .. ns, fast .. ns, ..x, .. GB/s". bytes: what one call must read. */
void kcheck_report(const kcheck *c, const char *size, double bytes,
                   void (*call)(void *ctx, const ds4_kernels *k), void *ctx);

#endif
