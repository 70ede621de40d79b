/* gpu_multiply.c - see gpu_multiply.h. */
#include "backend/gpu/gpu_multiply.h"

#include "backend/gpu/gpu_own.h"
#include "format/dtype.h"
#include "kernels/kernels.h"

/* ---- kernels by weight type ------------------------------------------------------------------------ */

typedef struct type_kernels {
    gpu_kernel project, experts, embed;
    gpu_kernel project_i8, experts_i8; /* where has_i8 */
    bool       has_i8;
} type_kernels;

#define OF_FLOAT(type)                                                              \
    {                                                                               \
        .project = GPU_KERNEL_project_##type, .experts = GPU_KERNEL_experts_##type, \
        .embed = GPU_KERNEL_embed_##type                                            \
    }
#define OF_INTEGER(type)                                                              \
    {                                                                                 \
        .project = GPU_KERNEL_project_##type, .experts = GPU_KERNEL_experts_##type,   \
        .embed = GPU_KERNEL_embed_##type, .project_i8 = GPU_KERNEL_project_i8_##type, \
        .experts_i8 = GPU_KERNEL_experts_i8_##type, .has_i8 = true                    \
    }

/* NULL where the type is no matrix type. */
static const type_kernels *kernels_of(uint32_t dtype)
{
    static const type_kernels of[DS4_N_DTYPE] = {
        [DS4_F32] = OF_FLOAT(f32),           [DS4_F16] = OF_FLOAT(f16),
        [DS4_BF16] = OF_FLOAT(bf16),         [DS4_Q8_0] = OF_INTEGER(q8_0),
        [DS4_MXFP4] = OF_INTEGER(mxfp4),     [DS4_Q2_K] = OF_INTEGER(q2_k),
        [DS4_Q4_K] = OF_INTEGER(q4_k),       [DS4_Q6_K] = OF_INTEGER(q6_k),
        [DS4_IQ2_XXS] = OF_INTEGER(iq2_xxs),
    };
    return dtype < DS4_N_DTYPE && of[dtype].project ? &of[dtype] : NULL;
}

bool gpu_multiplies(uint32_t dtype)
{
    return kernels_of(dtype) != NULL;
}

static ds4_status find_kernels(const type_kernels **out, const ds4_matrix *w, const char *name,
                               ds4_err *err)
{
    *out = kernels_of(w->dtype);
    if (*out) return DS4_OK;
    return ds4_fail(err, DS4_E_UNSUPPORTED,
                    "operation %s: no GPU kernel multiplies weights of type %u", name, w->dtype);
}

ds4_status gpu_embed_kernel(gpu_kernel *out, const ds4_matrix *table, const char *name,
                            ds4_err *err)
{
    const type_kernels *k;

    DS4_TRY(find_kernels(&k, table, name, err));
    *out = k->embed;
    return DS4_OK;
}

/* ---- rounded activations --------------------------------------------------------------------------- */

static bool has_rows(const ds4_matrix *w)
{
    return w->layout->form == 0;
}

gpu_rounding gpu_rounding_of(const ds4_matrix *w, bool precise)
{
    const type_kernels *k = kernels_of(w->dtype);

    if (precise || !k || !k->has_i8) return (gpu_rounding){ 0 };
    return (gpu_rounding){ ds4_act_of(w->dtype) == DS4_ACT_Q32 ? 32 : 256, w->layout->form };
}

/* A row of n values: codes, scales, and what is left of 16 bytes. */
typedef struct rounded_row {
    uint32_t group, scales, n_bytes;
} rounded_row;

static rounded_row row_of(const ds4_matrix *w, bool precise, uint32_t n_mats)
{
    const uint64_t n = (uint64_t)w->n_in * n_mats;
    rounded_row    r = { .group = gpu_rounding_of(w, precise).group, .scales = (uint32_t)n };

    if (r.group > 0) r.n_bytes = gpu_div_up(n + 4 * (n / r.group), 16) * 16;
    return r;
}

/* Codes, at most a scale for each 32, sums of 16 of them, what is left of 32 bytes. */
uint64_t gpu_round_bytes(const ds4_matrix *w, uint64_t n_rows)
{
    const uint64_t n = (uint64_t)w->n_in * (w->use == DS4_USE_EXPERTS ? 1 : w->n_mats);
    return n_rows * (n + n / 4 + 32);
}

/* Matrices side by side read values of their own, or all the same. */
static uint32_t n_inputs(const gpu_product *p)
{
    return p->x_step > 0 ? p->w->n_mats : 1;
}

ds4_status gpu_round(ds4_dev *dev, const gpu_product *p, gpu_at to, ds4_err *err)
{
    if (gpu_rounding_of(p->w, p->precise).group == 0) return DS4_OK;
    if (!has_rows(p->w)) return dev->api->own->round(dev, p, to, err);

    const uint32_t      n_mats = n_inputs(p);
    const rounded_row   row = row_of(p->w, p->precise, n_mats);
    const quantize_args a = { .n = p->w->n_in,
                              .group = row.group,
                              .x_stride = p->x_stride,
                              .x_mat = p->x_step,
                              .to_bytes = row.n_bytes,
                              .to_scales = row.scales };

    return GPU_LAUNCH(dev, GPU_KERNEL_quantize, a, gpu_div_up(a.n / a.group, KD_ROWS), p->n_tokens,
                      n_mats, KD_GROUP, err, p->x, to);
}

/* ---- products -------------------------------------------------------------------------------------- */

/* Simdgroups of a group that share the segments of a row: a power of two; the others have other rows. */
static uint32_t sharing(uint32_t n_in)
{
    uint32_t n = 1;

    while (n < KD_ROWS && n * KD_SEGMENT < n_in) n *= 2;
    return n;
}

