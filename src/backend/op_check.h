/* op_check.h - what an operation touches, and whether it may (floor 2).
 *
 * One list says what each kind reads and writes; checking, tests and devices that keep memory apart
 * ask it. Sessions' tails and blocks are not in it: those are the batch's. */
#ifndef DS4_BACKEND_OP_CHECK_H
#define DS4_BACKEND_OP_CHECK_H

#include "backend/backend.h"

/* A stretch of device memory that an operation touches. Rows count from the first to the end of the
 * last, with what lies between them. */
typedef struct ds4_touch {
    const ds4_view *view;           /* in the operation, or in its array of products */
    const char     *what;           /* the member's name */
    uint64_t        n_bytes;
    uint32_t        align;          /* bytes; the offset is a multiple of it */
    uint64_t        width;          /* floats in a row */
    uint32_t        stride;         /* floats from row to row; 0: these are no rows */
    bool            reads, writes;
} ds4_touch;

/* Stretches and matrices of one operation, at most. */
enum { DS4_MAX_TOUCHES = 2 * DS4_MAX_PROJECT, DS4_MAX_MATRICES = DS4_MAX_PROJECT };

/* List what an operation touches in steps as large as the limits allow. Fills at most DS4_MAX_TOUCHES
 * entries and returns their number. What a list may leave out (a router's bias) is not in it then. */
uint32_t ds4_op_touches(const ds4_op *op, const ds4_limits *l, ds4_touch out[DS4_MAX_TOUCHES]);

/* The matrices that an operation multiplies or looks up. Returns their number. */
uint32_t ds4_op_matrices(const ds4_op *op, const ds4_matrix *out[DS4_MAX_MATRICES]);

/* Check a list before it is compiled: every stretch lies in a buffer of the backend and is aligned, rows do
 * not overlap, nothing that is written overlaps what else the operation touches (but where op.h says "in
 * place"), and sizes fit each other, the state's layout and what kernels are written for.
 *
 * Returns DS4_OK; DS4_E_ARG naming the operation, the member and the numbers. */
DS4_MUST_CHECK ds4_status ds4_ops_check(const ds4_backend *backend, const ds4_limits *l, const ds4_op *ops,
                                        uint32_t n, ds4_err *err);

#endif
