/* bench_weights.c - how many bytes of a model file a decoding step reads; see bench.h. */
#include "app/bench/bench.h"

#include "format/gguf.h"

#include <math.h>
#include <string.h>

static bool has(ds4_slice name, const char *part)
{
    const size_t n = strlen(part);

    for (size_t i = 0; i + n <= name.n_bytes; i++) {
        if (memcmp(name.data + i, part, n) == 0) return true;
    }
    return false;
}

static void add_tensor(bench_weights *w, const ds4_gguf_tensor *t)
{
    if (has(t->name, "mtp.")) return;           /* drafts are not part of plain decoding */
    if (has(t->name, "_exps.weight")) {
        w->expert += t->n_bytes / (w->n_experts ? w->n_experts : 1);
    } else if (has(t->name, "indexer.attn_q_b.") || has(t->name, "indexer.proj.")) {
        w->index += t->n_bytes;
    } else if (has(t->name, "token_embd.") || has(t->name, "tid2eid.")) {
        w->dense += t->n_bytes / t->dim[1];     /* one row for a token */
    } else {
        w->dense += t->n_bytes;
    }
}

ds4_status bench_weights_read(const char *path, bench_weights *out, ds4_err *err)
{
    bench_weights w = { 0 };
    ds4_gguf     *g = NULL;
    uint64_t      n_experts = 0, n_used = 0, top_k = 0;

    DS4_TRY(ds4_gguf_open(path, &g, err));
    ds4_status st = ds4_gguf_get_u64(g, "deepseek4.expert_count", 1, 4096, &n_experts, err);
    if (st == DS4_OK) st = ds4_gguf_get_u64(g, "deepseek4.expert_used_count", 1, 64, &n_used, err);
    if (st == DS4_OK) {
        st = ds4_gguf_opt_u64(g, "deepseek4.attention.indexer.top_k", 1, 1 << 16, 1, &top_k, err);
    }
    w.n_experts = (uint32_t)n_experts;
    w.n_used = (uint32_t)n_used;
    w.index_ctx = 4 * (uint32_t)top_k + 3;      /* the next token sees more than top_k rows */
    for (uint32_t i = 0; st == DS4_OK && i < ds4_gguf_n_tensors(g); i++) {
        add_tensor(&w, ds4_gguf_tensor_at(g, i));
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
