/* shape.c - see shape.h. */
#include "model/shape.h"

#include "model/file_forms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOP = 1 << 20 };         /* no width or count of a layer is larger */

/* Keys that are integers, with the range in which the code is right. */
typedef struct int_key {
    const char *key;
    size_t      at;
    uint32_t    lo, hi;
} int_key;

#define AT(field) offsetof(ds4_shape, field)

static const int_key int_keys[] = {
    { "deepseek4.block_count",                          AT(n_layers),    1, DS4_MAX_LAYERS },
    { "deepseek4.embedding_length",                     AT(n_embd),      1, TOP },
    { "deepseek4.attention.head_count",                 AT(n_heads),     1, 1024 },
    { "deepseek4.attention.key_length",                 AT(n_head),      32, 4096 },
    { "deepseek4.rope.dimension_count",                 AT(n_rot),       2, 512 },
    { "deepseek4.attention.q_lora_rank",                AT(q_rank),      1, TOP },
    { "deepseek4.attention.output_lora_rank",           AT(o_rank),      1, TOP },
    { "deepseek4.attention.output_group_count",         AT(o_groups),    1, 16 },
    { "deepseek4.attention.sliding_window",             AT(n_window),    1, 4096 },
    { "deepseek4.expert_used_count",                    AT(n_used),      1, 64 },
    { "deepseek4.expert_feed_forward_length",           AT(n_ffn),       1, TOP },
    { "deepseek4.rope.scaling.original_context_length", AT(yarn_context), 1, 1u << 30 },
};

static const int_key index_keys[] = {
    { "deepseek4.attention.indexer.head_count",         AT(index_heads), 1, 1024 },
    { "deepseek4.attention.indexer.key_length",         AT(n_index),     32, 256 },
    { "deepseek4.attention.indexer.top_k",              AT(top_k),       1, 1 << 16 },
};

typedef struct float_key {
    const char *key;
    size_t      at;
} float_key;

static const float_key float_keys[] = {
    { "deepseek4.attention.layer_norm_rms_epsilon", AT(norm_eps) },
    { "deepseek4.expert_weights_scale",             AT(expert_scale) },
    { "deepseek4.rope.freq_base",                   AT(rope_base) },
    { "deepseek4.attention.compress_rope_freq_base", AT(compress_base) },
    { "deepseek4.rope.scaling.factor",              AT(yarn_factor) },
    { "deepseek4.rope.scaling.yarn_beta_fast",      AT(yarn_fast) },
    { "deepseek4.rope.scaling.yarn_beta_slow",      AT(yarn_slow) },
};

#undef AT

static ds4_status read_ints(const ds4_gguf *g, ds4_shape *s, const int_key *keys, size_t n, ds4_err *err)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t value;
        DS4_TRY(ds4_gguf_get_u64(g, keys[i].key, keys[i].lo, keys[i].hi, &value, err));
        *(uint32_t *)(void *)((char *)s + keys[i].at) = (uint32_t)value;
    }
    return DS4_OK;
}

static ds4_status read_floats(const ds4_gguf *g, ds4_shape *s, ds4_err *err)
{
    for (size_t i = 0; i < sizeof float_keys / sizeof float_keys[0]; i++) {
        float *out = (float *)(void *)((char *)s + float_keys[i].at);
        DS4_TRY(ds4_gguf_get_f32(g, float_keys[i].key, out, err));
        if (!(*out > 0.0f)) {
            return ds4_fail(err, DS4_E_FORMAT, "%s: %s is %g, expected more than 0", ds4_gguf_path(g),
                            float_keys[i].key, (double)*out);
        }
    }
    return DS4_OK;
}

