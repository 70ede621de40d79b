/* tiny_checkpoint.c - see tiny_checkpoint.h. */
#include "support/tiny_checkpoint.h"

#include "testing.h"

#include <math.h>

#include "base/output.h"
#include "base/rng.h"
#include "base/str.h"
#include "format/small_float.h"

enum { MAX_TENSORS = 512, N_EMBD = 256, N_FFN = 256, TILE = 128 };

static checkpoint_tensor tensors[MAX_TENSORS];
static uint32_t          n_tensors;
static ds4_rng           rng;

/* ---- the checkpoint ------------------------------------------------------------------------ */

static size_t dtype_bytes(const char *dtype)
{
    return strcmp(dtype, "F32") == 0 ? 4 : strcmp(dtype, "BF16") == 0 ? 2 : strcmp(dtype, "I64") == 0 ? 8 : 1;
}

static float random_weight(void)
{
    return (float)(ds4_rng_uniform(&rng) + ds4_rng_uniform(&rng) + ds4_rng_uniform(&rng) - 1.5) * 0.1f;
}

/* Random bytes that are legal for the type. */
static void fill(checkpoint_tensor *r)
{
    const size_t n = r->n_bytes / dtype_bytes(r->dtype);

    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = ds4_rng_next(&rng);
        const float    f = random_weight();
        if (strcmp(r->dtype, "F32") == 0) memcpy(r->data + 4 * i, &f, 4);
        else if (strcmp(r->dtype, "BF16") == 0) ds4_store_u16(r->data + 2 * i, ds4_f32_to_bf16(f));
        else if (strcmp(r->dtype, "I64") == 0) r->data[8 * i] = (uint8_t)(bits % CHECKPOINT_EXPERTS);
        else if (strcmp(r->dtype, "F8_E8M0") == 0) r->data[i] = (uint8_t)(118 + bits % 4);
        else if (strcmp(r->dtype, "F8_E4M3") == 0) r->data[i] = (uint8_t)((bits & 0x80) | bits % 0x7f);
        else r->data[i] = (uint8_t)bits;
    }
}

static void add(const char *prefix, const char *name, const char *dtype, uint32_t rows, uint32_t columns)
{
    checkpoint_tensor *r = &tensors[n_tensors++];

    assert_true(n_tensors <= MAX_TENSORS);
    snprintf(r->name, sizeof r->name, "%s%s", prefix, name);
    r->dtype = dtype;
    r->rows = rows;
    r->columns = columns;
    r->n_bytes = (rows ? rows : 1) * (size_t)columns * dtype_bytes(dtype);
    r->data = calloc(1, r->n_bytes);
    assert_non_null(r->data);
    fill(r);
}

static void add_fp8(const char *prefix, const char *name, uint32_t rows, uint32_t columns)
{
    char text[64];

    snprintf(text, sizeof text, "%s.weight", name);
    add(prefix, text, "F8_E4M3", rows, columns);
    snprintf(text, sizeof text, "%s.scale", name);
    add(prefix, text, "F8_E8M0", (rows + TILE - 1) / TILE, (columns + TILE - 1) / TILE);
}

static void add_experts(const char *prefix, int which, uint32_t rows, uint32_t columns)
{
    char text[64];

    for (int e = 0; e < CHECKPOINT_EXPERTS; e++) {
        snprintf(text, sizeof text, "ffn.experts.%d.w%d.weight", e, which);
        add(prefix, text, "I8", rows, columns / 2);
        snprintf(text, sizeof text, "ffn.experts.%d.w%d.scale", e, which);
        add(prefix, text, "F8_E8M0", rows, columns / 32);
    }
}

static void add_compressor(const char *prefix, const char *name, uint32_t width, uint32_t ratio, uint32_t n)
{
    char text[64];

    snprintf(text, sizeof text, "%s.ape", name);
    add(prefix, text, "F32", ratio, width);
    snprintf(text, sizeof text, "%s.wkv.weight", name);
    add(prefix, text, "BF16", width, N_EMBD);
    snprintf(text, sizeof text, "%s.wgate.weight", name);
    add(prefix, text, "BF16", width, N_EMBD);
    snprintf(text, sizeof text, "%s.norm.weight", name);
    add(prefix, text, "BF16", 0, n);
}

