/* hf_config.c - see hf_config.h. The key names are those of docs/MODEL.md section 1. */
#include "app/quantize/hf_config.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "app/quantize/hf_json.h"
#include "base/file.h"

enum { TOP = 1 << 24 };

/* A number of config.json goes into a field of hf_config and a key of the GGUF file. */
typedef struct int_field {
    const char *name, *key;                 /* key NULL: written elsewhere */
    size_t      at;
    uint32_t    lo, hi;
} int_field;

typedef struct float_field {
    const char *name, *key;
    size_t      at;
} float_field;

#define AT(field) offsetof(hf_config, field)
#define KEY(name) "deepseek4." name

static const int_field ints[] = {
    { "num_hidden_layers",       KEY("block_count"),                  AT(n_layers),    1, HF_MAX_LAYERS },
    { "hidden_size",             KEY("embedding_length"),             AT(n_embd),      1, TOP },
    { "vocab_size",              KEY("vocab_size"),                   AT(n_vocab),     1, TOP },
    { "max_position_embeddings", KEY("context_length"),               AT(n_context),   1, 1u << 30 },
    { "num_attention_heads",     KEY("attention.head_count"),         AT(n_heads),     1, TOP },
    { "num_key_value_heads",     KEY("attention.head_count_kv"),      AT(n_kv_heads),  1, 1 },
    { "head_dim",                KEY("attention.key_length"),         AT(n_head),      1, TOP },
    { "head_dim",                KEY("attention.value_length"),       AT(n_head),      1, TOP },
    { "q_lora_rank",             KEY("attention.q_lora_rank"),        AT(q_rank),      1, TOP },
    { "o_lora_rank",             KEY("attention.output_lora_rank"),   AT(o_rank),      1, TOP },
    { "o_groups",                KEY("attention.output_group_count"), AT(o_groups),    1, TOP },
    { "sliding_window",          KEY("attention.sliding_window"),     AT(n_window),    1, TOP },
    { "index_n_heads",           KEY("attention.indexer.head_count"), AT(index_heads), 1, TOP },
    { "index_head_dim",          KEY("attention.indexer.key_length"), AT(n_index),     1, TOP },
    { "index_topk",              KEY("attention.indexer.top_k"),      AT(top_k),       1, TOP },
    { "qk_rope_head_dim",        KEY("rope.dimension_count"),         AT(n_rot),       1, TOP },
    { "n_routed_experts",        KEY("expert_count"),                 AT(n_experts),   1, 65536 },
    { "num_experts_per_tok",     KEY("expert_used_count"),            AT(n_used),      1, 65536 },
    { "n_shared_experts",        KEY("expert_shared_count"),          AT(n_shared),    1, 1 },
    { "moe_intermediate_size",   KEY("expert_feed_forward_length"),   AT(n_ffn),       1, TOP },
    { "num_hash_layers",         KEY("hash_layer_count"),             AT(n_hash),      0, HF_MAX_LAYERS },
    { "hc_mult",                 KEY("hyper_connection.count"),       AT(n_hc),        1, 64 },
    { "hc_sinkhorn_iters",       KEY("hyper_connection.sinkhorn_iterations"), AT(hc_iters), 1, 10000 },
};

static const float_field floats[] = {
    { "rms_norm_eps",          KEY("attention.layer_norm_rms_epsilon"),  AT(norm_eps) },
    { "hc_eps",                KEY("hyper_connection.epsilon"),          AT(hc_eps) },
    { "routed_scaling_factor", KEY("expert_weights_scale"),              AT(expert_scale) },
    { "rope_theta",            KEY("rope.freq_base"),                    AT(rope_base) },
    { "compress_rope_theta",   KEY("attention.compress_rope_freq_base"), AT(compress_base) },
    { "swiglu_limit",          NULL,                                     AT(clamp) },
};

static const float_field yarn[] = {
    { "factor",    KEY("rope.scaling.factor"),         AT(yarn_factor) },
    { "beta_fast", KEY("rope.scaling.yarn_beta_fast"), AT(yarn_fast) },
    { "beta_slow", KEY("rope.scaling.yarn_beta_slow"), AT(yarn_slow) },
};

