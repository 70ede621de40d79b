/* quantize_test.c - ds4-quantize on a small random checkpoint in the official formats: what
 * the model file holds is what the checkpoint holds, within what each type can say. */
#include "testing.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/file.h"
#include "ds4.h"
#include "format/gguf.h"
#include "format/small_float.h"
#include "kernels/kernels.h"
#include "support/tiny_checkpoint.h"

static char folder[512];

/* The folder of everything that was built. */
static const char *built(void)
{
    const char *out = getenv("OUT");

    return out ? out : "build";
}

static ds4_kernels kernels;
static ds4_str     said;    /* what the last run printed */

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s/quantize_test.XXXXXX", built());
    assert_non_null(mkdtemp(folder));
    ds4_kernels_init(&kernels, 0);
    checkpoint_make(folder);
    return 0;
}

static int tear_down(void **state)
{
    char command[600];

    (void)state;
    checkpoint_free();
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

/* ---- running the program ------------------------------------------------------------------------ */

static int run(const char *options)
{
    char command[2560];

    snprintf(command, sizeof command,
             "%s/ds4-quantize convert --from %s --out %s/m.gguf --threads 2 %s 2>%s/log",
             built(), folder, folder, options, folder);
    const int status = system(command);
    ds4_str_clear(&said);
    snprintf(command, sizeof command, "%s/log", folder);
    assert_int_equal(ds4_file_read(command, 1 << 16, &said, NULL), DS4_OK);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static ds4_gguf *convert(const char *options)
{
    char      path[600];
    ds4_gguf *g = NULL;
    ds4_err   err = { 0 };

    if (run(options) != 0) fail_msg("%s", ds4_str_text(&said));
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    if (ds4_gguf_open(path, &g, &err) != DS4_OK) fail_msg("%s", err.text);
    return g;
}

/* ---- comparing ------------------------------------------------------------------------------------ */

/* Root of the mean squared difference between part `part` of a tensor and its source,
 * relative to the source; 0 means equal. The tensor must have the type. */
static double error_of(const ds4_gguf *g, const char *to, uint32_t part, const char *from, uint32_t dtype)
{
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, to);
    const checkpoint_tensor             *r = checkpoint_find(from);
    double                 off = 0, all = 0;

    if (!t) fail_msg("no tensor %s", to);
    assert_int_equal(t->dtype, dtype);
    const uint64_t n = t->dim[0], row_bytes = ds4_row_bytes(dtype, n);
    const uint32_t rows = r->rows ? r->rows : 1;
    assert_int_equal(t->dim[1], rows);
    assert_int_equal(n, r->columns * (strcmp(r->dtype, "I8") == 0 ? 2u : 1u));
    float *y = malloc(n * sizeof *y);
    for (uint32_t i = 0; i < rows; i++) {
        kernels.decode[dtype](y, t->data + (part * (uint64_t)rows + i) * row_bytes, n);
        for (uint32_t j = 0; j < n; j++) {
            const double x = checkpoint_weight(r, i, j);
            off += (y[j] - x) * (y[j] - x);
            all += x * x;
        }
    }
    free(y);
    return sqrt(off / all);
}

static void check(double error, double most)
{
    if (!(error <= most)) fail_msg("relative error %g, expected at most %g", error, most);
}

static void check_experts(const ds4_gguf *g, uint32_t gate_up, uint32_t down, double most_gate_up,
                          double most_down)
{
    char name[80];

    for (uint32_t e = 0; e < CHECKPOINT_EXPERTS; e++) {
        snprintf(name, sizeof name, "layers.1.ffn.experts.%u.w1.weight", e);
        check(error_of(g, "blk.1.ffn_gate_exps.weight", e, name, gate_up), most_gate_up);
        snprintf(name, sizeof name, "layers.2.ffn.experts.%u.w3.weight", e);
        check(error_of(g, "blk.2.ffn_up_exps.weight", e, name, gate_up), most_gate_up);
        snprintf(name, sizeof name, "layers.0.ffn.experts.%u.w2.weight", e);
        check(error_of(g, "blk.0.ffn_down_exps.weight", e, name, down), most_down);
        snprintf(name, sizeof name, "mtp.0.ffn.experts.%u.w2.weight", e);
        check(error_of(g, "mtp.0.ffn_down_exps.weight", e, name, down), most_down);
    }
}

static void check_dense(const ds4_gguf *g, uint32_t dense, uint32_t fine, double most_dense, double most_fine)
{
    check(error_of(g, "blk.0.attn_q_a.weight", 0, "layers.0.attn.wq_a.weight", dense), most_dense);
    check(error_of(g, "blk.1.attn_q_b.weight", 0, "layers.1.attn.wq_b.weight", dense), most_dense);
    check(error_of(g, "blk.2.attn_kv.weight", 0, "layers.2.attn.wkv.weight", dense), most_dense);
    check(error_of(g, "blk.0.attn_output_a.weight", 0, "layers.0.attn.wo_a.weight", dense), most_dense);
    check(error_of(g, "blk.0.attn_output_b.weight", 0, "layers.0.attn.wo_b.weight", dense), most_dense);
    check(error_of(g, "blk.1.ffn_down_shexp.weight", 0, "layers.1.ffn.shared_experts.w2.weight", dense),
          most_dense);
    check(error_of(g, "output.weight", 0, "head.weight", dense), most_dense);
    check(error_of(g, "mtp.0.e_proj.weight", 0, "mtp.0.e_proj.weight", dense), most_dense);
    check(error_of(g, "token_embd.weight", 0, "embed.weight", fine), most_fine);
    check(error_of(g, "blk.2.ffn_gate_inp.weight", 0, "layers.2.ffn.gate.weight", fine), most_fine);
    check(error_of(g, "blk.1.hc_ffn_fn.weight", 0, "layers.1.hc_ffn_fn", fine), most_fine);
    check(error_of(g, "blk.1.indexer.attn_q_b.weight", 0, "layers.1.attn.indexer.wq_b.weight", fine),
          most_fine);
    check(error_of(g, "blk.2.attn_compressor_ape.weight", 0, "layers.2.attn.compressor.ape", fine),
          most_fine);
    check(error_of(g, "blk.0.attn_norm.weight", 0, "layers.0.attn_norm.weight", DS4_F32), 0);
    check(error_of(g, "blk.1.exp_probs_b.bias", 0, "layers.1.ffn.gate.bias", DS4_F32), 0);
    check(error_of(g, "blk.1.attn_sinks.weight", 0, "layers.1.attn.attn_sink", DS4_F32), 0);
    check(error_of(g, "output_hc_base.weight", 0, "hc_head_base", DS4_F32), 0);
    check(error_of(g, "mtp.0.hc_attn_fn.weight", 0, "mtp.0.hc_attn_fn", DS4_F32), 0);
    check(error_of(g, "mtp.0.ffn_gate_inp.weight", 0, "mtp.0.ffn.gate.weight", DS4_F32), 0);
}

/* ---- tests ------------------------------------------------------------------------------------------ */

static void test_mxfp4_is_lossless(void **state)
{
    ds4_gguf *g = convert("--experts mxfp4");

    (void)state;
    check_experts(g, DS4_MXFP4, DS4_MXFP4, 0, 0);
    check_dense(g, DS4_Q8_0, DS4_F16, 0.008, 3e-4);
    ds4_gguf_close(g);
}

static void test_bf16_and_f32_are_lossless(void **state)
{
    ds4_gguf *g = convert("--experts bf16 --dense f32");

    (void)state;
    check_experts(g, DS4_BF16, DS4_BF16, 0, 0);
    check_dense(g, DS4_F32, DS4_F32, 0, 0);
    ds4_gguf_close(g);
    g = convert("--experts q8 --dense bf16");
    check_experts(g, DS4_Q8_0, DS4_Q8_0, 0.01, 0.01);
    check_dense(g, DS4_BF16, DS4_BF16, 0, 3e-3);        /* HC and ape are F32 in the checkpoint */
    ds4_gguf_close(g);
}

/* Codes here are uniform, which suits two bits less than the bell shape of real weights. */
static void test_few_bits_stay_near(void **state)
{
    ds4_gguf *g = convert("--experts q4 --dense f16");

    (void)state;
    check_experts(g, DS4_Q4_K, DS4_Q4_K, 0.1, 0.1);
    check_dense(g, DS4_F16, DS4_F16, 3e-4, 3e-4);
    ds4_gguf_close(g);
    g = convert("--experts q2");
    check_experts(g, DS4_IQ2_XXS, DS4_Q2_K, 0.5, 0.4);
    ds4_gguf_close(g);
}

static void test_tables_and_keys(void **state)
{
    ds4_gguf  *g = convert("--experts mxfp4 --name tiny");
    ds4_slice *tokens = NULL, name = { 0 };
    uint64_t   n = 0;
    ds4_err    err = { 0 };

    (void)state;
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, "blk.0.ffn_gate_tid2eid.weight");
    const checkpoint_tensor             *r = checkpoint_find("layers.0.ffn.gate.tid2eid");
    assert_non_null(t);
    assert_int_equal(t->dtype, DS4_I32);
    assert_int_equal(t->n_bytes, CHECKPOINT_VOCAB * 2 * 4);
    for (size_t i = 0; i < CHECKPOINT_VOCAB * 2; i++) assert_int_equal(t->data[4 * i], r->data[8 * i]);
    assert_null(ds4_gguf_tensor_find(g, "blk.0.exp_probs_b.bias"));
    assert_null(ds4_gguf_tensor_find(g, "blk.0.attn_compressor_kv.weight"));
    assert_null(ds4_gguf_tensor_find(g, "blk.2.indexer.proj.weight"));
    assert_int_equal(ds4_gguf_copy_strings(g, "tokenizer.ggml.tokens", &tokens, &n, &err), DS4_OK);
    assert_int_equal(n, CHECKPOINT_VOCAB);
    assert_true(ds4_slice_eq(tokens[4], DS4_SLICE("ab")));
    assert_true(ds4_slice_eq(tokens[39], DS4_SLICE("[PAD39]")));
    free(tokens);
    assert_int_equal(ds4_gguf_get_string(g, "general.name", &name, &err), DS4_OK);
    assert_true(ds4_slice_eq(name, DS4_SLICE("tiny")));
    assert_int_equal(ds4_gguf_get_u64(g, "tokenizer.ggml.eos_token_id", 1, 1, &n, &err), DS4_OK);
    assert_int_equal(ds4_gguf_get_u64(g, "deepseek4.nextn_predict_layers", 1, 1, &n, &err), DS4_OK);
    ds4_gguf_close(g);
}