static void add_hc(const char *p)
{
    static const char *const sides[] = { "hc_attn", "hc_ffn" };
    char                     text[64];

    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "%s_fn", sides[i]);
        add(p, text, "F32", 24, 4 * N_EMBD);
        snprintf(text, sizeof text, "%s_scale", sides[i]);
        add(p, text, "F32", 0, 3);
        snprintf(text, sizeof text, "%s_base", sides[i]);
        add(p, text, "F32", 0, 24);
    }
}

static void add_layer(const char *p, uint32_t ratio, bool hashed)
{
    add_hc(p);
    add(p, "attn_norm.weight", "BF16", 0, N_EMBD);
    add(p, "ffn_norm.weight", "BF16", 0, N_EMBD);
    add(p, "attn.q_norm.weight", "BF16", 0, 64);
    add(p, "attn.kv_norm.weight", "BF16", 0, 64);
    add(p, "attn.attn_sink", "F32", 0, 4);
    add_fp8(p, "attn.wq_a", 64, N_EMBD);
    add_fp8(p, "attn.wq_b", 256, 64);
    add_fp8(p, "attn.wkv", 64, N_EMBD);
    add_fp8(p, "attn.wo_a", 128, 128);
    add_fp8(p, "attn.wo_b", N_EMBD, 128);
    if (ratio) add_compressor(p, "attn.compressor", ratio == 4 ? 128 : 64, ratio, 64);
    if (ratio == 4) {
        add_fp8(p, "attn.indexer.wq_b", 2 * 32, 64);
        add(p, "attn.indexer.weights_proj.weight", "BF16", 2, N_EMBD);
        add_compressor(p, "attn.indexer.compressor", 64, 4, 32);
    }
    add(p, "ffn.gate.weight", "BF16", CHECKPOINT_EXPERTS, N_EMBD);
    if (hashed) add(p, "ffn.gate.tid2eid", "I64", CHECKPOINT_VOCAB, 2);
    else add(p, "ffn.gate.bias", "F32", 0, CHECKPOINT_EXPERTS);
    add_experts(p, 1, N_FFN, N_EMBD);
    add_experts(p, 3, N_FFN, N_EMBD);
    add_experts(p, 2, N_EMBD, N_FFN);
    add_fp8(p, "ffn.shared_experts.w1", N_FFN, N_EMBD);
    add_fp8(p, "ffn.shared_experts.w3", N_FFN, N_EMBD);
    add_fp8(p, "ffn.shared_experts.w2", N_EMBD, N_FFN);
}

static void add_model(void)
{
    add("", "embed.weight", "BF16", CHECKPOINT_VOCAB, N_EMBD);
    add("", "head.weight", "BF16", CHECKPOINT_VOCAB, N_EMBD);
    add("", "norm.weight", "BF16", 0, N_EMBD);
    add("", "hc_head_fn", "F32", 4, 4 * N_EMBD);
    add("", "hc_head_scale", "F32", 0, 1);
    add("", "hc_head_base", "F32", 0, 4);
    add_layer("layers.0.", 0, true);
    add_layer("layers.1.", 4, false);
    add_layer("layers.2.", 128, false);
}

static void add_head(const char *p)
{
    add(p, "norm.weight", "BF16", 0, N_EMBD);
    add(p, "hc_head_fn", "F32", 4, 4 * N_EMBD);
    add(p, "hc_head_scale", "F32", 0, 1);
    add(p, "hc_head_base", "F32", 0, 4);
}

