/* own_project.c - launches of products of matrices: all of an operation at once for a few tokens, in tiles
 * for many. */
#include "backend/gpu/cuda/own_local.h"

#include "format/dtype.h"

/* ---- rounded activations --------------------------------------------------------------------------- */

static uint32_t n_inputs(const gpu_product *p)
{
    return p->x_step > 0 ? p->w->n_mats : 1;
}

ds4_status own_round_rows(ds4_dev *dev, const gpu_product *p, gpu_at to, ds4_err *err)
{
    const uint32_t       n_mats = n_inputs(p), n = p->w->n_in * n_mats;
    const own_row        row = own_row_of(p->w->layout->form, n);
    const own_round_args a = { .form = p->w->layout->form,
                               .n = n,
                               .n_each = p->w->n_in,
                               .x_stride = p->x_stride,
                               .x_mat = p->x_step,
                               .to_bytes = row.n_bytes,
                               .to_scales = row.scales };

    return OWN_LAUNCH(dev, CUDA_KERNEL_own_round, a, gpu_div_up(a.n_each, 8 * 256), p->n_tokens,
                      n_mats, OWN_THREADS, 0, err, p->x, to);
}

/* ---- a few tokens ---------------------------------------------------------------------------------- */

typedef struct few {
    own_project_args a;
    uint32_t         n_groups, bytes; /* of the launch; of a group's memory */
} few;

static uint32_t sharing(uint32_t n, uint32_t n_in)
{
    uint32_t k = 1;

    while (k < 8 && k * n < n_in) k *= 2;
    return k;
}

/* x: floats, or rounded rows where several tokens meet integer weights. */
static void add_part(few *f, const gpu_product *p, gpu_at x)
{
    const ds4_matrix *w = p->w;
    const bool     i8 = w->layout->form == OWN_Q8_0 && !p->precise, rounded = i8 && p->n_tokens > 1;
    const own_row  row = own_row_of(OWN_Q8_0, w->n_in * n_inputs(p));
    const uint32_t n_side = sharing(i8 ? 512 : KD_SEGMENT, w->n_in),
                   n_tokens = p->n_tokens > 1 ? 8 : 1;
    own_part *to = &f->a.part[f->a.n_parts++];
    uint32_t  bytes = gpu_div_up(w->n_in, KD_SEGMENT) * (8 / n_side) * 8 * 4;

    *to = (own_part){ .w = w->layout->at,
                      .x = x,
                      .y = p->y,
                      .w_mat = w->layout->mat_bytes,
                      .form = i8                            ? OWN_Q8_0
                              : w->layout->form == OWN_Q8_0 ? OWN_Q8_0_PRECISE
                                                            : OWN_ROWS,
                      .n_in = w->n_in,
                      .n_out = w->n_out,
                      .x_bytes = rounded ? row.n_bytes : 4 * p->x_stride,
                      .x_scales = row.scales,
                      .x_mat = p->x_step,
                      .y_mat = p->y_step,
                      .y_stride = p->y_stride,
                      .first = f->n_groups };
    to->n_groups = gpu_div_up(i8 ? w->n_out / 16 : w->n_out, 8 / n_side);
    f->n_groups += to->n_groups * w->n_mats;
    if (i8) {
        const uint32_t n_segments = gpu_div_up(w->n_in, 512);
        bytes = w->n_in * n_tokens + 16 + w->n_in / 32 * n_tokens * 4 +
                8 / n_side * n_segments * (n_tokens == 1 ? 64 : 8 * OWN_PITCH * 4);
    }
    if (bytes > f->bytes) f->bytes = bytes;
}

static ds4_status launch_few(ds4_dev *dev, few *f, uint32_t n_tokens, ds4_err *err)
{
    if (f->a.n_parts == 0) return DS4_OK;
    f->a.n_tokens = n_tokens;
    return OWN_LAUNCH(dev, CUDA_KERNEL_own_project, f->a, f->n_groups, 1, 1, OWN_THREADS, f->bytes,
                      err, 0);
}

/* ---- many ------------------------------------------------------------------------------------------ */

