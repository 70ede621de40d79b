/* plan.c - see plan.h.
 *
 * Everything is added up before anything is allocated: "will it fit" is a function of the
 * file's directory, the options and the memory that is free, not an experiment. */
#include "model/plan.h"

#include "base/file.h"
#include "base/sysmem.h"
#include "model/tensors.h"
#include "text/vocab.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_BATCH = 256, DEFAULT_CTX = 32768 };

uint32_t ds4_plan_batch(const ds4_engine_options *opt)
{
    return opt->max_batch ? opt->max_batch : DEFAULT_BATCH;
}

uint32_t ds4_plan_ctx(const ds4_engine_options *opt)
{
    return opt->plan_ctx ? opt->plan_ctx : DEFAULT_CTX;
}

uint32_t ds4_plan_sessions(const ds4_engine_options *opt)
{
    return opt->plan_sessions ? opt->plan_sessions : 1;
}

bool ds4_plan_uses_index(const ds4_shape *s, uint32_t n_ctx)
{
    return s->top_k && n_ctx / 4 > s->top_k;
}

/* ---- adding up ------------------------------------------------------------------------------- */

/* The sum of the weights that belong together. */
static uint64_t *sum_of(ds4_plan *p, const ds4_tensor_want *want, uint64_t n_bytes)
{
    if (ds4_tensor_use(want, n_bytes) == DS4_USE_ROWS) return &p->embedding;
    switch (want->part) {
    case DS4_PART_ATTENTION:   return &p->attention;
    case DS4_PART_COMPRESSORS: return &p->compressors;
    case DS4_PART_SHARED:      return &p->shared_experts;
    case DS4_PART_HEAD:        return &p->head;
    case DS4_PART_EXPERTS:     return &p->experts;
    case DS4_PART_EMBEDDING:
    case DS4_PART_OTHER:
    case DS4_N_PARTS:          break;
    }
    return &p->other;
}

/* A tensor that is missing counts as empty; opening will refuse it. */
static void add_weights(const ds4_gguf *g, const ds4_shape *s, ds4_plan *p)
{
    ds4_tensor_want wants[DS4_MAX_WANTS];

    for (int32_t layer = -1; layer < (int32_t)s->n_layers; layer++) {
        const uint32_t n = ds4_tensors_list(s, layer, wants);
        for (uint32_t i = 0; i < n; i++) {
            const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, wants[i].name);
            if (t) *sum_of(p, &wants[i], t->n_bytes) += ds4_tensor_memory(&wants[i], t->n_bytes);
        }
    }
    p->dense = p->attention + p->compressors + p->shared_experts + p->head + p->other;
}

/* Entries and bytes of an array of strings. */
static void measure_strings(const ds4_gguf *g, const char *key, uint64_t *n, uint64_t *n_bytes)
{
    const ds4_gguf_key *entry = ds4_gguf_key_find(g, key);

    *n = entry && entry->is_array ? entry->value.count : 0;
    *n_bytes = entry && entry->is_array && entry->value.n_bytes > 8 * *n ? entry->value.n_bytes - 8 * *n : 0;
}

/* The vocabulary and the directory of the file. */
static uint64_t directory_bytes(const ds4_gguf *g)
{
    uint64_t n_tokens, text, n_merges, ignored;

    measure_strings(g, "tokenizer.ggml.tokens", &n_tokens, &text);
    measure_strings(g, "tokenizer.ggml.merges", &n_merges, &ignored);
    return ds4_vocab_memory(n_tokens, text, n_merges)
         + ds4_gguf_n_tensors(g) * (sizeof(ds4_gguf_tensor) + sizeof(void *))
         + ds4_gguf_n_keys(g) * (sizeof(ds4_gguf_key) + sizeof(void *));
}

ds4_expert_file ds4_plan_experts(const ds4_gguf *g, const ds4_shape *s, ds4_expert_layer *layer)
{
    static const char *const part[DS4_EXPERT_MATRICES] = { "gate", "up", "down" };
    uint32_t n_files;
    char     name[96];

    for (uint32_t i = 0; i < s->n_layers; i++) {
        layer[i].n_experts = s->experts[i];
        for (int p = 0; p < DS4_EXPERT_MATRICES; p++) {
            snprintf(name, sizeof name, "blk.%u.ffn_%s_exps.weight", i, part[p]);
            const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, name);
            layer[i].matrix[p].file = t ? ds4_gguf_tensor_file(g, t) : 0;
            layer[i].matrix[p].offset = t ? ds4_gguf_tensor_offset(g, t) : 0;
            layer[i].matrix[p].n_bytes = t ? t->n_bytes / s->experts[i] : 0;
        }
    }
    const char *const *paths = ds4_gguf_paths(g, &n_files);
    return (ds4_expert_file){ .paths = paths, .n_files = n_files, .n_layers = s->n_layers,
                              .n_experts = s->n_experts, .n_used = s->n_used, .layer = layer };
}