static void add_mtp(void)
{
    add_layer("mtp.0.", 0, false);
    add_fp8("mtp.0.", "e_proj", N_EMBD, N_EMBD);
    add_fp8("mtp.0.", "h_proj", N_EMBD, N_EMBD);
    add("mtp.0.", "enorm.weight", "BF16", 0, N_EMBD);
    add("mtp.0.", "hnorm.weight", "BF16", 0, N_EMBD);
    add_head("mtp.0.");
}

static void add_drafter(void)
{
    enum { RANK = 32 };
    char p[24];

    for (int i = 0; i < CHECKPOINT_STAGES; i++) {
        snprintf(p, sizeof p, "mtp.%d.", i);
        add_layer(p, 0, false);
    }
    add_fp8("mtp.0.", "main_proj", N_EMBD, 2 * N_EMBD);
    add("mtp.0.", "main_norm.weight", "BF16", 0, N_EMBD);
    add_head(p);
    add(p, "markov_head.markov_w1.weight", "BF16", CHECKPOINT_VOCAB, RANK);
    add(p, "markov_head.markov_w2.weight", "BF16", CHECKPOINT_VOCAB, RANK);
    add(p, "confidence_head.proj.weight", "BF16", 1, N_EMBD + RANK);
}

static const char config[] =
    "{\"model_type\":\"deepseek_v4\",\"num_hidden_layers\":3,\"hidden_size\":256,\"vocab_size\":40,"
    "\"max_position_embeddings\":4096,\"num_attention_heads\":4,\"num_key_value_heads\":1,\"head_dim\":64,"
    "\"qk_rope_head_dim\":32,\"q_lora_rank\":64,\"o_groups\":2,\"o_lora_rank\":64,\"sliding_window\":16,"
    "\"compress_ratios\":[0,4,128,0],\"index_n_heads\":2,\"index_head_dim\":32,\"index_topk\":8,"
    "\"n_routed_experts\":2,\"num_experts_per_tok\":2,\"n_shared_experts\":1,\"moe_intermediate_size\":256,"
    "\"num_hash_layers\":1,\"scoring_func\":\"sqrtsoftplus\",\"norm_topk_prob\":true,"
    "\"routed_scaling_factor\":1.5,\"swiglu_limit\":10.0,\"rms_norm_eps\":1e-06,\"hc_mult\":4,"
    "\"hc_sinkhorn_iters\":20,\"hc_eps\":1e-06,\"rope_theta\":10000,\"compress_rope_theta\":160000,"
    "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":16,\"original_max_position_embeddings\":256,"
    "\"beta_fast\":32,\"beta_slow\":1},\"num_nextn_predict_layers\":1,\"expert_dtype\":\"fp4\","
    "\"quantization_config\":{\"weight_block_size\":[128,128]}}";

static const char tokenizer[] =
    "{\"added_tokens\":[{\"id\":0,\"content\":\"<｜begin▁of▁sentence｜>\",\"special\":true},"
    "{\"id\":1,\"content\":\"<｜end▁of▁sentence｜>\",\"special\":true}],"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"<｜begin▁of▁sentence｜>\":0,\"<｜end▁of▁sentence｜>\":1,"
    "\"a\":2,\"b\":3,\"ab\":4},\"merges\":[\"a b\"]}}";

static void put(const char *folder, const char *name, const void *data, size_t n_bytes)
{
    char    path[600];
    ds4_err err;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (ds4_output_put(path, data, n_bytes, &err) != DS4_OK) fail_msg("%s", err.text);
}

/* Tensors from..to-1 as one safetensors file. */
static void put_shard(const char *folder, const char *name, uint32_t from, uint32_t to)
{
    ds4_str json = { 0 }, file = { 0 };
    size_t  at = 0;

    for (uint32_t i = from; i < to; i++) {
        const checkpoint_tensor *r = &tensors[i];
        ds4_str_addf(&json, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i == from ? "{" : ",", r->name,
                     r->dtype);
        if (r->rows) ds4_str_addf(&json, "%u,", r->rows);
        ds4_str_addf(&json, "%u],\"data_offsets\":[%zu,%zu]}", r->columns, at, at + r->n_bytes);
        at += r->n_bytes;
    }
    ds4_str_add_char(&json, '}');
    for (int i = 0; i < 8; i++) ds4_str_add_char(&file, (char)(uint8_t)((uint64_t)json.n_bytes >> (8 * i)));
    ds4_str_add(&file, json.data, json.n_bytes);
    for (uint32_t i = from; i < to; i++) ds4_str_add(&file, tensors[i].data, tensors[i].n_bytes);
    assert_false(file.failed);
    put(folder, name, file.data, file.n_bytes);
    ds4_str_clear(&json);
    ds4_str_clear(&file);
}

