/* plan.c - see plan.h.
 *
 * Everything is added up before anything is allocated: "will it fit" is a function of the
 * file's directory, the options and the memory that is free, not an experiment. */
#include "model/plan.h"

#include "base/sysmem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_BATCH = 256, DEFAULT_CTX = 32768 };

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

uint32_t ds4_plan_batch(const ds4_engine_options *opt)
{
    return opt->max_batch ? opt->max_batch : DEFAULT_BATCH;
}

ds4_limits ds4_plan_limits(const ds4_shape *s, uint32_t n_threads, uint32_t max_batch)
{
    const uint32_t streams = s->n_hc * s->n_embd, heads = s->n_heads * s->n_head;

    return (ds4_limits){
        .n_threads = n_threads, .max_batch = max_batch,
        .max_in = larger(larger(larger(streams, heads), larger(s->n_ffn, s->o_groups * s->o_rank)),
                         larger(2 * s->n_head, s->q_rank)),
        .max_heads = s->n_heads, .max_head = s->n_head,
        .max_rows = s->n_window + larger(s->top_k, DS4_MAX_CONTEXT / 128),
        .max_index_rows = larger(DS4_MAX_CONTEXT / 4, s->n_experts),
        .max_experts = s->n_experts, .max_used = s->n_used, .max_ffn = s->n_ffn, .max_embd = s->n_embd,
    };
}

/* ---- adding up ------------------------------------------------------------------------------- */

static bool ends_with(ds4_slice name, const char *end)
{
    const size_t n = strlen(end);
    return name.n_bytes >= n && memcmp(name.data + name.n_bytes - n, end, n) == 0;
}

static bool starts_with(ds4_slice name, const char *start)
{
    const size_t n = strlen(start);
    return name.n_bytes >= n && memcmp(name.data, start, n) == 0;
}

/* Tensors of the MTP block are in the file but nothing reads them. */
static void add_weights(const ds4_gguf *g, ds4_plan *p)
{
    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(g, i);
        if (starts_with(t->name, "mtp.")) continue;
        if (ends_with(t->name, "_exps.weight")) p->experts += t->n_bytes;
        else if (ds4_slice_eq(t->name, DS4_SLICE("token_embd.weight"))) p->embedding += t->n_bytes;
        else p->dense += t->n_bytes;
    }
}

/* What a budget for KV leaves for the rows that need not stay; a token reads a fair number
 * of them, so it is never nothing. */
static uint64_t cold_room(const ds4_engine_options *opt, uint64_t other)
{
    const uint64_t least = opt->kv_mem_bytes / 4;

    if (opt->kv_mem_bytes == 0 || !opt->kv_dir) return UINT64_MAX;
    return opt->kv_mem_bytes > other && opt->kv_mem_bytes - other > least ? opt->kv_mem_bytes - other : least;
}

static void add_sessions(const ds4_kv_layout *kv, const ds4_engine_options *opt, ds4_plan *p)
{
    p->n_ctx = opt->plan_ctx ? opt->plan_ctx : DEFAULT_CTX;
    p->n_sessions = opt->plan_sessions ? opt->plan_sessions : 1;
    p->per_token_kv = (kv->cold_bytes + kv->warm_bytes + DS4_BLOCK_TOKENS - 1) / DS4_BLOCK_TOKENS;
    const uint64_t blocks = (uint64_t)p->n_sessions * ds4_kv_blocks(p->n_ctx);
    const uint64_t cold = blocks * kv->cold_bytes;
    const uint64_t other = blocks * kv->warm_bytes
                         + p->n_sessions * (kv->tail_bytes + p->n_ctx * (uint64_t)sizeof(int32_t));
    p->kv_cold = cold_room(opt, other);
    p->kv_on_disk = cold > p->kv_cold ? cold - p->kv_cold : 0;
    p->kv = other + cold - p->kv_on_disk;
}

/* ---- deciding --------------------------------------------------------------------------------- */

/* The smallest cache worth starting with: a sixteenth of the experts. */
static uint64_t least_cache(const ds4_plan *p)
{
    return p->experts / 16;
}

