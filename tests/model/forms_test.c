/* forms_test.c - every form of a V4 file (docs/MODEL.md 9.6) computes what the ordinary form does, bit
 * for bit, or is refused with the reason. The ordinary form is the golden model, whose logits
 * golden_test.c compares with an independent implementation. */
#include "testing.h"

#include <math.h>

#include "ds4.h"
#include "engine/watch.h"
#include "support/model_edit.h"

enum { N_TOKENS = 200, N_LAYERS = 7, N_HASH = 3, N_VOCAB = 384, N_EMBD = 128, N_EXPERTS = 8, N_USED = 3 };

static const char golden[] = "tests/golden/flashlike.gguf";
static char       path[2][256];
static model_edit m;                    /* large, one at a time */

/* ---- helpers ----------------------------------------------------------------------------------- */

typedef struct opened {
    ds4_engine  *engine;
    ds4_session *session;
} opened;

static opened open_file(const char *file, ds4_experts experts, uint64_t cache_bytes)
{
    const ds4_engine_options opt = { .model_path = file, .n_threads = 2, .max_batch = N_TOKENS,
                                     .experts = experts, .expert_cache_bytes = cache_bytes };
    opened  o = { 0 };
    ds4_err err = { 0 };

    if (ds4_engine_open(&o.engine, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    if (ds4_session_create(o.engine, 512, &o.session, &err) != DS4_OK) fail_msg("%s", err.text);
    return o;
}

static void close_file(opened *o)
{
    ds4_session_free(o->session);
    ds4_engine_close(o->engine);
}

static void step(const opened *o, const int32_t *tokens, uint32_t n, float *logits)
{
    const ds4_work work = { .session = o->session, .tokens = tokens, .n_tokens = n, .logits = logits,
                            .all_logits = true };
    ds4_err        err = { 0 };

    if (ds4_engine_step(o->engine, &work, 1, &err) != DS4_OK) fail_msg("%s", err.text);
}

/* A prompt and then one token at a time. Returns [N_TOKENS][N_VOCAB], which the caller frees. */
static float *logits_of(const opened *o)
{
    enum { PROMPT = N_TOKENS - 8 };
    int32_t tokens[N_TOKENS];
    float  *logits = malloc(sizeof *logits * N_TOKENS * N_VOCAB);

    for (int i = 0; i < N_TOKENS; i++) tokens[i] = (i * 89 + i * i * 7 + 11) % N_VOCAB;
    step(o, tokens, PROMPT, logits);
    for (uint32_t i = PROMPT; i < N_TOKENS; i++) step(o, tokens + i, 1, logits + (size_t)i * N_VOCAB);
    return logits;
}

static float *logits_of_file(const char *file, ds4_experts experts, uint64_t cache_bytes)
{
    opened o = open_file(file, experts, cache_bytes);
    float *logits = logits_of(&o);

    close_file(&o);
    return logits;
}

static void assert_same(float *a, float *b)
{
    for (size_t i = 0; i < (size_t)N_TOKENS * N_VOCAB; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) != 0) {
            fail_msg("token %zu: %g and %g", i / N_VOCAB, (double)a[i], (double)b[i]);
        }
    }
    free(a);
    free(b);
}

static void assert_files_agree(const char *a, const char *b)
{
    assert_same(logits_of_file(a, DS4_EXPERTS_RESIDENT, 0), logits_of_file(b, DS4_EXPERTS_RESIDENT, 0));
}

/* The new form's own facts. */
static void assert_info(const char *file, uint32_t n_least, uint32_t n_most, bool has_mtp, const char *unused)
{
    opened                o = open_file(file, DS4_EXPERTS_AUTO, 0);
    const ds4_model_info *i = ds4_engine_info(o.engine);

    assert_int_equal(i->n_layers, N_LAYERS);
    assert_int_equal(i->least_experts, n_least);
    assert_int_equal(i->n_experts, n_most);
    assert_int_equal(i->has_mtp, has_mtp);
    assert_string_equal(i->unused, unused);
    close_file(&o);
}

