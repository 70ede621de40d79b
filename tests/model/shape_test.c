/* shape_test.c - model files whose numbers do not fit together are refused in one sentence
 * that names the file, the key or tensor, and what was expected. */
#include "testing.h"

#include "ds4.h"
#include "format/dtype.h"
#include "format/gguf.h"
#include "support/tiny_model.h"

static char     path[256];
static uint8_t *bytes;
static size_t   n_bytes;

static int make_model(void **state)
{
    const tiny_model t = { .seed = 3, .dense = DS4_F16, .gate_up = DS4_F16, .down = DS4_F16,
                           .precise = DS4_F16, .n_embd = 64 };
    (void)state;
    test_temp_path(path, "shape_test.gguf");
    tiny_model_write(&t, path);
    FILE *file = fopen(path, "rb");
    fseek(file, 0, SEEK_END);
    n_bytes = (size_t)ftell(file);
    rewind(file);
    bytes = malloc(n_bytes);
    const size_t n = fread(bytes, 1, n_bytes, file);
    fclose(file);
    return n == n_bytes ? 0 : -1;
}

static int remove_model(void **state)
{
    (void)state;
    free(bytes);
    return unlink(path);
}

/* Offset of the byte after the first place where text stands. */
static size_t after(const char *text)
{
    const size_t n = strlen(text);
    for (size_t i = 0; i + n <= n_bytes; i++) {
        if (memcmp(bytes + i, text, n) == 0) return i + n;
    }
    fail_msg("%s is not in the file", text);
    return 0;
}

/* Open the file with four bytes changed; the refusal must contain every given word. */
static void expect_refusal(size_t at, uint32_t value, ds4_status want, const char *const *words)
{
    const ds4_engine_options opt = { .model_path = path, .n_threads = 1 };
    uint8_t                  old[4];
    ds4_engine              *e = NULL;
    ds4_err                  err = { 0 };

    memcpy(old, bytes + at, 4);
    memcpy(bytes + at, &value, 4);
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, n_bytes, file), n_bytes);
    fclose(file);
    memcpy(bytes + at, old, 4);

    const ds4_status st = ds4_engine_open(&e, &opt, &err);
    ds4_engine_close(e);
    if (st != want) fail_msg("status %d, expected %d: %s", (int)st, (int)want, err.text);
    assert_non_null(strstr(err.text, path));
    for (; *words; words++) {
        if (!strstr(err.text, *words)) fail_msg("\"%s\" does not mention \"%s\"", err.text, *words);
    }
}

/* A u32 key: its value stands after the type. */
static void refuse_key(const char *key, uint32_t value, ds4_status want, const char *word)
{
    char full[128];
    snprintf(full, sizeof full, "deepseek4.%s", key);
    expect_refusal(after(full) + 4, value, want, (const char *[]){ full, word, NULL });
}

static void test_keys_out_of_range(void **state)
{
    (void)state;
    refuse_key("block_count", 0, DS4_E_FORMAT, "1..128");
    refuse_key("block_count", 4000000000u, DS4_E_FORMAT, "4000000000");
    refuse_key("attention.head_count", 0, DS4_E_FORMAT, "1..1024");
    refuse_key("attention.sliding_window", 0, DS4_E_FORMAT, "1..4096");
    refuse_key("expert_count", 1u << 30, DS4_E_FORMAT, "1..4096");
    refuse_key("hyper_connection.count", 9, DS4_E_FORMAT, "1..8");
    refuse_key("attention.layer_norm_rms_epsilon", 0x7fc00000, DS4_E_FORMAT, "finite");
    refuse_key("rope.freq_base", 0, DS4_E_FORMAT, "more than 0");
}

static void test_other_structures_by_name(void **state)
{
    (void)state;
    refuse_key("attention.head_count_kv", 2, DS4_E_UNSUPPORTED, "models with 1");
    refuse_key("expert_shared_count", 2, DS4_E_UNSUPPORTED, "models with 1");
    refuse_key("attention.value_length", 64, DS4_E_UNSUPPORTED, "models with 96");
    /* The first entry of the ratios stands behind element type and count. */
    expect_refusal(after("deepseek4.attention.compress_ratios") + 16, 8, DS4_E_UNSUPPORTED,
                   (const char *[]){ "compress_ratios", "layer 0", "0, 4 or 128", NULL });
    expect_refusal(after("general.architecture") + 12, 0x6d616c6c, DS4_E_UNSUPPORTED,
                   (const char *[]){ "general.architecture", "deepseek4", NULL });
}

static void test_sizes_that_do_not_fit(void **state)
{
    (void)state;
    refuse_key("vocab_size", 271, DS4_E_FORMAT, "272");
    refuse_key("rope.dimension_count", 98, DS4_E_FORMAT, "96");
    refuse_key("attention.indexer.key_length", 48, DS4_E_UNSUPPORTED, "power of two");
    expect_refusal(after("deepseek4.expert_used_count") + 4, 7, DS4_E_FORMAT,
                   (const char *[]){ "7 of 6", NULL });
    expect_refusal(after("deepseek4.attention.q_lora_rank") + 4, 32, DS4_E_FORMAT,
                   (const char *[]){ "attn_q_a.weight", "expected 64 x 32", NULL });
    expect_refusal(after("deepseek4.expert_feed_forward_length") + 4, 128, DS4_E_FORMAT,
                   (const char *[]){ "ffn_gate_exps.weight", "expected 64 x 128 x 6", NULL });
}

static void test_tensors(void **state)
{
    (void)state;
    /* A letter of the name is gone: the tensor is missing. */
    expect_refusal(after("blk.2.attn_") - 5, 0x78787878, DS4_E_FORMAT,
                   (const char *[]){ "blk.2.attn_norm.weight", "missing", NULL });
    /* Type of a norm: an integer table is no vector. */
    expect_refusal(after("output_norm.weight") + 12, DS4_I32, DS4_E_UNSUPPORTED,
                   (const char *[]){ "output_norm.weight", "I32", NULL });
}

/* Expert numbers are used as indices, so each entry of the table is looked at. */
static void test_token_table_entries(void **state)
{
    ds4_gguf *g;
    ds4_err   err = { 0 };

    (void)state;
    assert_int_equal(ds4_gguf_open_bytes("model", bytes, n_bytes, &g, &err), DS4_OK);
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, "blk.1.ffn_gate_tid2eid.weight");
    const size_t           at = (size_t)(t->data - bytes) + 4 * 101;
    ds4_gguf_close(g);
    expect_refusal(at, 6, DS4_E_FORMAT,
                   (const char *[]){ "blk.1.ffn_gate_tid2eid", "entry 101", "0..5", NULL });
    expect_refusal(at, 0xffffffff, DS4_E_FORMAT, (const char *[]){ "expert -1", NULL });
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_keys_out_of_range),
    cmocka_unit_test(test_other_structures_by_name),
    cmocka_unit_test(test_sizes_that_do_not_fit),
    cmocka_unit_test(test_tensors),
    cmocka_unit_test(test_token_table_entries),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
