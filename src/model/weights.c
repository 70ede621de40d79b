/* weights.c - see weights.h. */
#include "model/weights.h"

#include "model/bind.h"
#include "model/file_forms.h"

static void add_frequencies(ds4_binder *b, bool compressed, ds4_view *out)
{
    ds4_shape_frequencies(b->s, compressed, ds4_bind_room(b, b->s->n_rot / 2 * sizeof(float), out));
}

/* Bytes of vectors and tables in memory. */
static uint64_t vector_bytes(const ds4_shape *s)
{
    ds4_tensor_want wants[DS4_MAX_WANTS];
    uint64_t        n_bytes = 2 * ds4_bind_bytes(&(ds4_tensor_want){ .kind = DS4_TENSOR_VECTOR,
                                                                    .n_in = s->n_rot / 2, .n_out = 1 });

    for (int32_t layer = -1; layer < (int32_t)s->n_layers; layer++) {
        const uint32_t n = ds4_tensors_list(s, layer, wants);
        for (uint32_t i = 0; i < n; i++) {
            n_bytes += ds4_bind_bytes(&wants[i]);
        }
    }
    return n_bytes;
}

void ds4_weights_describe_one(const ds4_gguf *g, const ds4_tensor_want *want, void *base)
{
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, want->name);
    const ds4_dtype_info  *type = t ? ds4_dtype_get(t->dtype) : NULL;

    if (want->kind != DS4_TENSOR_MATRIX) return;
    *(ds4_matrix *)(void *)((char *)base + want->field) = (ds4_matrix){
        .dtype = type && type->is_matrix ? t->dtype : DS4_F32, .n_in = (uint32_t)want->n_in,
        .n_out = (uint32_t)want->n_out, .n_mats = want->n_mats,
        .use = ds4_tensor_use(want, t ? t->n_bytes : 0),
    };
}

void ds4_weights_describe(ds4_weights *out, const ds4_gguf *g, const ds4_shape *s)
{
    ds4_tensor_want wants[DS4_MAX_WANTS];

    *out = (ds4_weights){ 0 };
    for (int32_t layer = -1; layer < (int32_t)s->n_layers; layer++) {
        void          *base = layer < 0 ? (void *)out : (void *)&out->layer[layer];
        const uint32_t n = ds4_tensors_list(s, layer, wants);
        for (uint32_t i = 0; i < n; i++) ds4_weights_describe_one(g, &wants[i], base);
    }
}

/* ---- everything ------------------------------------------------------------------------------- */

/* A token reads one row of the embedding, and the routed experts that it chose. */
static void count_params(const ds4_shape *s, const ds4_tensor_want *want, ds4_weights *w)
{
    const uint64_t one = want->n_in * want->n_out;

    if (want->kind == DS4_TENSOR_TABLE) return;
    w->n_params += one * want->n_mats;
    w->n_params_active += want->part == DS4_PART_EXPERTS   ? one * s->n_used
                        : want->part == DS4_PART_EMBEDDING ? want->n_in
                                                           : one * want->n_mats;
}

static ds4_status check_layer(const ds4_gguf *g, const ds4_layer_weights *l, uint32_t i, ds4_err *err)
{
    if (l->gate.dtype == l->up.dtype && l->shared_gate.dtype == l->shared_up.dtype) return DS4_OK;
    return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: layer %u: gate and up experts have different types",
                    ds4_gguf_path(g), i);
}

static ds4_status bind_all(ds4_binder *b, ds4_weights *w, ds4_err *err)
{
    ds4_tensor_want wants[DS4_MAX_WANTS];

    for (int32_t layer = -1; layer < (int32_t)b->s->n_layers; layer++) {
        void          *base = layer < 0 ? (void *)w : (void *)&w->layer[layer];
        const uint32_t n = ds4_tensors_list(b->s, layer, wants);
        for (uint32_t i = 0; i < n; i++) {
            if (ds4_gguf_tensor_find(b->g, wants[i].name)) count_params(b->s, &wants[i], w);
            DS4_TRY(ds4_bind_tensor(b, &wants[i], base, err));
        }
        if (layer >= 0) DS4_TRY(check_layer(b->g, &w->layer[layer], (uint32_t)layer, err));
    }
    add_frequencies(b, false, &w->freq_plain);
    add_frequencies(b, true, &w->freq_compressed);
    w->has_mtp = ds4_file_forms_has_mtp(b->g, b->s);
    return DS4_OK;
}

ds4_status ds4_weights_open(ds4_weights *out, const ds4_gguf *g, const ds4_shape *s, bool stream,
                            const ds4_backend *backend, ds4_dev *dev, const ds4_loading *told, ds4_err *err)
{
    ds4_binder b = { .g = g, .s = s, .backend = backend, .dev = dev, .stream = stream };

    *out = (ds4_weights){ 0 };
    if (ds4_gguf_n_tensors(g) == 0) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: no tensors: a vocabulary is not a model", ds4_gguf_path(g));
    }
    ds4_status st = ds4_bind_begin(&b, vector_bytes(s), &out->vectors, err);
    if (st == DS4_OK) st = bind_all(&b, out, err);
    DS4_TRY(ds4_bind_end(&b, st, err));
    return backend->load(dev, told, err);
}

void ds4_weights_close(ds4_weights *w, const ds4_backend *backend, ds4_dev *dev)
{
    backend->free(dev, w->draft.vectors);
    backend->free(dev, w->vectors);
    *w = (ds4_weights){ 0 };
}