/* Keys that must have one value, because another one would be another structure. */
static ds4_status check_fixed(const ds4_gguf *g, const ds4_shape *s, ds4_err *err)
{
    const struct { const char *key; uint64_t want; } fixed[] = {
        { "deepseek4.attention.head_count_kv", 1 },
        { "deepseek4.expert_shared_count", 1 },
        { "deepseek4.expert_group_count", 0 },
        { "deepseek4.expert_group_used_count", 0 },
        { "deepseek4.expert_gating_func", 4 },
        { "deepseek4.attention.value_length", s->n_head },
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        uint64_t found;
        DS4_TRY(ds4_gguf_opt_u64(g, fixed[i].key, 0, UINT32_MAX, fixed[i].want, &found, err));
        if (found != fixed[i].want) {
            return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: %s is %llu, this program runs models with %llu",
                            ds4_gguf_path(g), fixed[i].key, (unsigned long long)found,
                            (unsigned long long)fixed[i].want);
        }
    }
    return DS4_OK;
}

static ds4_status read_ratios(const ds4_gguf *g, ds4_shape *s, ds4_err *err)
{
    static const char key[] = "deepseek4.attention.compress_ratios";
    ds4_status        st = DS4_OK;
    int64_t          *ratio;
    uint64_t          n;

    DS4_TRY(ds4_gguf_copy_i64s(g, key, 0, UINT32_MAX, &ratio, &n, err));
    if (n < s->n_layers) {
        st = ds4_fail(err, DS4_E_FORMAT, "%s: %s has %llu entries, expected one for each of %u layers",
                      ds4_gguf_path(g), key, (unsigned long long)n, s->n_layers);
    }
    for (uint32_t i = 0; st == DS4_OK && i < s->n_layers; i++) {
        s->ratio[i] = (uint32_t)ratio[i];
        if (ratio[i] != 0 && ratio[i] != 4 && ratio[i] != 128) {
            st = ds4_fail(err, DS4_E_UNSUPPORTED, "%s: %s: layer %u has ratio %lld, expected 0, 4 or 128",
                          ds4_gguf_path(g), key, i, (long long)ratio[i]);
        }
    }
    free(ratio);
    return st;
}

/* One clamp serves routed and shared experts; a file in which they differ is refused. */
static ds4_status read_clamps(const ds4_gguf *g, const char *key, ds4_shape *s, bool check, ds4_err *err)
{
    ds4_status st = DS4_OK;
    float     *clamp;
    uint64_t   n;

    DS4_TRY(ds4_gguf_copy_f32s(g, key, &clamp, &n, err));
    if (n < s->n_layers) {
        st = ds4_fail(err, DS4_E_FORMAT, "%s: %s has %llu entries, expected one for each of %u layers",
                      ds4_gguf_path(g), key, (unsigned long long)n, s->n_layers);
    }
    for (uint32_t i = 0; st == DS4_OK && i < s->n_layers; i++) {
        if (!(clamp[i] > 0.0f) || (check && clamp[i] != s->clamp[i])) {
            st = ds4_fail(err, DS4_E_UNSUPPORTED, "%s: %s: layer %u has %g, expected %s",
                          ds4_gguf_path(g), key, i, (double)clamp[i],
                          check ? "the clamp of the routed experts" : "more than 0");
        }
        s->clamp[i] = clamp[i];
    }
    free(clamp);
    return st;
}

/* Relations between sizes that the code relies on. */
static ds4_status check_relations(const ds4_gguf *g, const ds4_shape *s, ds4_err *err)
{
    const char    *path = ds4_gguf_path(g);
    const uint32_t n_nope = s->n_head - s->n_rot;

    if (s->n_rot > s->n_head || s->n_rot % 2 != 0) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: deepseek4.rope.dimension_count is %u, expected an even number"
                        " up to the head's %u", path, s->n_rot, s->n_head);
    }
    if (s->n_head % 32 != 0 || (n_nope > 64 && n_nope % 64 != 0)) {
        return ds4_fail(err, DS4_E_UNSUPPORTED,
                        "%s: heads of %u values with %u rotated: expected a multiple of 32"
                        " whose unrotated part is at most 64 or a multiple of 64",
                        path, s->n_head, s->n_rot);
    }
    if (s->n_heads % s->o_groups != 0) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: %u heads in %u output groups do not divide evenly", path,
                        s->n_heads, s->o_groups);
    }
    if (s->n_used > s->least_experts || s->n_hash > s->n_layers) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: %u of %u experts used, %u of %u layers routed by token", path,
                        s->n_used, s->least_experts, s->n_hash, s->n_layers);
    }
    if (s->n_index && ((s->n_index & (s->n_index - 1)) != 0 || s->n_index < s->n_rot)) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: deepseek4.attention.indexer.key_length is %u, expected a"
                        " power of two of at least the %u rotated values", path, s->n_index, s->n_rot);
    }
    return DS4_OK;
}