#undef AT

static uint32_t *int_at(hf_config *c, size_t at)
{
    return (uint32_t *)(void *)((char *)c + at);
}

static float *float_at(hf_config *c, size_t at)
{
    return (float *)(void *)((char *)c + at);
}

/* ---- reading ------------------------------------------------------------------------- */

static ds4_status get_float(const char *path, const json_t *o, const char *name, float *out, ds4_err *err)
{
    const json_t *v = json_object_get(o, name);

    if (!v) return ds4_fail(err, DS4_E_FORMAT, "%s: \"%s\" is missing", path, name);
    const double f = json_is_number(v) ? json_number_value(v) : -1;
    if (!(f > 0 && f < 1e30)) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: \"%s\" is not a number above 0", path, name);
    }
    *out = (float)f;
    return DS4_OK;
}

static ds4_status get_ratios(const char *path, const json_t *root, hf_config *c, ds4_err *err)
{
    const json_t *list = json_object_get(root, "compress_ratios");
    const size_t  n = json_array_size(list);

    if (n < c->n_layers || n > HF_MAX_LAYERS) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: \"compress_ratios\" has %zu entries, expected %u..%d",
                        path, n, c->n_layers, HF_MAX_LAYERS);
    }
    c->n_ratios = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        const json_t    *v = json_array_get(list, i);
        const json_int_t r = json_is_integer(v) ? json_integer_value(v) : -1;
        if (r != 0 && r != 4 && r != 128) {
            return ds4_fail(err, DS4_E_UNSUPPORTED,
                            "%s: \"compress_ratios\": entry %zu is not 0, 4 or 128", path, i);
        }
        c->ratio[i] = (uint32_t)r;
    }
    return DS4_OK;
}

static ds4_status get_yarn(const char *path, const json_t *root, hf_config *c, ds4_err *err)
{
    const json_t *scaling = json_object_get(root, "rope_scaling");

    if (!json_is_object(scaling)) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: \"rope_scaling\" is missing or no object", path);
    }
    for (size_t i = 0; i < sizeof yarn / sizeof yarn[0]; i++) {
        DS4_TRY(get_float(path, scaling, yarn[i].name, float_at(c, yarn[i].at), err));
    }
    return hf_json_int(path, scaling, "original_max_position_embeddings", 1, 1u << 30, &c->yarn_context, err);
}

/* Blocks of weights share an FP8 scale: 128 x 128 unless the checkpoint says otherwise. */
static ds4_status get_tile(const char *path, const json_t *root, hf_config *c, ds4_err *err)
{
    const json_t *size = json_object_get(json_object_get(root, "quantization_config"), "weight_block_size");

    c->fp8_rows = c->fp8_columns = 128;
    if (!size) return DS4_OK;
    const json_int_t rows = json_integer_value(json_array_get(size, 0));
    const json_int_t columns = json_integer_value(json_array_get(size, 1));
    if (json_array_size(size) != 2 || rows < 1 || rows > 65536 || columns < 1 || columns > 65536) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: \"weight_block_size\" is not a pair in 1..65536", path);
    }
    c->fp8_rows = (uint32_t)rows;
    c->fp8_columns = (uint32_t)columns;
    return DS4_OK;
}

/* Values that stand for another structure than the one this program knows. */
static ds4_status check_structure(const char *path, const json_t *root, ds4_err *err)
{
    static const struct { const char *name, *want; } texts[] = {
        { "model_type", "deepseek_v4" },
        { "scoring_func", "sqrtsoftplus" },
        { "topk_method", "noaux_tc" },
        { "hidden_act", "silu" },
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *found = json_string_value(json_object_get(root, texts[i].name));
        if (found && strcmp(found, texts[i].want) != 0) {
            return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: \"%s\" is \"%.60s\", expected \"%s\"", path,
                            texts[i].name, found, texts[i].want);
        }
    }
    if (json_is_true(json_object_get(root, "tie_word_embeddings"))) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: \"tie_word_embeddings\" is true, expected false", path);
    }
    return DS4_OK;
}

