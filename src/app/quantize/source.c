/* source.c - see source.h. */
#include "app/quantize/source.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/encode.h"
#include "format/small_float.h"

static ds4_status fail_nan(const char *name, uint64_t row, ds4_err *err)
{
    return ds4_fail(err, DS4_E_FORMAT, "tensor \"%.100s\": row %llu has NaN or infinity", name,
                    (unsigned long long)row);
}

static bool is_scale(const ds4_st_tensor *t)
{
    return t->dtype == DS4_ST_F8_E8M0 || t->dtype == DS4_ST_U8;
}

static ds4_status find_scale(const ds4_checkpoint *c, source *s, uint64_t rows, uint64_t columns,
                             ds4_err *err)
{
    const char  *name = s->weight->name;
    const size_t n = strlen(name), n_end = strlen(".weight");
    char         scale[256];

    if (n <= n_end || n >= sizeof scale || strcmp(name + n - n_end, ".weight") != 0) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "tensor \"%.100s\" is %s, but has no name that a scale goes with", name,
                        ds4_st_dtype_name(s->weight->dtype));
    }
    snprintf(scale, sizeof scale, "%.*s.scale", (int)(n - n_end), name);
    s->scale = ds4_checkpoint_find(c, scale);
    if (!s->scale) return ds4_fail(err, DS4_E_FORMAT, "tensor \"%.200s\" is missing", scale);
    if (!is_scale(s->scale) || s->scale->n_dims != 2 || s->scale->dim[0] != rows ||
        s->scale->dim[1] != columns) {
        return ds4_fail(err, DS4_E_FORMAT, "tensor \"%.200s\" is not F8_E8M0 of %llu x %llu", scale,
                        (unsigned long long)rows, (unsigned long long)columns);
    }
    return DS4_OK;
}

/* Rows and columns of a tensor of one or two dimensions. */
static ds4_status find_shape(source *s, ds4_err *err)
{
    const ds4_st_tensor *t = s->weight;

    if (t->n_dims < 1 || t->n_dims > 2 || t->n_elems == 0) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "tensor \"%.100s\" has %u dimensions and %llu elements, expected a vector or a "
                        "matrix",
                        t->name, t->n_dims, (unsigned long long)t->n_elems);
    }
    s->n_rows = t->n_dims == 2 ? t->dim[0] : 1;
    s->n_columns = t->dim[t->n_dims - 1];
    return DS4_OK;
}

ds4_status source_find(const ds4_checkpoint *c, const char *name, uint32_t tile_rows, uint32_t tile_columns,
                       source *out, ds4_err *err)
{
    source s = { .weight = ds4_checkpoint_find(c, name),
                 .tile_rows = tile_rows,
                 .tile_columns = tile_columns };

    if (!s.weight) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%.200s\" is missing", ds4_checkpoint_dir(c),
                        name);
    }
    snprintf(s.name, sizeof s.name, "%s", name);
    DS4_TRY(find_shape(&s, err));
    switch (s.weight->dtype) {
    case DS4_ST_F32: case DS4_ST_F16: case DS4_ST_BF16:
        s.kind = SOURCE_FLOAT;
        break;
    case DS4_ST_F8_E4M3:
        s.kind = SOURCE_FP8;
        DS4_TRY(find_scale(c, &s, (s.n_rows + tile_rows - 1) / tile_rows,
                           (s.n_columns + tile_columns - 1) / tile_columns, err));
        break;
    case DS4_ST_I8: case DS4_ST_U8:
        s.kind = SOURCE_FP4;
        s.n_columns *= 2;                   /* two weights a byte */
        if (s.n_columns % 32 != 0) {
            return ds4_fail(err, DS4_E_FORMAT,
                            "tensor \"%.100s\" has rows of %llu FP4 weights, expected a multiple of 32",
                            name, (unsigned long long)s.n_columns);
        }
        DS4_TRY(find_scale(c, &s, s.n_rows, s.n_columns / 32, err));
        break;
    default:
        return ds4_fail(err, DS4_E_UNSUPPORTED, "tensor \"%.100s\" is %s, expected weights", name,
                        ds4_st_dtype_name(s.weight->dtype));
    }
    *out = s;
    return DS4_OK;
}