/* Files of llama.cpp lack these keys: what they say is in the tensors, or is the same in all models. */
static ds4_status read_hyper_connections(const ds4_gguf *g, ds4_shape *s, ds4_err *err)
{
    const ds4_gguf_tensor *fn = ds4_gguf_tensor_find(g, "output_hc_fn.weight");
    uint64_t               value;

    DS4_TRY(ds4_gguf_opt_u64(g, "deepseek4.hyper_connection.count", 1, 8, fn ? fn->dim[1] : 4, &value, err));
    if (value > 8) return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"output_hc_fn.weight\" has %llu outputs,"
                                   " expected 1..8", ds4_gguf_path(g), (unsigned long long)value);
    s->n_hc = (uint32_t)value;
    DS4_TRY(ds4_gguf_opt_u64(g, "deepseek4.hyper_connection.sinkhorn_iterations", 1, 1000, 20, &value, err));
    s->hc_iters = (uint32_t)value;
    DS4_TRY(ds4_gguf_opt_f32(g, "deepseek4.hyper_connection.epsilon", 1e-6f, &s->hc_eps, err));
    if (s->hc_eps > 0.0f) return DS4_OK;
    return ds4_fail(err, DS4_E_FORMAT, "%s: deepseek4.hyper_connection.epsilon is %g, expected more than 0",
                    ds4_gguf_path(g), (double)s->hc_eps);
}

/* The layers, and which of them route by token. */
static ds4_status read_layers(const ds4_gguf *g, ds4_shape *s, ds4_err *err)
{
    uint64_t value;

    s->n_draft_blocks = ds4_file_forms_draft_blocks(g, s->n_layers);
    s->n_layers -= s->n_draft_blocks;
    DS4_TRY(ds4_gguf_opt_u64(g, "deepseek4.hash_layer_count", 0, DS4_MAX_LAYERS,
                             ds4_file_forms_hash_layers(g, s->n_layers), &value, err));
    s->n_hash = (uint32_t)value;
    return DS4_OK;
}

/* A layer has as many experts as its tensors; the key is for a layer whose tensor is missing, which
 * opening refuses. */
static ds4_status read_experts(const ds4_gguf *g, ds4_shape *s, ds4_err *err)
{
    const ds4_gguf_key *key = ds4_gguf_key_find(g, "deepseek4.expert_count");
    uint64_t            otherwise = 1;

    if (key && !key->is_array) {
        DS4_TRY(ds4_gguf_get_u64(g, "deepseek4.expert_count", 1, 4096, &otherwise, err));
    }
    s->n_experts = 0;
    s->least_experts = UINT32_MAX;
    for (uint32_t i = 0; i < s->n_layers; i++) {
        const uint32_t n = ds4_file_forms_experts(g, i);
        s->experts[i] = n ? n : (uint32_t)otherwise;
        if (s->experts[i] > s->n_experts) s->n_experts = s->experts[i];
        if (s->experts[i] < s->least_experts) s->least_experts = s->experts[i];
    }
    return DS4_OK;
}