static void assert_refused(const char *file, const char *const *words)
{
    const ds4_engine_options opt = { .model_path = file, .n_threads = 1 };
    ds4_engine              *e = NULL;
    ds4_err                  err = { 0 };

    if (ds4_engine_open(&e, &opt, &err) == DS4_OK) fail_msg("%s was opened", file);
    for (; *words; words++) {
        if (!strstr(err.text, *words)) fail_msg("\"%s\" does not mention \"%s\"", err.text, *words);
    }
}

static int name_files(void **state)
{
    (void)state;
    test_temp_path(path[0], "form.gguf");
    test_temp_path(path[1], "form2.gguf");
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    unlink(path[0]);
    unlink(path[1]);
    return 0;
}

/* ---- keys --------------------------------------------------------------------------------------- */

/* The ratios of the layers and n more, as configurations list those of drafting blocks. */
static void lengthen_ratios(uint32_t n)
{
    const uint32_t ratios[N_LAYERS + 3] = { 0, 0, 4, 128, 4, 128, 4 };

    edit_drop(&m, "deepseek4.attention.compress_ratios");
    ds4_gguf_put_u32s(m.w, "deepseek4.attention.compress_ratios", ratios, N_LAYERS + n);
}

static void test_0731_lists_ratios_of_drafting_blocks(void **state)
{
    (void)state;
    edit_open(&m, golden);
    lengthen_ratios(3);
    edit_u32(&m, "deepseek4.nextn_predict_layers", 1);      /* which is not in the file */
    edit_write(&m, path[0]);
    assert_info(path[0], N_EXPERTS, N_EXPERTS, false, "");
    assert_files_agree(golden, path[0]);
}

static void test_drafts_inside_are_not_layers(void **state)
{
    (void)state;
    edit_open(&m, golden);
    edit_add(&m, N_EMBD, N_EMBD, "mtp.0.e_proj.weight");
    edit_add(&m, N_EMBD, 1, "mtp.2.norm.weight");
    edit_write(&m, path[0]);
    assert_info(path[0], N_EXPERTS, N_EXPERTS, true, "");
    assert_files_agree(golden, path[0]);
}

/* ---- llama.cpp ------------------------------------------------------------------------------------ */

static void make_llama_form(void)
{
    static const char *const absent[] = {
        "deepseek4.vocab_size", "deepseek4.hash_layer_count", "deepseek4.hyper_connection.count",
        "deepseek4.hyper_connection.sinkhorn_iterations", "deepseek4.hyper_connection.epsilon",
    };
    float clamp[N_LAYERS + 1];

    edit_open(&m, golden);
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) edit_drop(&m, absent[i]);
    edit_u32(&m, "deepseek4.block_count", N_LAYERS + 1);
    edit_u32(&m, "deepseek4.nextn_predict_layers", 1);
    lengthen_ratios(1);
    for (int i = 0; i <= N_LAYERS; i++) clamp[i] = 2.0f;
    edit_drop(&m, "deepseek4.swiglu_clamp_exp");
    ds4_gguf_put_f32s(m.w, "deepseek4.swiglu_clamp_exp", clamp, N_LAYERS + 1);
    ds4_gguf_put_f32s(m.w, "deepseek4.swiglu_clamp_shexp", clamp, N_LAYERS + 1);
    edit_add(&m, N_EMBD, N_EMBD, "blk.%d.nextn.e_proj.weight", N_LAYERS);
    edit_add(&m, N_EMBD, 1, "blk.%d.nextn.enorm.weight", N_LAYERS);
    edit_add(&m, N_EMBD, 1, "blk.%d.attn_norm.weight", N_LAYERS);
    edit_add(&m, N_EMBD, N_EXPERTS, "blk.%d.ffn_gate_inp.weight", N_LAYERS);
}

static void test_llama_files_have_the_drafting_block_behind_the_layers(void **state)
{
    (void)state;
    make_llama_form();
    edit_write(&m, path[0]);
    assert_info(path[0], N_EXPERTS, N_EXPERTS, true, "");
    assert_files_agree(golden, path[0]);
}