/* The part of the KV budget that is left for rows that may lie on disk. It is at least a quarter,
 * because a token reads many of them. */
static uint64_t cold_room(const ds4_engine_options *opt, uint64_t other)
{
    const uint64_t least = opt->kv_mem_bytes / 4;

    if (opt->kv_mem_bytes == 0 || !opt->kv_dir) return UINT64_MAX;
    return opt->kv_mem_bytes > other && opt->kv_mem_bytes - other > least ? opt->kv_mem_bytes - other : least;
}

static void add_sessions(const ds4_kv_layout *kv, const ds4_engine_options *opt, ds4_plan *p)
{
    p->n_ctx = ds4_plan_ctx(opt);
    p->n_sessions = ds4_plan_sessions(opt);
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

/* Everything beside the experts. It lies on the device, or in the host's memory where the device has
 * none of its own. */
static uint64_t firm_bytes(const ds4_plan *p)
{
    return p->dense + p->kv + p->scratch;
}

static bool has_device(const ds4_plan_parts *parts)
{
    return !parts->info->unified;
}

/* The host's memory that is left for experts. */
static uint64_t left_of(const ds4_plan_parts *parts, const ds4_plan *p)
{
    const uint64_t taken = p->tables + (has_device(parts) ? 0 : firm_bytes(p));
    return p->host.budget > taken ? p->host.budget - taken : 0;
}

/* Do all routed experts fit beside the rest on the device? */
static bool fit_on_device(const ds4_plan_parts *parts, const ds4_plan *p)
{
    return has_device(parts) && firm_bytes(p) + p->experts <= p->device.budget;
}

/* The smallest cache worth starting with: a sixteenth of the experts, and what a token needs. */
static uint64_t least_cache(const ds4_expert_file *file, const ds4_plan *p)
{
    const uint64_t part = p->experts / 16, least = ds4_expert_cache_least(file);
    return part > least ? part : least;
}

static uint64_t cache_bytes(const ds4_plan_parts *parts, const ds4_engine_options *opt, const ds4_plan *p)
{
    ds4_expert_layer      layers[DS4_MAX_LAYERS];
    const ds4_expert_file file = ds4_plan_experts(parts->g, parts->s, layers);
    const uint64_t        left = left_of(parts, p), least = least_cache(&file, p);

    return ds4_expert_cache_bytes(&file, opt->expert_cache_bytes ? opt->expert_cache_bytes
                                         : left < least          ? least : left);
}

/* Host memory to be taken when experts are not streamed. Weights that are mapped from a file on a RAM
 * disk take nothing. */
static uint64_t host_needs(const ds4_plan_parts *parts, const ds4_plan *p, bool on_device)
{
    const uint64_t firm = has_device(parts) ? 0 : firm_bytes(p), experts = on_device ? 0 : p->experts;
    const uint64_t all = p->tables + firm + experts;

    return p->file_in_memory ? all - experts - (has_device(parts) ? 0 : p->dense) : all;
}

static void add_up(ds4_plan_place *place)
{
    place->total = place->weights + place->experts + place->kv + place->scratch;
}

/* Place everything: on the device lies what every token needs; the experts lie there too, or in the
 * host's memory, or are read from the disk into a cache. */
static void place_all(const ds4_plan_parts *parts, const ds4_engine_options *opt, ds4_plan *p)
{
    const bool wants_device = opt->experts == DS4_EXPERTS_AUTO || opt->experts == DS4_EXPERTS_RESIDENT;

    p->scratch = parts->scratch[0];
    const bool on_device = wants_device && !opt->expert_cache_bytes && fit_on_device(parts, p);
    p->stream = opt->experts == DS4_EXPERTS_STREAM
             || (opt->experts == DS4_EXPERTS_AUTO && !on_device
                 && (opt->expert_cache_bytes || host_needs(parts, p, false) > p->host.budget));
    if (p->stream) {
        p->scratch = parts->scratch[1];
        p->expert_cache = cache_bytes(parts, opt, p);
    }
    ds4_plan_place *main = has_device(parts) ? &p->device : &p->host;
    main->weights = p->dense;
    main->kv = p->kv;
    main->scratch = p->scratch;
    p->host.weights += p->tables;
    *(on_device ? &p->device.experts : &p->host.experts) = p->stream ? p->expert_cache : p->experts;
    p->disk = (ds4_plan_place){ .weights = p->embedding, .experts = p->stream ? p->experts : 0,
                                .kv = p->kv_on_disk };
    add_up(&p->host);
    add_up(&p->device);
    add_up(&p->disk);
    p->total = p->host.total;
    p->taken = p->stream ? p->total : host_needs(parts, p, on_device);
    p->fits = p->taken <= p->host.budget && p->device.total <= p->device.budget;
}

static uint64_t budget_of(uint64_t asked, uint64_t free_bytes)
{
    return asked ? asked : free_bytes ? free_bytes / 10 * 9 : UINT64_MAX;
}

/* All pieces of the model lie on a RAM disk. */
static bool lies_in_memory(const ds4_gguf *g)
{
    uint32_t                 n_files;
    const char *const *const paths = ds4_gguf_paths(g, &n_files);

    for (uint32_t i = 0; i < n_files; i++) {
        if (!ds4_file_in_memory(paths[i])) return false;
    }
    return true;
}

static ds4_plan plan_within(const ds4_plan_parts *parts, const ds4_engine_options *opt,
                            const ds4_sysmem *mem)
{
    ds4_plan p = { .machine = mem->total_bytes, .free = mem->free_bytes,
                   .file_in_memory = lies_in_memory(parts->g) };

    p.budget = p.host.budget = budget_of(opt->mem_bytes, mem->free_bytes);
    p.host.free = mem->free_bytes;
    if (has_device(parts)) {
        p.device.budget = budget_of(opt->device_mem_bytes, parts->info->mem_free);
        p.device.free = parts->info->mem_free;
    }
    p.tables = parts->tables + directory_bytes(parts->g);
    add_weights(parts->g, parts->s, &p);
    p.draft = parts->draft;
    p.dense += p.draft;
    add_sessions(parts->kv, opt, &p);
    place_all(parts, opt, &p);
    return p;
}

/* ---- what would fit ------------------------------------------------------------------------------ */

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

/* The longest context that fits, in steps of 256; 0: none of 2,048 tokens or more. The scratch of the
 * context that was asked for is counted, so a slightly longer one might fit. */
static uint32_t longest_context(const ds4_plan_parts *parts, ds4_engine_options opt, const ds4_sysmem *mem)
{
    enum { STEP = 256, LEAST = 2048 };
    uint32_t low = 0, high = (ds4_plan_ctx(&opt) - 1) / STEP;     /* low fits or is 0 */

    while (low < high) {
        const uint32_t middle = (low + high + 1) / 2;
        opt.plan_ctx = middle * STEP;
        if (plan_within(parts, &opt, mem).fits) low = middle;
        else high = middle - 1;
    }
    return low * STEP >= LEAST ? low * STEP : 0;
}

typedef struct sentence {
    char text[96];
} sentence;

/* The first choice that fits, beginning with those that keep the most. */
static sentence choose_advice(const ds4_plan_parts *parts, ds4_engine_options opt, const ds4_sysmem *mem,
                              const ds4_plan *p)
{
    sentence                 out;
    const ds4_engine_options asked = opt;

    if (p->stream && opt.expert_cache_bytes) {
        opt.expert_cache_bytes = 0;                 /* as much as is left */
        opt.experts = DS4_EXPERTS_STREAM;           /* with the scratch of streaming, as the option means */
        const ds4_plan q = plan_within(parts, &opt, mem);
        if (q.fits) {
            snprintf(out.text, sizeof out.text, "--expert-cache %s would fit",
                     option_size(left_of(parts, &q)).text);
            return out;
        }
        opt = asked;
    }
    if (!p->stream) {
        opt.experts = DS4_EXPERTS_STREAM;
        if (plan_within(parts, &opt, mem).fits) {
            snprintf(out.text, sizeof out.text, "--experts stream would fit");
            return out;
        }
        opt = asked;
    }
    const uint32_t n_ctx = longest_context(parts, opt, mem);
    if (n_ctx) {
        snprintf(out.text, sizeof out.text, "--ctx %u would fit", n_ctx);
        return out;
    }
    opt.experts = DS4_EXPERTS_STREAM;
    opt.expert_cache_bytes = 0;
    opt.mem_bytes = 1;
    if (ds4_plan_ctx(&opt) > 2048) opt.plan_ctx = 2048;
    snprintf(out.text, sizeof out.text, "at least %s are needed, with --ctx %u --experts stream",
             size(plan_within(parts, &opt, mem).taken).text, opt.plan_ctx);
    return out;
}

void ds4_plan_compute(const ds4_plan_parts *parts, const ds4_engine_options *opt, ds4_plan *out)
{
    const ds4_sysmem      mem = ds4_sysmem_get();
    ds4_plan              p = plan_within(parts, opt, &mem);
    const bool            of_device = p.device.total > p.device.budget;
    const ds4_plan_place *short_of = of_device ? &p.device : &p.host;
    const char           *option = of_device ? (opt->device_mem_bytes ? " (--device-mem)" : "")
                                             : (opt->mem_bytes ? " (--mem)" : "");

    *out = p;
    if (p.fits) return;
    snprintf(out->advice, sizeof out->advice,
             "%s%s are needed (weights %s, experts %s, KV for %u tokens %s, scratch %s)"
             " and %s may be used%s: %s",
             size(of_device ? short_of->total : p.taken).text, of_device ? " of the device's memory" : "",
             size(of_device ? short_of->weights : p.dense).text, size(short_of->experts).text, p.n_ctx,
             size(short_of->kv).text, size(p.scratch + (of_device ? 0 : p.tables)).text,
             size(short_of->budget).text, option, choose_advice(parts, *opt, &mem, &p).text);
}
