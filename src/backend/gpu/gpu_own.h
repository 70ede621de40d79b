/* gpu_own.h - what a kind of GPU does in a way of its own, beside the kernels of the dialect.
 *
 * Its results are bit for bit those of the dialect's kernels, which are its reference and stand in
 * wherever it does not serve. */
#ifndef DS4_BACKEND_GPU_OWN_H
#define DS4_BACKEND_GPU_OWN_H

#include "backend/gpu/gpu_multiply.h"

typedef struct gpu_own {
    /* A function for this operation in the step that has begun; NULL: the dialect's. */
    gpu_op_fn *(*op)(const ds4_dev *dev, const ds4_op *op);

    /* The form that a matrix is to have, 0: rows of the file; then pack() makes it from t->data at l->at, in
     * as many bytes. */
    uint32_t (*form_of)(const ds4_tensor *t);
    ds4_status (*pack)(ds4_dev *dev, const ds4_tensor *t, const ds4_layout *l, ds4_err *err);

    /* The functions of gpu_multiply.h for matrices of a form of its own. */
    ds4_status (*round)(ds4_dev *dev, const gpu_product *p, gpu_at to, ds4_err *err);
    ds4_status (*multiply)(ds4_dev *dev, const gpu_product *p, gpu_at act, ds4_err *err);
    ds4_status (*multiply_pairs)(ds4_dev *dev, const gpu_pairs *p, gpu_at act, ds4_err *err);
    ds4_status (*sort)(ds4_dev *dev, const sort_args *s, const gpu_pairs *p, ds4_err *err);
} gpu_own;

#endif