/* Without the tensors that mark it, the last block is a layer of which most is missing. */
static void test_a_block_without_its_tensors_is_missing(void **state)
{
    (void)state;
    make_llama_form();
    *edit_find(&m, "blk.%d.nextn.e_proj.weight", N_LAYERS)->name = 0;
    *edit_find(&m, "blk.%d.nextn.enorm.weight", N_LAYERS)->name = 0;
    edit_write(&m, path[0]);
    assert_refused(path[0], (const char *[]){ "blk.7.hc_attn_fn.weight", "missing", NULL });
}

/* ---- Vision-Exp ----------------------------------------------------------------------------------- */

static void test_vision_is_skipped_by_name(void **state)
{
    (void)state;
    edit_open(&m, golden);
    edit_add(&m, 32, 1, "vision.patch_embed.weight");
    edit_add(&m, 32, 1, "vision.blocks.0.attn.weight");
    edit_add(&m, 32, 1, "aligner.0.weight");
    edit_add(&m, 32, 1, "image_newline");
    for (int l = 0; l < N_LAYERS; l++) edit_add(&m, N_EXPERTS, 1, "blk.%d.ffn_gate.bias_vl", l);
    for (int l = 0; l < N_HASH; l++) edit_add(&m, N_EXPERTS, 1, "blk.%d.exp_probs_b.bias", l);
    edit_add(&m, 32, 1, "who.knows");
    edit_write(&m, path[0]);
    assert_info(path[0], N_EXPERTS, N_EXPERTS, false,
                "7 *bias_vl* (the router's, for images), 2 vision.* (images), 1 aligner.* (images),"
                " 1 image_* (images), 3 *.exp_probs_b.* (of layers routed by token),"
                " 1 who.knows (the first of them; unknown to this program)");
    assert_files_agree(golden, path[0]);
}

typedef struct normed {
    float a[N_EMBD];
} normed;

static void keep_first_input(void *ctx, const char *name, int32_t layer, uint32_t n_tokens,
                             uint32_t n_values, const float *values)
{
    (void)n_tokens;
    if (layer == 0 && strcmp(name, "attn.enter") == 0) memcpy(ctx, values, n_values * sizeof *values);
}

/* All streams of a token have the value c = 6e-8. Their mix is c times a sum of order one, and the norm
 * makes its weights of it where epsilon is small beside c^2, and next to nothing where it is not. */
static void test_epsilon_comes_from_its_key(void **state)
{
    const float eps[2] = { 1e-20f, 1e-6f };
    float       weight[N_EMBD];

    (void)state;
    for (int which = 0; which < 2; which++) {
        const int32_t token = 5;
        float         logits[N_VOCAB];
        normed        got = { { 0 } };
        edit_open(&m, golden);
        edit_f32(&m, "deepseek4.attention.layer_norm_rms_epsilon", eps[which]);
        uint16_t *row = (uint16_t *)(void *)edit_find(&m, "token_embd.weight")->data + token * N_EMBD;
        for (int i = 0; i < N_EMBD; i++) row[i] = 1;        /* 2^-24 as F16 */
        memcpy(weight, edit_find(&m, "blk.0.attn_norm.weight")->data, sizeof weight);
        edit_write(&m, path[0]);

        opened o = open_file(path[0], DS4_EXPERTS_RESIDENT, 0);
        ds4_engine_watch(o.engine, keep_first_input, &got);
        step(&o, &token, 1, logits);
        close_file(&o);
        for (int i = 0; i < N_EMBD; i++) {
            if (which == 0) assert_true(fabsf(got.a[i] - weight[i]) <= 1e-4f * fabsf(weight[i]));
            else assert_true(fabsf(got.a[i]) < 1e-2f);
        }
        for (int i = 0; i < N_VOCAB; i++) assert_true(isfinite(logits[i]));
    }
}

/* ---- pruned and top-4 ------------------------------------------------------------------------------ */

/* The experts that a pruned file keeps of each layer. */
static const uint32_t n_kept[N_LAYERS] = { 5, 8, 6, 4, 8, 3, 7 };

