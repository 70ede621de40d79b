/* weights.c - see weights.h. */
#include "model/weights.h"

#include "format/small_float.h"
#include "model/file_forms.h"
#include "model/tensors.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };                    /* of each vector */

/* Binding a file's tensors. Vectors and tables are gathered in host memory and written at once. */
typedef struct binder {
    const ds4_gguf    *g;
    const ds4_shape   *s;
    const ds4_backend *backend;
    ds4_dev           *dev;
    ds4_weights       *w;
    bool               stream;
    uint8_t           *vectors;     /* [n_bytes] */
    uint64_t           n_bytes, n_used;
} binder;

static ds4_status refuse_type(const binder *b, const ds4_tensor_want *want, uint32_t dtype, const char *why,
                              ds4_err *err)
{
    const ds4_dtype_info *type = ds4_dtype_get(dtype);
    return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: tensor \"%s\" has type %s, %s", ds4_gguf_path(b->g),
                    want->name, type ? type->name : "unknown", why);
}

static ds4_status check_dims(const binder *b, const ds4_tensor_want *want, const ds4_gguf_tensor *t,
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
static ds4_status bind_matrix(binder *b, const ds4_tensor_want *want, const ds4_gguf_tensor *t,
                              ds4_matrix *out, ds4_err *err)
{
    const ds4_dtype_info *type = ds4_dtype_get(t->dtype);
    uint32_t              n_files;
    const ds4_tensor      tensor = {
        .name = want->name, .path = ds4_gguf_paths(b->g, &n_files)[ds4_gguf_tensor_file(b->g, t)],
        .data = t->data,
        .file_offset = ds4_gguf_tensor_offset(b->g, t), .n_bytes = t->n_bytes, .dtype = t->dtype,
        .n_in = (uint32_t)want->n_in, .n_out = (uint32_t)want->n_out, .n_mats = want->n_mats,
        .use = ds4_tensor_use(want, t->n_bytes), .by_rows = want->part == DS4_PART_EMBEDDING,
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

/* Room for the next vector or table. */
static void *next_vector(binder *b, uint64_t n_bytes, ds4_view *out)
{
    void *at = b->vectors + b->n_used;

    *out = (ds4_view){ b->w->vectors, b->n_used };
    b->n_used += padded(n_bytes);
    return at;
}

static ds4_status bind_vector(binder *b, const ds4_tensor_want *want, const ds4_gguf_tensor *t, ds4_view *out,
                              ds4_err *err)
{
    const uint64_t n = want->n_in * want->n_out;

    if (t->dtype != DS4_F32 && t->dtype != DS4_F16 && t->dtype != DS4_BF16) {
        return refuse_type(b, want, t->dtype, "expected F32, F16 or BF16", err);
    }
    DS4_TRY(check_dims(b, want, t, err));
    float *x = next_vector(b, n * sizeof *x, out);
    for (uint64_t i = 0; i < n; i++) {
        x[i] = t->dtype == DS4_F32 ? ds4_load_f32(t->data + 4 * i)
             : t->dtype == DS4_F16 ? ds4_load_f16(t->data + 2 * i)
                                   : ds4_bf16_to_f32(ds4_load_u16(t->data + 2 * i));
    }
    return DS4_OK;
}

/* Token ids to expert ids; every entry is checked, because it is used as an index. */
static ds4_status bind_table(binder *b, const ds4_tensor_want *want, const ds4_gguf_tensor *t, ds4_view *out,
                             ds4_err *err)
{
    const uint64_t n = want->n_in * want->n_out;

    if (t->dtype != DS4_I32 || check_dims(b, want, t, NULL) != DS4_OK) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%s\" is not an I32 table of %llu x %llu",
                        ds4_gguf_path(b->g), want->name, (unsigned long long)want->n_in,
                        (unsigned long long)want->n_out);
    }
    int32_t *expert = next_vector(b, n * sizeof *expert, out);
    memcpy(expert, t->data, n * sizeof *expert);
    for (uint64_t i = 0; i < n; i++) {
        if (expert[i] >= 0 && (uint32_t)expert[i] < want->n_experts) continue;
        return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%s\": entry %llu is expert %d, expected 0..%u, the"
                        " experts that the layer has", ds4_gguf_path(b->g), want->name, (unsigned long long)i,
                        expert[i], want->n_experts - 1);
    }
    return DS4_OK;
}

static void add_frequencies(binder *b, bool compressed, ds4_view *out)
{
    ds4_shape_frequencies(b->s, compressed, next_vector(b, b->s->n_rot / 2 * sizeof(float), out));
}

/* Bytes of vectors and tables in memory. */
static uint64_t vector_bytes(const ds4_shape *s)
{
    ds4_tensor_want wants[DS4_MAX_WANTS];
    uint64_t        n_bytes = 2 * padded(s->n_rot / 2 * sizeof(float));

    for (int32_t layer = -1; layer < (int32_t)s->n_layers; layer++) {
        const uint32_t n = ds4_tensors_list(s, layer, wants);
        for (uint32_t i = 0; i < n; i++) {
            if (wants[i].kind == DS4_TENSOR_MATRIX) continue;
            n_bytes += padded(wants[i].n_in * wants[i].n_out * sizeof(float));
        }
    }
    return n_bytes;
}