/* Rows of x may be loaded 16 bytes at a time. */
static bool is_aligned(gpu_at x, uint32_t stride, uint32_t n_in)
{
    return x % 16 == 0 && stride % 4 == 0 && n_in % 8 == 0;
}

static ds4_status multiply_floats(ds4_dev *dev, const gpu_product *p, gpu_kernel kernel,
                                  ds4_err *err)
{
    const product_args a = {
        .row_bytes = p->w->layout->row_bytes,
        .w_stride = p->w->layout->mat_bytes,
        .n_in = p->w->n_in,
        .n_out = p->w->n_out,
        .n_tokens = p->n_tokens,
        .x_stride = p->x_stride,
        .y_stride = p->y_stride,
        .n_sharing = sharing(p->w->n_in),
        .x_mat = p->x_step,
        .y_mat = p->y_step,
        .aligned = is_aligned(p->x, p->x_stride, p->w->n_in) && p->x_step % 4 == 0,
    };
    return GPU_LAUNCH(dev, kernel, a, gpu_div_up(a.n_out, KD_ROWS / a.n_sharing),
                      gpu_div_up(a.n_tokens, KD_TOKENS), p->w->n_mats, KD_GROUP, err,
                      p->w->layout->at, p->x, p->y);
}

static ds4_status multiply_i8(ds4_dev *dev, const gpu_product *p, gpu_at act, gpu_kernel kernel,
                              ds4_err *err)
{
    const rounded_row     row = row_of(p->w, p->precise, n_inputs(p));
    const product_i8_args a = { .row_bytes = p->w->layout->row_bytes,
                                .w_stride = p->w->layout->mat_bytes,
                                .n_in = p->w->n_in,
                                .n_out = p->w->n_out,
                                .n_tokens = p->n_tokens,
                                .group = row.group,
                                .x_bytes = row.n_bytes,
                                .x_scales = row.scales,
                                .x_mat = p->x_step > 0 ? p->w->n_in : 0,
                                .y_stride = p->y_stride,
                                .y_mat = p->y_step };

    return GPU_LAUNCH(dev, kernel, a, gpu_div_up(a.n_out, KD_ROWS),
                      gpu_div_up(a.n_tokens, KD_TOKENS), p->w->n_mats, KD_GROUP, err,
                      p->w->layout->at, act, p->y);
}

ds4_status gpu_multiply(ds4_dev *dev, const gpu_product *p, gpu_at act, const char *name,
                        ds4_err *err)
{
    const type_kernels *k;

    if (!has_rows(p->w)) return dev->api->own->multiply(dev, p, act, err);
    DS4_TRY(find_kernels(&k, p->w, name, err));
    if (gpu_rounding_of(p->w, p->precise).group > 0)
        return multiply_i8(dev, p, act, k->project_i8, err);
    return multiply_floats(dev, p, k->project, err);
}

/* ---- experts --------------------------------------------------------------------------------------- */

uint32_t gpu_most_tiles(uint32_t n_pairs, uint32_t n_experts)
{
    return n_pairs < n_experts ? n_pairs : n_experts + n_pairs / KD_TOKENS;
}

static ds4_status pairs_floats(ds4_dev *dev, const gpu_pairs *p, gpu_kernel kernel, ds4_err *err)
{
    const ds4_matrix  *w = p->w;
    const experts_args a = {
        .row_bytes = w->layout->row_bytes,
        .w_stride = w->layout->mat_bytes,
        .n_in = w->n_in,
        .n_out = w->n_out,
        .n_pairs = p->n_pairs,
        .n_used = p->n_used,
        .x_stride = p->x_stride,
        .y_stride = w->n_out,
        .x_by_token = p->x_by_token,
        .sorted = p->sorted,
        .n_sharing = sharing(w->n_in),
        .aligned = is_aligned(p->x, p->x_stride, w->n_in),
    };
    return GPU_LAUNCH(dev, kernel, a, gpu_div_up(w->n_out, KD_ROWS / a.n_sharing),
                      p->sorted ? gpu_most_tiles(p->n_pairs, w->n_mats) : p->n_pairs, 1, KD_GROUP,
                      err, w->layout->at, p->x, p->y, p->expert, p->order, p->tile);
}

static ds4_status pairs_i8(ds4_dev *dev, const gpu_pairs *p, gpu_at act, gpu_kernel kernel,
                           ds4_err *err)
{
    const ds4_matrix     *w = p->w;
    const rounded_row     row = row_of(w, false, 1);
    const experts_i8_args a = { .row_bytes = w->layout->row_bytes,
                                .w_stride = w->layout->mat_bytes,
                                .n_in = w->n_in,
                                .n_out = w->n_out,
                                .n_used = p->n_used,
                                .x_bytes = row.n_bytes,
                                .x_scales = row.scales,
                                .y_stride = w->n_out,
                                .x_by_token = p->x_by_token,
                                .sorted = p->sorted };

    return GPU_LAUNCH(dev, kernel, a, gpu_div_up(w->n_out, KD_ROWS),
                      p->sorted ? gpu_most_tiles(p->n_pairs, w->n_mats) : p->n_pairs, 1, KD_GROUP,
                      err, w->layout->at, act, p->y, p->expert, p->order, p->tile);
}

ds4_status gpu_multiply_pairs(ds4_dev *dev, const gpu_pairs *p, gpu_at act, const char *name,
                              ds4_err *err)
{
    const type_kernels *k;

    if (!has_rows(p->w)) return dev->api->own->multiply_pairs(dev, p, act, err);
    DS4_TRY(find_kernels(&k, p->w, name, err));
    if (gpu_rounding_of(p->w, false).group > 0) return pairs_i8(dev, p, act, k->experts_i8, err);
    return pairs_floats(dev, p, k->experts, err);
}