static uint32_t kept(uint32_t layer, uint32_t i)
{
    /* Some from the beginning, the last ones from the end: numbers change, their order does not. */
    return i < n_kept[layer] / 2 ? i : N_EXPERTS - n_kept[layer] + i;
}

/* The table of a layer routed by token, with experts that are kept; numbered as they are then, or
 * as they were before. */
static void write_table(uint32_t layer, bool renumber)
{
    edit_tensor *t = edit_find(&m, "blk.%u.ffn_gate_tid2eid.weight", layer);
    int32_t     *expert = (int32_t *)(void *)t->data;

    for (uint64_t i = 0; i < t->n_bytes / sizeof *expert; i++) {
        const uint32_t to = (uint32_t)expert[i] % n_kept[layer];
        expert[i] = (int32_t)(renumber ? to : kept(layer, to));
    }
}

/* The whole model, whose router never chooses what the other one lacks. */
static void write_masked(const char *to)
{
    edit_open(&m, golden);
    for (uint32_t l = 0; l < N_LAYERS; l++) {
        bool is_kept[N_EXPERTS] = { false };
        for (uint32_t i = 0; i < n_kept[l]; i++) is_kept[kept(l, i)] = true;
        if (l < N_HASH) {
            write_table(l, false);
            continue;
        }
        float *bias = (float *)(void *)edit_find(&m, "blk.%u.exp_probs_b.bias", l)->data;
        for (uint32_t e = 0; e < N_EXPERTS; e++) {
            if (!is_kept[e]) bias[e] = -1e30f;
        }
    }
    edit_write(&m, to);
}

static void prune(bool router)
{
    static const char *const parts[] = { "ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight",
                                         "exp_probs_b.bias", "ffn_gate_inp.weight" };

    for (uint32_t l = 0; l < N_LAYERS; l++) {
        uint32_t slice[N_EXPERTS];
        for (uint32_t i = 0; i < n_kept[l]; i++) slice[i] = kept(l, i);
        for (int p = 0; p < 5 - !router; p++) {
            if (p == 3 && l < N_HASH) continue;
            edit_keep(edit_find(&m, "blk.%u.%s", l, parts[p]), slice, n_kept[l]);
        }
    }
}

static void write_pruned(const char *to)
{
    edit_open(&m, golden);
    prune(true);
    for (uint32_t l = 0; l < N_HASH; l++) write_table(l, true);
    edit_write(&m, to);
}

static void test_pruned_is_the_whole_model_with_a_mask(void **state)
{
    (void)state;
    write_masked(path[0]);
    write_pruned(path[1]);
    assert_info(path[1], 3, 8, false, "");
    assert_files_agree(path[0], path[1]);
}

static void test_pruned_experts_are_streamed(void **state)
{
    ds4_expert_stats stats;

    (void)state;
    write_pruned(path[1]);
    opened o = open_file(path[1], DS4_EXPERTS_STREAM, UINT64_MAX / 4);
    assert_true(ds4_engine_expert_stats(o.engine, &stats));
    assert_int_equal(stats.n_experts, 5 + 8 + 6 + 4 + 8 + 3 + 7);
    assert_int_equal(stats.n_entries, stats.n_experts);
    close_file(&o);
    assert_same(logits_of_file(path[1], DS4_EXPERTS_RESIDENT, 0),
                logits_of_file(path[1], DS4_EXPERTS_STREAM, stats.cache_bytes / 3));
}

/* The keys may say nothing, or a count for each layer. */
static void test_counts_come_from_the_tensors(void **state)
{
    (void)state;
    write_pruned(path[0]);
    edit_open(&m, path[0]);
    edit_drop(&m, "deepseek4.expert_count");
    edit_write(&m, path[1]);
    assert_files_agree(path[0], path[1]);
    edit_open(&m, path[0]);
    edit_drop(&m, "deepseek4.expert_count");
    ds4_gguf_put_u32s(m.w, "deepseek4.expert_count", n_kept, N_LAYERS);
    edit_write(&m, path[1]);
    assert_files_agree(path[0], path[1]);
}