static void run_tokens(const char *options)
{
    static float      logits[CHECKPOINT_VOCAB];
    const int32_t     tokens[3] = { 0, 2, 4 };
    char              path[600];
    ds4_engine       *e = NULL;
    ds4_session      *s = NULL;
    ds4_err           err = { 0 };
    ds4_engine_options opt = { .model_path = path, .n_threads = 1 };

    ds4_gguf_close(convert(options));
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    if (ds4_engine_open(&e, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    assert_int_equal(ds4_engine_info(e)->n_layers, CHECKPOINT_LAYERS);
    assert_true(ds4_engine_info(e)->has_mtp);
    assert_int_equal(ds4_session_create(e, 64, &s, &err), DS4_OK);
    const ds4_prefill p = { .tokens = tokens, .n_tokens = 3, .logits = logits };
    if (ds4_session_prefill(s, &p, &err) != DS4_OK) fail_msg("%s", err.text);
    for (int i = 0; i < CHECKPOINT_VOCAB; i++) assert_true(isfinite(logits[i]));
    ds4_session_free(s);
    ds4_engine_close(e);
}

static void test_files_run(void **state)
{
    (void)state;
    run_tokens("--experts mxfp4");
    run_tokens("--experts q2");
    run_tokens("--experts bf16 --dense bf16");
}

/* Run on a checkpoint changed by the caller; it must be refused and leave no file. */
static void refuse(const char *options, const char *words)
{
    char path[600];

    checkpoint_put_weights(folder);
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    unlink(path);
    assert_int_equal(run(options), 2);
    if (!strstr(ds4_str_text(&said), words)) fail_msg("\"%s\" lacks \"%s\"", ds4_str_text(&said), words);
    assert_false(ds4_file_exists(path));
}

static void test_bad_checkpoints_are_refused(void **state)
{
    checkpoint_tensor *r = checkpoint_find("layers.1.attn.wq_a.scale");
    checkpoint_tensor *head = checkpoint_find("head.weight");
    const uint8_t      scale = r->data[0];

    (void)state;
    r->data[0] = 255;
    refuse("--experts mxfp4", "\"layers.1.attn.wq_a.weight\": row 0 has NaN or infinity");
    r->data[0] = scale;
    r = checkpoint_find("layers.1.ffn.experts.1.w2.scale");
    r->data[5] = 255;
    refuse("--experts mxfp4", "\"layers.1.ffn.experts.1.w2.scale\"");
    r->data[5] = 120;
    strcpy(r->name, "layers.1.ffn.experts.1.w2.other");
    refuse("--experts mxfp4", "\"layers.1.ffn.experts.1.w2.scale\" is missing");
    strcpy(r->name, "layers.1.ffn.experts.1.w2.scale");
    r = checkpoint_find("layers.0.ffn.gate.tid2eid");
    r->data[8] = CHECKPOINT_EXPERTS;
    refuse("--experts mxfp4", "entry 1 is not an expert in 0..1");
    r->data[8] = 0;
    head->rows /= 2;
    head->n_bytes /= 2;
    refuse("--experts mxfp4", "\"head.weight\" is 20 x 256, but config.json makes it 40 x 256");
    head->rows *= 2;
    head->n_bytes *= 2;
    checkpoint_put_weights(folder);
}

static void test_numbers_beyond_f16(void **state)
{
    checkpoint_tensor          *r = checkpoint_find("embed.weight");
    const uint8_t old[2] = { r->data[0], r->data[1] };

    (void)state;
    ds4_store_u16(r->data, ds4_f32_to_bf16(1e6f));
    refuse("--experts mxfp4",
           "\"embed.weight\": row 0 has 999424, more than F16 can hold; choose bf16 or f32");
    ds4_gguf_close(convert("--experts mxfp4 --dense bf16"));
    memcpy(r->data, old, 2);
    checkpoint_put_weights(folder);
}

static void test_unused_tensors_are_told(void **state)
{
    checkpoint_tensor *r = checkpoint_find("layers.1.ffn.gate.bias");

    (void)state;
    strcpy(r->name, "layers.9.something");
    checkpoint_put_weights(folder);
    ds4_gguf_close(convert("--experts mxfp4"));
    assert_non_null(strstr(ds4_str_text(&said), "1 tensors of the checkpoint are not used"));
    assert_non_null(strstr(ds4_str_text(&said), "layers.9.something"));
    strcpy(r->name, "layers.1.ffn.gate.bias");
    checkpoint_put_weights(folder);
    ds4_str_clear(&said);
}

/* Files of a conversion in progress, whatever they are called. */
static uint32_t count_unfinished(void)
{
    DIR           *dir = opendir(folder);
    struct dirent *entry;
    uint32_t       n = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir))) n += strstr(entry->d_name, "stopped.gguf") != NULL;
    closedir(dir);
    return n;
}