ds4_status source_of_tensor(const ds4_gguf_tensor *t, uint64_t part, const ds4_kernels *k, source *out,
                            ds4_err *err)
{
    const ds4_dtype_info *type = ds4_dtype_get(t->dtype);
    source                s = { .kind = SOURCE_BLOCKS, .dtype = t->dtype, .n_columns = t->dim[0],
                                .n_rows = t->dim[1] };

    snprintf(s.name, sizeof s.name, "%.*s", (int)t->name.n_bytes, t->name.data);
    if (!type->is_matrix) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "tensor \"%s\" is %s, which cannot be decoded", s.name,
                        type->name);
    }
    s.decode = k->decode[t->dtype];
    s.blocks = t->data + part * s.n_rows * ds4_row_bytes(s.dtype, s.n_columns);
    *out = s;
    return DS4_OK;
}

/* ---- rows ------------------------------------------------------------------------------ */

static void float_row(const source *s, uint64_t row, float *out)
{
    const uint32_t bytes = ds4_st_dtype_bytes(s->weight->dtype);
    const uint8_t *p = s->weight->data + row * s->n_columns * bytes;

    for (uint64_t i = 0; i < s->n_columns; i++, p += bytes) {
        switch (s->weight->dtype) {
        case DS4_ST_F32: out[i] = ds4_load_f32(p); break;
        case DS4_ST_F16: out[i] = ds4_load_f16(p); break;
        default:         out[i] = ds4_bf16_to_f32(ds4_load_u16(p)); break;
        }
    }
}

/* A product of four and one significant bits: exact. */
static void fp8_row(const source *s, uint64_t row, float *out)
{
    const uint8_t *codes = s->weight->data + row * s->n_columns;
    const uint8_t *scales = s->scale->data + row / s->tile_rows * s->scale->dim[1];

    for (uint64_t i = 0; i < s->n_columns; i++) {
        out[i] = ds4_e4m3_to_f32(codes[i]) * ds4_e8m0_to_f32(scales[i / s->tile_columns]);
    }
}

static void fp4_row(const source *s, uint64_t row, float *out)
{
    const uint8_t *codes = s->weight->data + row * (s->n_columns / 2);
    const uint8_t *scales = s->scale->data + row * (s->n_columns / 32);

    for (uint64_t i = 0; i < s->n_columns; i++) {
        out[i] = ds4_e2m1_to_f32(codes[i / 2] >> (4 * (i % 2)) & 15) * ds4_e8m0_to_f32(scales[i / 32]);
    }
}

ds4_status source_row(const source *s, uint64_t row, float *out, ds4_err *err)
{
    switch (s->kind) {
    case SOURCE_FLOAT: float_row(s, row, out); break;
    case SOURCE_FP8:   fp8_row(s, row, out); break;
    case SOURCE_FP4:   fp4_row(s, row, out); break;
    case SOURCE_BLOCKS:
        s->decode(out, s->blocks + row * ds4_row_bytes(s->dtype, s->n_columns), s->n_columns);
        break;
    }
    for (uint64_t i = 0; i < s->n_columns; i++) {
        if (!isfinite(out[i])) return fail_nan(s->name, row, err);
    }
    return DS4_OK;
}

ds4_status source_row_mxfp4(const source *s, uint64_t row, uint8_t *out, ds4_err *err)
{
    const uint8_t *codes = s->weight->data + row * (s->n_columns / 2);
    const uint8_t *scales = s->scale->data + row * (s->n_columns / 32);

    for (uint64_t i = 0; i < s->n_columns / 32; i++) {
        if (scales[i] == 255) return fail_nan(s->scale->name, row, err);
        ds4_repack_mxfp4(out + 17 * i, codes + 16 * i, scales[i]);
    }
    return DS4_OK;
}