static void test_half_pruned_files_are_refused(void **state)
{
    (void)state;
    edit_open(&m, golden);
    prune(true);                        /* the tables still name experts that are gone */
    edit_write(&m, path[0]);
    assert_refused(path[0], (const char *[]){ "blk.0.ffn_gate_tid2eid.weight", "expected 0..4", NULL });
    edit_open(&m, golden);
    prune(false);                       /* the router still chooses them */
    edit_write(&m, path[0]);
    assert_refused(path[0], (const char *[]){ "blk.0.ffn_gate_inp.weight", "expected 128 x 5 x 1", NULL });

    write_pruned(path[0]);
    edit_open(&m, path[0]);
    edit_u32(&m, "deepseek4.expert_used_count", 4);
    edit_write(&m, path[1]);
    assert_refused(path[1], (const char *[]){ "4 of 3 experts used", NULL });
}

/* A file for more experts of a token than another, of which the additional ones add zero: weights are
 * not normalized, so the others keep theirs. */
static void write_wide(const char *to, uint32_t n_used)
{
    edit_open(&m, golden);
    edit_u32(&m, "deepseek4.expert_used_count", n_used);
    edit_drop(&m, "deepseek4.expert_weights_norm");
    ds4_gguf_put_bool(m.w, "deepseek4.expert_weights_norm", false);
    for (uint32_t l = 0; l < N_LAYERS; l++) {
        edit_tensor *down = edit_find(&m, "blk.%u.ffn_down_exps.weight", l);
        uint16_t    *x = (uint16_t *)(void *)down->data;
        const size_t n = down->n_bytes / sizeof *x;
        for (size_t i = n / 2; i < n; i++) x[i] = 0x8000;   /* experts 4 to 7; a run of zeros is refused */
        if (l >= N_HASH) {
            float *bias = (float *)(void *)edit_find(&m, "blk.%u.exp_probs_b.bias", l)->data;
            for (uint32_t e = 0; e < N_EXPERTS; e++) bias[e] = e < 4 ? 1e4f : 0.0f;
            continue;
        }
        edit_tensor *t = edit_find(&m, "blk.%u.ffn_gate_tid2eid.weight", l);
        int32_t     *row = realloc(t->data, (uint64_t)n_used * N_VOCAB * sizeof *row);
        for (uint32_t i = 0; i < n_used * N_VOCAB; i++) row[i] = (int32_t)(i % n_used);
        t->data = (uint8_t *)row;
        t->dim[0] = n_used;
        t->n_bytes = (uint64_t)n_used * N_VOCAB * sizeof *row;
    }
    edit_write(&m, to);
}

static void test_top_4_uses_the_first_four_of_six(void **state)
{
    (void)state;
    write_wide(path[0], 4);
    write_wide(path[1], 6);
    assert_files_agree(path[0], path[1]);
    /* A table of another width does not say which of its experts are meant. */
    edit_open(&m, path[1]);
    edit_u32(&m, "deepseek4.expert_used_count", 4);
    edit_write(&m, path[0]);
    assert_refused(path[0], (const char *[]){ "blk.0.ffn_gate_tid2eid.weight", "4 x 384", NULL });
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_0731_lists_ratios_of_drafting_blocks),
    cmocka_unit_test(test_drafts_inside_are_not_layers),
    cmocka_unit_test(test_llama_files_have_the_drafting_block_behind_the_layers),
    cmocka_unit_test(test_a_block_without_its_tensors_is_missing),
    cmocka_unit_test(test_vision_is_skipped_by_name),
    cmocka_unit_test(test_epsilon_comes_from_its_key),
    cmocka_unit_test(test_pruned_is_the_whole_model_with_a_mask),
    cmocka_unit_test(test_pruned_experts_are_streamed),
    cmocka_unit_test(test_counts_come_from_the_tensors),
    cmocka_unit_test(test_half_pruned_files_are_refused),
    cmocka_unit_test(test_top_4_uses_the_first_four_of_six),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, name_files, remove_files);
}