void checkpoint_put_weights(const char *folder)
{
    ds4_str        index = { 0 };
    const uint32_t half = n_tensors / 2;

    put_shard(folder, "one.safetensors", 0, half);
    put_shard(folder, "two.safetensors", half, n_tensors);
    for (uint32_t i = 0; i < n_tensors; i++) {
        ds4_str_addf(&index, "%s\"%s\":\"%s.safetensors\"", i ? "," : "{\"weight_map\":{", tensors[i].name,
                     i < half ? "one" : "two");
    }
    ds4_str_add_text(&index, "}}");
    put(folder, "model.safetensors.index.json", index.data, index.n_bytes);
    ds4_str_clear(&index);
}

static void make(const char *folder, void (*add_guesser)(void))
{
    ds4_rng_seed(&rng, 99);
    add_model();
    add_guesser();
    checkpoint_put_weights(folder);
    put(folder, "config.json", config, strlen(config));
    put(folder, "tokenizer.json", tokenizer, strlen(tokenizer));
}

void checkpoint_make(const char *folder)
{
    make(folder, add_mtp);
}

void checkpoint_make_drafter(const char *folder)
{
    make(folder, add_drafter);
    checkpoint_put_drafter_config(folder, "\"dspark_block_size\":5,\"dspark_noise_token_id\":39,"
                                          "\"dspark_target_layer_ids\":[1,2],\"dspark_markov_rank\":32");
}

void checkpoint_put_drafter_config(const char *folder, const char *members)
{
    ds4_str text = { 0 };

    ds4_str_add(&text, config, strlen(config) - 1);
    ds4_str_addf(&text, ",%s}", members);
    put(folder, "config.json", text.data, text.n_bytes);
    ds4_str_clear(&text);
}

void checkpoint_free(void)
{
    for (uint32_t i = 0; i < n_tensors; i++) free(tensors[i].data);
    n_tensors = 0;
}

/* ---- what the weights are --------------------------------------------------------------------- */

checkpoint_tensor *checkpoint_find(const char *name)
{
    for (uint32_t i = 0; i < n_tensors; i++) {
        if (strcmp(tensors[i].name, name) == 0) return &tensors[i];
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

static const checkpoint_tensor *scale_of(const checkpoint_tensor *r)
{
    char name[80];

    snprintf(name, sizeof name, "%.*s.scale", (int)(strlen(r->name) - strlen(".weight")), r->name);
    return checkpoint_find(name);
}

float checkpoint_weight(const checkpoint_tensor *r, uint32_t row, uint32_t i)
{
    const uint8_t *p = r->data + ((size_t)row * r->columns + i) * dtype_bytes(r->dtype);

    if (strcmp(r->dtype, "F32") == 0) return ds4_load_f32(p);
    if (strcmp(r->dtype, "BF16") == 0) return ds4_bf16_to_f32(ds4_load_u16(p));
    const checkpoint_tensor *s = scale_of(r);
    if (strcmp(r->dtype, "F8_E4M3") == 0) {
        return ds4_e4m3_to_f32(*p) * ldexpf(1, s->data[row / TILE * s->columns + i / TILE] - 127);
    }
    const uint8_t byte = r->data[(size_t)row * r->columns + i / 2];
    return ds4_e2m1_to_f32(i % 2 ? byte >> 4 : byte & 15) *
           ldexpf(1, s->data[(size_t)row * s->columns + i / 32] - 127);
}