/* A cache of all experts: each of the three parts is widened to whole pages of the disk. */
static uint64_t all_slots(const ds4_gguf *g, const ds4_plan *p)
{
    enum { WIDENING = 2 * 4096 };
    uint64_t n = p->experts;

    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(g, i);
        if (ends_with(t->name, "_exps.weight")) n += t->dim[2] * WIDENING;
    }
    return n;
}

static void decide_experts(const ds4_gguf *g, const ds4_engine_options *opt, ds4_plan *p)
{
    const uint64_t rest = p->dense + p->kv + p->scratch;
    const uint64_t left = p->budget > rest ? p->budget - rest : 0;

    p->stream = opt->experts == DS4_EXPERTS_STREAM
             || (opt->experts == DS4_EXPERTS_AUTO && (opt->expert_cache_bytes || left < p->experts));
    if (p->stream) {
        p->expert_cache = opt->expert_cache_bytes ? opt->expert_cache_bytes
                        : left < least_cache(p)   ? least_cache(p)
                                                  : left;
        const uint64_t most = all_slots(g, p);
        if (p->expert_cache > most) p->expert_cache = most;
    }
    p->total = rest + (p->stream ? p->expert_cache : p->experts);
    p->fits = p->total <= p->budget;
}

typedef struct amount {
    char text[24];
} amount;

static amount size(uint64_t n_bytes)
{
    const bool large = n_bytes >= (uint64_t)10 << 30;
    amount     a;

    snprintf(a.text, sizeof a.text, "%.1f %s", (double)n_bytes / (large ? 1 << 30 : 1 << 20),
             large ? "GiB" : "MiB");
    return a;
}

/* As an option takes it. */
static amount option_size(uint64_t n_bytes)
{
    amount a;
    snprintf(a.text, sizeof a.text, "%" PRIu64 "M", n_bytes >> 20);
    return a;
}

/* Say what would fit: first the choice that keeps the most. */
static void advise(const ds4_engine_options *opt, ds4_plan *p)
{
    const uint64_t rest = p->dense + p->kv + p->scratch;
    const uint64_t without_kv = p->dense + p->scratch + (p->stream ? least_cache(p) : p->experts);
    char           what[64];

    if (!p->stream && rest + least_cache(p) <= p->budget) {
        snprintf(what, sizeof what, "--experts stream would fit");
    } else if (p->stream && opt->expert_cache_bytes && rest + least_cache(p) <= p->budget) {
        snprintf(what, sizeof what, "--expert-cache %s would fit", option_size(p->budget - rest).text);
    } else if (without_kv < p->budget && p->per_token_kv && p->n_ctx > 2048) {
        const uint64_t per_token = p->n_sessions * (p->per_token_kv + sizeof(int32_t));
        const uint64_t n = (p->budget - without_kv) / per_token;
        snprintf(what, sizeof what, "--ctx %" PRIu64 " would fit", n / 256 * 256);
    } else {
        snprintf(what, sizeof what, "at least %s are needed",
                 size(p->dense + p->scratch + least_cache(p)).text);
    }
    snprintf(p->advice, sizeof p->advice,
             "%s are needed (weights %s, experts %s, KV for %u tokens %s, scratch %s)"
             " and %s may be used%s: %s",
             size(p->total).text, size(p->dense).text,
             size(p->stream ? p->expert_cache : p->experts).text, p->n_ctx, size(p->kv).text,
             size(p->scratch).text, size(p->budget).text, opt->mem_bytes ? " (--mem)" : "", what);
}

void ds4_plan_compute(const ds4_gguf *g, const ds4_kv_layout *kv, uint64_t scratch,
                      const ds4_engine_options *opt, ds4_plan *out)
{
    const ds4_sysmem mem = ds4_sysmem_get();

    *out = (ds4_plan){ .scratch = scratch, .machine = mem.total_bytes, .free = mem.free_bytes };
    out->budget = opt->mem_bytes ? opt->mem_bytes : mem.free_bytes ? mem.free_bytes / 10 * 9 : UINT64_MAX;
    add_weights(g, out);
    add_sessions(kv, opt, out);
    decide_experts(g, opt, out);
    if (!out->fits) advise(opt, out);
}