void ds4_weights_describe(ds4_weights *out, const ds4_gguf *g, const ds4_shape *s)
{
    ds4_tensor_want wants[DS4_MAX_WANTS];

    *out = (ds4_weights){ 0 };
    for (int32_t layer = -1; layer < (int32_t)s->n_layers; layer++) {
        char          *base = layer < 0 ? (char *)out : (char *)&out->layer[layer];
        const uint32_t n = ds4_tensors_list(s, layer, wants);
        for (uint32_t i = 0; i < n; i++) {
            const ds4_tensor_want *want = &wants[i];
            const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, want->name);
            const ds4_dtype_info  *type = t ? ds4_dtype_get(t->dtype) : NULL;
            if (want->kind != DS4_TENSOR_MATRIX) continue;
            *(ds4_matrix *)(void *)(base + want->field) = (ds4_matrix){
                .dtype = type && type->is_matrix ? t->dtype : DS4_F32, .n_in = (uint32_t)want->n_in,
                .n_out = (uint32_t)want->n_out, .n_mats = want->n_mats,
                .use = ds4_tensor_use(want, t ? t->n_bytes : 0),
            };
        }
    }
}

/* ---- everything ------------------------------------------------------------------------------- */

/* A token reads one row of the embedding, and the routed experts that it chose. */
static void count_params(binder *b, const ds4_tensor_want *want)
{
    const uint64_t one = want->n_in * want->n_out;

    if (want->kind == DS4_TENSOR_TABLE) return;
    b->w->n_params += one * want->n_mats;
    b->w->n_params_active += want->part == DS4_PART_EXPERTS   ? one * b->s->n_used
                           : want->part == DS4_PART_EMBEDDING ? want->n_in
                                                              : one * want->n_mats;
}

static ds4_status bind_one(binder *b, const ds4_tensor_want *want, void *base, ds4_err *err)
{
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(b->g, want->name);
    void                  *out = (char *)base + want->field;

    if (!t && want->is_optional) return DS4_OK;
    if (!t) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%s\" is missing", ds4_gguf_path(b->g), want->name);
    }
    count_params(b, want);
    switch (want->kind) {
    case DS4_TENSOR_MATRIX: return bind_matrix(b, want, t, out, err);
    case DS4_TENSOR_VECTOR: return bind_vector(b, want, t, out, err);
    case DS4_TENSOR_TABLE:  break;
    }
    return bind_table(b, want, t, out, err);
}

static ds4_status check_layer(const binder *b, uint32_t i, ds4_err *err)
{
    const ds4_layer_weights *l = &b->w->layer[i];

    if (l->gate.dtype == l->up.dtype && l->shared_gate.dtype == l->shared_up.dtype) return DS4_OK;
    return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: layer %u: gate and up experts have different types",
                    ds4_gguf_path(b->g), i);
}

static ds4_status bind_all(binder *b, ds4_err *err)
{
    ds4_tensor_want wants[DS4_MAX_WANTS];

    for (int32_t layer = -1; layer < (int32_t)b->s->n_layers; layer++) {
        void          *base = layer < 0 ? (void *)b->w : (void *)&b->w->layer[layer];
        const uint32_t n = ds4_tensors_list(b->s, layer, wants);
        for (uint32_t i = 0; i < n; i++) DS4_TRY(bind_one(b, &wants[i], base, err));
        if (layer >= 0) DS4_TRY(check_layer(b, (uint32_t)layer, err));
    }
    add_frequencies(b, false, &b->w->freq_plain);
    add_frequencies(b, true, &b->w->freq_compressed);
    b->w->has_mtp = ds4_file_forms_has_mtp(b->g, b->s);
    return ds4_backend_write(b->backend, b->dev, (ds4_view){ b->w->vectors, 0 }, b->vectors, b->n_used, err);
}

ds4_status ds4_weights_open(ds4_weights *out, const ds4_gguf *g, const ds4_shape *s, bool stream,
                            const ds4_backend *backend, ds4_dev *dev, const ds4_loading *told, ds4_err *err)
{
    binder b = { .g = g, .s = s, .backend = backend, .dev = dev, .w = out, .stream = stream,
                 .n_bytes = vector_bytes(s) };

    *out = (ds4_weights){ 0 };
    if (ds4_gguf_n_tensors(g) == 0) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: no tensors: a vocabulary is not a model", ds4_gguf_path(g));
    }
    DS4_TRY(ds4_backend_take(backend, dev, DS4_MEM_DEVICE, b.n_bytes, &out->vectors, err));
    b.vectors = calloc(1, b.n_bytes);
    if (!b.vectors) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its vectors", ds4_gguf_path(g));
    ds4_status st = bind_all(&b, err);
    free(b.vectors);
    return st == DS4_OK ? backend->load(dev, told, err) : st;
}

void ds4_weights_close(ds4_weights *w, const ds4_backend *backend, ds4_dev *dev)
{
    backend->free(dev, w->vectors);
    *w = (ds4_weights){ 0 };
}