/* Start the conversion of the bundled model, which lasts long enough to be met, and send it a signal
 * once it writes. Returns the exit code. */
static int interrupt(int signal_number, bool ignored)
{
    char program[600], target[600];

    snprintf(program, sizeof program, "%s/ds4-quantize", built());
    snprintf(target, sizeof target, "%s/stopped.gguf", folder);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(99);
        signal(signal_number, ignored ? SIG_IGN : SIG_DFL);
        execl(program, program, "convert", "--from", "models/ds4-mini", "--out", target,
              "--threads", "1", "--experts", "q8", (char *)NULL);
        _exit(99);
    }
    int   status = 0;
    pid_t done = 0;
    while (count_unfinished() == 0 && done == 0) {
        usleep(200);
        done = waitpid(pid, &status, WNOHANG);
    }
    kill(pid, signal_number);
    if (done == 0) assert_int_equal(waitpid(pid, &status, 0), pid);
    const bool exists = ds4_file_exists(target);
    unlink(target);
    if (!WIFEXITED(status)) return -1;
    assert_int_equal(exists, WEXITSTATUS(status) == 0);
    return WEXITSTATUS(status);
}

static void leaves_nothing(int signal_number)
{
    assert_int_equal(interrupt(signal_number, false), 130);
    assert_int_equal(count_unfinished(), 0);
}