static ds4_status launch_many(ds4_dev *dev, const gpu_product *p, gpu_at act, ds4_err *err)
{
    enum {
        STAGES = 4,
        STAGE = 8 * OWN_Q8_RECORD + 8 * (OWN_GEMM_TOKENS * 16 + 16) + OWN_GEMM_TOKENS * 16
    };
    const own_row       row = own_row_of(OWN_Q8_0, p->w->n_in * n_inputs(p));
    const own_gemm_args a = { .w_mat = p->w->layout->mat_bytes,
                              .n_in = p->w->n_in,
                              .n_out = p->w->n_out,
                              .n_tokens = p->n_tokens,
                              .x_bytes = row.n_bytes,
                              .x_scales = row.scales,
                              .x_mat = p->x_step,
                              .y_mat = p->y_step,
                              .y_stride = p->y_stride };

    return OWN_LAUNCH(dev, CUDA_KERNEL_own_gemm, a, gpu_div_up(a.n_tokens, OWN_GEMM_TOKENS),
                      a.n_out / OWN_GEMM_ROWS, p->w->n_mats, OWN_THREADS, STAGES * STAGE, err,
                      p->w->layout->at, act, p->y);
}

ds4_status own_multiply(ds4_dev *dev, const gpu_product *p, gpu_at act, ds4_err *err)
{
    few f = { 0 };

    if (p->n_tokens > OWN_FEW && !p->precise && p->w->n_out % OWN_GEMM_ROWS == 0)
        return launch_many(dev, p, act, err);
    add_part(&f, p, p->n_tokens > 1 && !p->precise ? act : p->x);
    return launch_few(dev, &f, p->n_tokens, err);
}

ds4_status own_multiply_two(ds4_dev *dev, const gpu_product *p, const gpu_product *q, ds4_err *err)
{
    few f = { 0 };

    add_part(&f, p, p->x);
    add_part(&f, q, q->x);
    return launch_few(dev, &f, 1, err);
}

/* ---- operations ------------------------------------------------------------------------------------ */

static uint32_t n_tokens_of(const ds4_dev *dev, const ds4_op_project *o)
{
    return o->is_head ? dev->step.n_rows : dev->step.n_tokens;
}

/* Parts that own_project takes as they are: floats in rows that can be loaded 16 bytes at a time. */
static bool takes_floats(const ds4_product *p)
{
    const bool is_known =
        p->w.layout->form == OWN_Q8_0 || (p->w.dtype == DS4_F16 && p->w.layout->form == OWN_ROWS);
    return is_known && p->w.n_in % 8 == 0 && p->x.stride % 4 == 0 && p->x_step % 4 == 0 &&
           gpu_address(p->x.at) % 16 == 0;
}

bool own_projects(const ds4_dev *dev, const ds4_op *op)
{
    const ds4_op_project *o = &op->project;
    const uint32_t        n = n_tokens_of(dev, o);

    if (n == 0 || n > OWN_FEW || o->n > OWN_MAX_PARTS) return false;
    for (uint32_t i = 0; i < o->n; i++) {
        const ds4_product *p = &o->part[i];
        if (!(p->w.layout->form == OWN_Q8_0 && !p->precise) && !takes_floats(p)) return false;
    }
    return true;
}

static bool same_input(const gpu_product *a, const gpu_product *b)
{
    return a->x == b->x && a->x_step == b->x_step && a->w->n_in == b->w->n_in &&
           a->w->n_mats == b->w->n_mats;
}

ds4_status own_project_op(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_project *o = &op->project;
    const uint32_t        n = n_tokens_of(dev, o);
    gpu_product           rounded = { 0 };
    gpu_at                at = 0, next = dev->scratch.at;
    few                   f = { 0 };

    for (uint32_t i = 0; i < o->n; i++) {
        const ds4_product *part = &o->part[i];
        const gpu_product  p = { .w = &part->w,
                                 .x = gpu_address(part->x.at),
                                 .y = gpu_address(part->y.at),
                                 .x_stride = part->x.stride,
                                 .y_stride = part->y.stride,
                                 .x_step = part->x_step,
                                 .y_step = part->y_step,
                                 .n_tokens = n,
                                 .precise = part->precise };
        if (n > 1 && part->w.layout->form == OWN_Q8_0 && !part->precise) {
            if (!rounded.w || !same_input(&rounded, &p)) {
                at = next;
                next += (gpu_round_bytes(p.w, n) + 15) / 16 * 16;
                DS4_TRY(own_round_rows(dev, &p, at, err));
                rounded = p;
            }
            add_part(&f, &p, at);
        } else {
            add_part(&f, &p, p.x);
        }
    }
    return launch_few(dev, &f, n, err);
}
