/* bind.c - see bind.h. */
#include "model/bind.h"

#include "format/small_float.h"
#include "kernels/kernels.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };                    /* of each vector */

static ds4_status refuse_type(const ds4_binder *b, const ds4_tensor_want *want, uint32_t dtype,
                              const char *why,
                              ds4_err *err)
{
    const ds4_dtype_info *type = ds4_dtype_get(dtype);
    return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: tensor \"%s\" has type %s, %s", ds4_gguf_path(b->g),
                    want->name, type ? type->name : "unknown", why);
}

static ds4_status check_dims(const ds4_binder *b, const ds4_tensor_want *want, const ds4_gguf_tensor *t,
                             ds4_err *err)
{
    const uint64_t *dim = t->dim, n_mats = want->is_stacked ? 1 : want->n_mats;
    const uint64_t  n_rows = want->is_stacked ? want->n_out * want->n_mats : want->n_out;

    if (dim[0] == want->n_in && dim[1] == n_rows && dim[2] == n_mats && dim[3] == 1) return DS4_OK;
    return ds4_fail(err, DS4_E_FORMAT,
                    "%s: tensor \"%s\" is %llu x %llu x %llu, expected %llu x %llu x %llu",
                    ds4_gguf_path(b->g), want->name, (unsigned long long)dim[0], (unsigned long long)dim[1],
                    (unsigned long long)dim[2], (unsigned long long)want->n_in, (unsigned long long)n_rows,
                    (unsigned long long)n_mats);
}

/* ---- matrices ------------------------------------------------------------------------------- */

/* Streamed experts are read from the file when they are needed: they get a shape and no place. */
static ds4_status bind_matrix(ds4_binder *b, const ds4_tensor_want *want, const ds4_gguf_tensor *t,
                              ds4_matrix *out, ds4_err *err)
{
    const ds4_dtype_info *type = ds4_dtype_get(t->dtype);
    uint32_t              n_files;
    const ds4_tensor      tensor = {
        .name = want->name, .path = ds4_gguf_paths(b->g, &n_files)[ds4_gguf_tensor_file(b->g, t)],
        .data = t->data,
        .file_offset = ds4_gguf_tensor_offset(b->g, t), .n_bytes = t->n_bytes, .dtype = t->dtype,
        .n_in = (uint32_t)want->n_in, .n_out = (uint32_t)want->n_out, .n_mats = want->n_mats,
        .use = ds4_tensor_use(want, t->n_bytes), .by_rows = want->by_rows || want->part == DS4_PART_EMBEDDING,
    };

    if (!type || !type->is_matrix) {
        return refuse_type(b, want, t->dtype, "for which there is no product", err);
    }
    DS4_TRY(check_dims(b, want, t, err));
    if (!b->stream || tensor.use != DS4_USE_EXPERTS) return b->backend->bind(b->dev, &tensor, out, err);
    *out = (ds4_matrix){ .dtype = t->dtype, .n_in = tensor.n_in, .n_out = tensor.n_out,
                         .n_mats = tensor.n_mats, .use = tensor.use };
    return DS4_OK;
}

/* ---- vectors and tables ----------------------------------------------------------------------- */