static ds4_status read_root(const char *path, const json_t *root, hf_config *c, ds4_err *err)
{
    DS4_TRY(check_structure(path, root, err));
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        DS4_TRY(hf_json_int(path, root, ints[i].name, ints[i].lo, ints[i].hi, int_at(c, ints[i].at), err));
    }
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        DS4_TRY(get_float(path, root, floats[i].name, float_at(c, floats[i].at), err));
    }
    const json_t *norm = json_object_get(root, "norm_topk_prob");
    c->norm_topk = !norm || json_is_true(norm);
    DS4_TRY(get_ratios(path, root, c, err));
    DS4_TRY(get_yarn(path, root, c, err));
    DS4_TRY(get_tile(path, root, c, err));
    if (c->n_hash > c->n_layers || c->n_used > c->n_experts || c->n_heads % c->o_groups != 0) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s: %u hash layers of %u, %u experts used of %u, %u heads in %u groups", path,
                        c->n_hash, c->n_layers, c->n_used, c->n_experts, c->n_heads, c->o_groups);
    }
    return DS4_OK;
}

ds4_status hf_config_read(const char *dir, hf_config *out, ds4_err *err)
{
    ds4_str   path = { 0 };
    json_t   *root = NULL;
    hf_config c = { 0 };

    ds4_str_addf(&path, "%s/config.json", dir);
    ds4_status st = hf_json_load(ds4_str_text(&path), &root, err);
    if (st == DS4_OK) st = read_root(ds4_str_text(&path), root, &c, err);
    if (st == DS4_OK) *out = c;
    json_decref(root);
    ds4_str_clear(&path);
    return st;
}

/* ---- writing -------------------------------------------------------------------------- */

void hf_config_put(const hf_config *config, ds4_gguf_writer *w)
{
    hf_config c = *config;
    float     clamps[HF_MAX_LAYERS];

    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        if (ints[i].key) ds4_gguf_put_u32(w, ints[i].key, *int_at(&c, ints[i].at));
    }
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        if (floats[i].key) ds4_gguf_put_f32(w, floats[i].key, *float_at(&c, floats[i].at));
    }
    for (size_t i = 0; i < sizeof yarn / sizeof yarn[0]; i++) {
        ds4_gguf_put_f32(w, yarn[i].key, *float_at(&c, yarn[i].at));
    }
    ds4_gguf_put_string(w, KEY("rope.scaling.type"), DS4_SLICE("yarn"));
    ds4_gguf_put_u32(w, KEY("rope.scaling.original_context_length"), c.yarn_context);
    ds4_gguf_put_bool(w, KEY("expert_weights_norm"), c.norm_topk);
    ds4_gguf_put_u32(w, KEY("expert_gating_func"), 4);          /* the root of softplus */
    ds4_gguf_put_u32s(w, KEY("attention.compress_ratios"), c.ratio, c.n_ratios);
    for (uint32_t i = 0; i < c.n_layers; i++) clamps[i] = c.clamp;
    ds4_gguf_put_f32s(w, KEY("swiglu_clamp_exp"), clamps, c.n_layers);
}

ds4_status hf_sampling_put(const char *dir, ds4_gguf_writer *w, ds4_err *err)
{
    static const struct { const char *name, *key; } advice[] = {
        { "temperature", "general.sampling.temp" },
        { "top_p", "general.sampling.top_p" },
        { "min_p", "general.sampling.min_p" },
    };
    ds4_str    path = { 0 };
    json_t    *root = NULL;
    ds4_status st = DS4_OK;

    ds4_str_addf(&path, "%s/generation_config.json", dir);
    if (ds4_file_exists(ds4_str_text(&path))) st = hf_json_load(ds4_str_text(&path), &root, err);
    for (size_t i = 0; root && i < sizeof advice / sizeof advice[0]; i++) {
        const json_t *v = json_object_get(root, advice[i].name);
        if (json_is_number(v)) ds4_gguf_put_f32(w, advice[i].key, (float)json_number_value(v));
    }
    json_decref(root);
    ds4_str_clear(&path);
    return st;
}
