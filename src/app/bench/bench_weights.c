/* bench_weights.c - how many bytes of a model file a decoding step reads; see bench.h. */
#include "app/bench/bench.h"

#include "model/tensors.h"

#include <math.h>
#include <string.h>

static void add_tensor(bench_weights *w, const ds4_tensor_want *want, const ds4_gguf_tensor *t)
{
    if (want->part == DS4_PART_EXPERTS) {
        w->expert += t->n_bytes / want->n_mats;
    } else if (strstr(want->name, "indexer.attn_q_b.") || strstr(want->name, "indexer.proj.")) {
        w->index += t->n_bytes;
    } else if (want->part == DS4_PART_EMBEDDING || want->kind == DS4_TENSOR_TABLE) {
        w->dense += t->n_bytes / t->dim[1];     /* one row for a token */
    } else {
        w->dense += t->n_bytes;
    }
}

static void add_layer(bench_weights *w, const ds4_gguf *g, const ds4_shape *s, int32_t layer)
{
    ds4_tensor_want wants[DS4_MAX_WANTS];
    const uint32_t  n = ds4_tensors_list(s, layer, wants);

    for (uint32_t i = 0; i < n; i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, wants[i].name);
        if (t) add_tensor(w, &wants[i], t);
    }
    if (layer >= 0) w->n_experts += (double)s->experts[layer] / s->n_layers;
}

ds4_status bench_weights_read(const char *path, bench_weights *out, ds4_err *err)
{
    bench_weights w = { 0 };
    ds4_gguf     *g = NULL;
    ds4_shape     s;

    DS4_TRY(ds4_gguf_open(path, &g, err));
    const ds4_status st = ds4_shape_read(g, &s, err);
    if (st == DS4_OK) {
        w.n_used = s.n_used;
        w.index_ctx = s.top_k ? 4 * s.top_k + 3 : UINT32_MAX;  /* the next token sees more than top_k rows */
        for (int32_t layer = -1; layer < (int32_t)s.n_layers; layer++) add_layer(&w, g, &s, layer);
    }
    ds4_gguf_close(g);
    if (st == DS4_OK) *out = w;
    return st;
}

double bench_step_bytes(const bench_weights *w, uint32_t batch, uint32_t ctx)
{
    const double n = w->n_experts, missed = pow(1.0 - w->n_used / n, batch);

    return (double)w->dense + (double)w->expert * n * (1.0 - missed)
         + (ctx >= w->index_ctx ? (double)w->index : 0.0);
}