static uint64_t padded(uint64_t n_bytes)
{
    return (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
}

void *ds4_bind_room(ds4_binder *b, uint64_t n_bytes, ds4_view *out)
{
    void *at = b->vectors + b->n_used;

    *out = (ds4_view){ b->buf, b->n_used };
    b->n_used += padded(n_bytes);
    return at;
}

/* A vector that converters encode like the matrices beside it. */
static ds4_status bind_coded(ds4_binder *b, const ds4_tensor_want *want, const ds4_gguf_tensor *t,
                             ds4_view *out,
                             ds4_err *err)
{
    ds4_kernels k;

    DS4_TRY(check_dims(b, want, t, err));
    ds4_kernels_init(&k, 0);
    k.decode[t->dtype](ds4_bind_room(b, want->n_in * sizeof(float), out), t->data, want->n_in);
    return DS4_OK;
}

static ds4_status bind_vector(ds4_binder *b, const ds4_tensor_want *want, const ds4_gguf_tensor *t,
                              ds4_view *out,
                              ds4_err *err)
{
    const uint64_t n = want->n_in * want->n_out;

    if (t->dtype == DS4_Q8_0 && want->may_be_coded) return bind_coded(b, want, t, out, err);
    if (t->dtype != DS4_F32 && t->dtype != DS4_F16 && t->dtype != DS4_BF16) {
        return refuse_type(b, want, t->dtype, "expected F32, F16 or BF16", err);
    }
    DS4_TRY(check_dims(b, want, t, err));
    float *x = ds4_bind_room(b, n * sizeof *x, out);
    for (uint64_t i = 0; i < n; i++) {
        x[i] = t->dtype == DS4_F32 ? ds4_load_f32(t->data + 4 * i)
             : t->dtype == DS4_F16 ? ds4_load_f16(t->data + 2 * i)
                                   : ds4_bf16_to_f32(ds4_load_u16(t->data + 2 * i));
    }
    return DS4_OK;
}

/* Token ids to expert ids; every entry is checked, because it is used as an index. */
static ds4_status bind_table(ds4_binder *b, const ds4_tensor_want *want, const ds4_gguf_tensor *t,
                             ds4_view *out,
                             ds4_err *err)
{
    const uint64_t n = want->n_in * want->n_out;

    if (t->dtype != DS4_I32 || check_dims(b, want, t, NULL) != DS4_OK) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%s\" is not an I32 table of %llu x %llu",
                        ds4_gguf_path(b->g), want->name, (unsigned long long)want->n_in,
                        (unsigned long long)want->n_out);
    }
    int32_t *expert = ds4_bind_room(b, n * sizeof *expert, out);
    memcpy(expert, t->data, n * sizeof *expert);
    for (uint64_t i = 0; i < n; i++) {
        if (expert[i] >= 0 && (uint32_t)expert[i] < want->n_experts) continue;
        return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%s\": entry %llu is expert %d, expected 0..%u, the"
                        " experts that the layer has", ds4_gguf_path(b->g), want->name, (unsigned long long)i,
                        expert[i], want->n_experts - 1);
    }
    return DS4_OK;
}

uint64_t ds4_bind_bytes(const ds4_tensor_want *want)
{
    return want->kind == DS4_TENSOR_MATRIX ? 0 : padded(want->n_in * want->n_out * sizeof(float));
}

/* ---- everything ------------------------------------------------------------------------------- */

ds4_status ds4_bind_begin(ds4_binder *b, uint64_t n_bytes, ds4_buf **buf, ds4_err *err)
{
    DS4_TRY(ds4_backend_take(b->backend, b->dev, DS4_MEM_DEVICE, n_bytes, buf, err));
    b->buf = *buf;
    b->vectors = calloc(1, n_bytes);
    if (b->vectors) return DS4_OK;
    return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its vectors", ds4_gguf_path(b->g));
}

ds4_status ds4_bind_tensor(ds4_binder *b, const ds4_tensor_want *want, void *base, ds4_err *err)
{
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(b->g, want->name);
    void                  *out = (char *)base + want->field;

    if (!t && want->is_optional) return DS4_OK;
    if (!t) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%s\" is missing", ds4_gguf_path(b->g), want->name);
    }
    switch (want->kind) {
    case DS4_TENSOR_MATRIX: return bind_matrix(b, want, t, out, err);
    case DS4_TENSOR_VECTOR: return bind_vector(b, want, t, out, err);
    case DS4_TENSOR_TABLE:  break;
    }
    return bind_table(b, want, t, out, err);
}

ds4_status ds4_bind_end(ds4_binder *b, ds4_status st, ds4_err *err)
{
    if (st == DS4_OK) {
        st = ds4_backend_write(b->backend, b->dev, (ds4_view){ b->buf, 0 }, b->vectors, b->n_used, err);
    }
    free(b->vectors);
    b->vectors = NULL;
    return st;
}
