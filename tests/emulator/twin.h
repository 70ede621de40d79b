/* twin.h - an operation on two backends at once, from the same bytes: what comes out is compared.
 *
 * A twin buffer is a buffer of each. Side 0 is the CPU, side 1 the backend under test; tests write
 * operations with views of a side. Randomness comes from one generator, so that a test that is run
 * again does the same. */
#ifndef DS4_TESTS_EMULATOR_TWIN_H
#define DS4_TESTS_EMULATOR_TWIN_H

#include "backend/backend.h"
#include "ds4.h"

enum { TWIN_SIDES = 2 };

typedef struct twin {
    const ds4_backend *backend[TWIN_SIDES];
    ds4_dev           *dev[TWIN_SIDES];
    ds4_rng            rng;
    uint64_t           hash;            /* of everything that side 1 computed and that was looked at */
} twin;

typedef struct twin_buf {
    ds4_buf *buf[TWIN_SIDES];
    uint64_t n_bytes;
} twin_buf;

/* The backend under test is the emulated GPU, or the one that DS4_TEST_BACKEND names. */
/* The next twin has the Metal backend over a fake Metal, where that is built; else, and with
 * DS4_TEST_BACKEND, as ever. */
void twin_on_metal(bool on);

void twin_open(twin *t, const ds4_limits *limits);
void twin_close(twin *t);               /* and the next has the emulated GPU and its dialect */

uint32_t twin_below(twin *t, uint32_t n);           /* 0 .. n-1 */

/* Zeroed; with n floats, roughly normal; with bytes. */
twin_buf twin_zeros(twin *t, uint64_t n_bytes);
twin_buf twin_floats(twin *t, uint64_t n);
twin_buf twin_bytes(twin *t, const void *bytes, uint64_t n_bytes);
void     twin_free(twin *t, twin_buf b);

/* A matrix of random weights of a type, the same on both sides. */
typedef struct twin_matrix {
    ds4_matrix w[TWIN_SIDES];
    uint8_t   *bytes;                   /* as in a file, mapped */
    uint64_t   n_bytes;
} twin_matrix;
twin_matrix twin_matrix_make(twin *t, uint32_t dtype, uint32_t n_in, uint32_t n_out, uint32_t n_mats,
                             ds4_use use);
void        twin_matrix_free(twin_matrix m);

static inline ds4_view twin_view(twin_buf b, int side)
{
    return (ds4_view){ b.buf[side], 0 };
}

static inline ds4_rows twin_rows(twin_buf b, int side, uint32_t stride)
{
    return (ds4_rows){ { b.buf[side], 0 }, stride };
}

/* Run one operation on a side and wait. */
void twin_run(twin *t, int side, const ds4_op *op, const ds4_batch *batch);

/* The bytes of a side; malloc'd. */
void *twin_read(twin *t, int side, twin_buf b);

/* Side 1 gets what side 0 has, so that the next operation begins alike. */
void twin_align(twin *t, twin_buf b);

/* Rows of n floats agree: no value is off by more than `bound` times the root mean square of its row
 * on side 0, plus 1e-30. The bytes of side 1 go into the hash. */
void twin_expect_rows(twin *t, twin_buf b, uint32_t n_rows, uint32_t n, uint32_t stride, double bound,
                      const char *what);
void twin_hash(twin *t, const void *data, uint64_t n_bytes);
void twin_expect_bytes(twin *t, twin_buf b, const char *what);

#endif
