/* draft_weights.c - the tensors of a support file get their places. See draft_file.h. */
#include "model/bind.h"
#include "model/draft_file.h"

#include <string.h>

static void *base_of(ds4_weights *w, const ds4_shape *s, int32_t stage)
{
    return stage < 0 ? (void *)&w->draft : (void *)&w->layer[s->n_layers + (uint32_t)stage];
}

uint64_t ds4_draft_bytes(const ds4_gguf *g, const ds4_shape *s, ds4_draft_layout layout)
{
    ds4_tensor_want wants[DS4_MAX_WANTS];
    uint64_t        n_bytes = 0;

    for (int32_t stage = -1; stage < (int32_t)s->draft.n_stages; stage++) {
        const uint32_t n = ds4_draft_list(s, layout, stage, wants);
        for (uint32_t i = 0; i < n; i++) {
            const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, wants[i].name);
            if (t) n_bytes += ds4_tensor_memory(&wants[i], t->n_bytes);
        }
    }
    return n_bytes;
}

void ds4_draft_weights_describe(ds4_weights *w, const ds4_gguf *g, const ds4_shape *s,
                                ds4_draft_layout layout)
{
    ds4_tensor_want wants[DS4_MAX_WANTS];

    for (int32_t stage = -1; stage < (int32_t)s->draft.n_stages; stage++) {
        const uint32_t n = ds4_draft_list(s, layout, stage, wants);
        for (uint32_t i = 0; i < n; i++) ds4_weights_describe_one(g, &wants[i], base_of(w, s, stage));
    }
}

/* Whether the drafter has a use for a tensor of that name. */
static bool is_wanted(const ds4_shape *s, ds4_draft_layout layout, ds4_slice name)
{
    ds4_tensor_want wants[DS4_MAX_WANTS];

    for (int32_t stage = -1; stage < (int32_t)s->draft.n_stages; stage++) {
        const uint32_t n = ds4_draft_list(s, layout, stage, wants);
        for (uint32_t i = 0; i < n; i++) {
            if (strlen(wants[i].name) == name.n_bytes && !memcmp(wants[i].name, name.data,
                                                                 name.n_bytes)) return true;
        }
    }
    return ds4_slice_eq(name, DS4_SLICE("conf_proj.bias"));
}

static ds4_status check_all_wanted(const ds4_gguf *g, const ds4_shape *s, ds4_draft_layout layout,
                                   ds4_err *err)
{
    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        const ds4_slice name = ds4_gguf_tensor_at(g, i)->name;
        if (is_wanted(s, layout, name)) continue;
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s: tensor \"%.*s\" has no use in a DSpark drafter: it is of another"
                        " kind", ds4_gguf_path(g), (int)(name.n_bytes < 64 ? name.n_bytes : 64), name.data);
    }
    return DS4_OK;
}

/* One layout allows the confidence a constant beside its vector. */
static ds4_status read_shift(const ds4_gguf *g, float *out, ds4_err *err)
{
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, "conf_proj.bias");

    *out = 0.0f;
    if (!t) return DS4_OK;
    if (t->dtype != DS4_F32 || t->n_bytes != sizeof *out) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"conf_proj.bias\" is not one F32 value",
                        ds4_gguf_path(g));
    }
    memcpy(out, t->data, sizeof *out);
    return DS4_OK;
}

static ds4_status bind_all(ds4_binder *b, ds4_weights *w, ds4_draft_layout layout, ds4_err *err)
{
    ds4_tensor_want wants[DS4_MAX_WANTS];

    for (int32_t stage = -1; stage < (int32_t)b->s->draft.n_stages; stage++) {
        const uint32_t n = ds4_draft_list(b->s, layout, stage, wants);
        for (uint32_t i = 0; i < n; i++) DS4_TRY(ds4_bind_tensor(b, &wants[i], base_of(w, b->s, stage), err));
        if (stage < 0) continue;
        const ds4_layer_weights *l = base_of(w, b->s, stage);
        if (l->gate.dtype == l->up.dtype && l->shared_gate.dtype == l->shared_up.dtype) continue;
        return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: stage %d: gate and up experts have different types",
                        ds4_gguf_path(b->g), stage);
    }
    return DS4_OK;
}

static uint64_t vector_bytes(const ds4_shape *s, ds4_draft_layout layout)
{
    ds4_tensor_want wants[DS4_MAX_WANTS];
    uint64_t        n_bytes = 0;

    for (int32_t stage = -1; stage < (int32_t)s->draft.n_stages; stage++) {
        const uint32_t n = ds4_draft_list(s, layout, stage, wants);
        for (uint32_t i = 0; i < n; i++) n_bytes += ds4_bind_bytes(&wants[i]);
    }
    return n_bytes;
}

ds4_status ds4_draft_weights_open(ds4_weights *w, const ds4_gguf *g, const ds4_shape *s,
                                  ds4_draft_layout layout,
                                  const ds4_backend *backend, ds4_dev *dev, const ds4_loading *told,
                                  ds4_err *err)
{
    ds4_binder b = { .g = g, .s = s, .backend = backend, .dev = dev };

    DS4_TRY(check_all_wanted(g, s, layout, err));
    DS4_TRY(read_shift(g, &w->draft.confidence_shift, err));
    ds4_status st = ds4_bind_begin(&b, vector_bytes(s, layout), &w->draft.vectors, err);
    if (st == DS4_OK) st = bind_all(&b, w, layout, err);
    DS4_TRY(ds4_bind_end(&b, st, err));
    return backend->load(dev, told, err);
}