static ds4_status read_sizes(const ds4_gguf *g, ds4_shape *s, ds4_err *err)
{
    ds4_gguf_array tokens;
    uint64_t       value, n_tokens = 0;

    DS4_TRY(read_ints(g, s, int_keys, sizeof int_keys / sizeof int_keys[0], err));
    DS4_TRY(read_layers(g, s, err));
    DS4_TRY(read_experts(g, s, err));
    DS4_TRY(read_hyper_connections(g, s, err));
    if (ds4_gguf_has(g, "tokenizer.ggml.tokens")) {
        DS4_TRY(ds4_gguf_get_array(g, "tokenizer.ggml.tokens", &tokens, err));
        n_tokens = tokens.count;
    }
    DS4_TRY(ds4_gguf_opt_u64(g, "deepseek4.vocab_size", 1, 1u << 24, n_tokens, &value, err));
    s->n_vocab = (uint32_t)value;
    if (value == 0 || (n_tokens && n_tokens != value)) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s: deepseek4.vocab_size is %llu, but tokenizer.ggml.tokens has %llu"
                        " entries",
                        ds4_gguf_path(g), (unsigned long long)value, (unsigned long long)n_tokens);
    }
    DS4_TRY(ds4_gguf_opt_u64(g, "deepseek4.context_length", 1, UINT32_MAX, DS4_MAX_CONTEXT, &value, err));
    s->n_context = value < DS4_MAX_CONTEXT ? (uint32_t)value : DS4_MAX_CONTEXT;
    DS4_TRY(ds4_gguf_opt_bool(g, "deepseek4.expert_weights_norm", true, &s->expert_normalize, err));
    return DS4_OK;
}

ds4_status ds4_shape_read(const ds4_gguf *g, ds4_shape *out, ds4_err *err)
{
    ds4_shape s = { 0 };
    ds4_slice arch;
    bool      has_index = false;

    DS4_TRY(ds4_gguf_get_string(g, "general.architecture", &arch, err));
    if (!ds4_slice_eq(arch, DS4_SLICE("deepseek4"))) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: general.architecture is \"%.*s\", this program runs"
                        " \"deepseek4\" only", ds4_gguf_path(g), (int)(arch.n_bytes < 64 ? arch.n_bytes : 64),
                        arch.data);
    }
    DS4_TRY(read_sizes(g, &s, err));
    DS4_TRY(read_floats(g, &s, err));
    DS4_TRY(check_fixed(g, &s, err));
    DS4_TRY(read_ratios(g, &s, err));
    for (uint32_t i = 0; i < s.n_layers; i++) has_index |= s.ratio[i] == 4;
    if (has_index) DS4_TRY(read_ints(g, &s, index_keys, sizeof index_keys / sizeof index_keys[0], err));
    DS4_TRY(read_clamps(g, "deepseek4.swiglu_clamp_exp", &s, false, err));
    if (ds4_gguf_has(g, "deepseek4.swiglu_clamp_shexp")) {
        DS4_TRY(read_clamps(g, "deepseek4.swiglu_clamp_shexp", &s, true, err));
    }
    DS4_TRY(check_relations(g, &s, err));
    *out = s;
    return DS4_OK;
}

/* Index of the pair that turns n_turns times within the original context. */
static double correction_pair(const ds4_shape *s, double n_turns)
{
    const double pi = 3.14159265358979323846;
    return s->n_rot * log(s->yarn_context / (n_turns * 2.0 * pi)) / (2.0 * log((double)s->compress_base));
}

void ds4_shape_frequencies(const ds4_shape *s, bool compressed, float *out)
{
    const float  base = compressed ? s->compress_base : s->rope_base;
    const double low = fmax(floor(correction_pair(s, (double)s->yarn_fast)), 0.0);
    const double high = fmin(ceil(correction_pair(s, (double)s->yarn_slow)), s->n_rot - 1.0);

    for (uint32_t i = 0; i < s->n_rot / 2; i++) {
        const float g = 1.0f / powf(base, (float)(2 * i) / (float)s->n_rot);
        /* Two equal ends would divide by zero. */
        const float r = (float)fmin(fmax((i - low) / fmax(high - low, 1e-3), 0.0), 1.0);
        out[i] = compressed ? g * (1.0f - r) + g / s->yarn_factor * r : g;
    }
}