static void test_ctrl_c_leaves_nothing(void **state)
{
    (void)state;
    leaves_nothing(SIGINT);
}

static void test_a_kill_leaves_nothing(void **state)
{
    (void)state;
    leaves_nothing(SIGTERM);
}

static void test_a_closed_terminal_leaves_nothing(void **state)
{
    (void)state;
    leaves_nothing(SIGHUP);
}

static void test_nohup_is_respected(void **state)
{
    (void)state;
    assert_int_equal(interrupt(SIGHUP, true), 0);
    assert_int_equal(count_unfinished(), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_mxfp4_is_lossless),
    cmocka_unit_test(test_bf16_and_f32_are_lossless),
    cmocka_unit_test(test_few_bits_stay_near),
    cmocka_unit_test(test_tables_and_keys),
    cmocka_unit_test(test_files_run),
    cmocka_unit_test(test_bad_checkpoints_are_refused),
    cmocka_unit_test(test_numbers_beyond_f16),
    cmocka_unit_test(test_unused_tensors_are_told),
    cmocka_unit_test(test_ctrl_c_leaves_nothing),
    cmocka_unit_test(test_a_kill_leaves_nothing),
    cmocka_unit_test(test_a_closed_terminal_leaves_nothing),
    cmocka_unit_test(test_nohup_is_respected),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
