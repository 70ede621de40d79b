/* quantize_support_test.c - support files: the MTP block and the DSpark drafter of a small random checkpoint,
 * each as a file of its own; and the bundled drafter. */
#include "testing.h"

#include <math.h>
#include <sys/wait.h>

#include "base/file.h"
#include "format/gguf.h"
#include "kernels/kernels.h"
#include "support/tiny_checkpoint.h"

enum { STAGE_TENSORS = 24, WHOLE_TENSORS = 9, MTP_TENSORS = 32, MTP_HEADER = 2208 };

static char        folder[512];
static ds4_kernels kernels;
static ds4_str     said;    /* what the last run printed */

static const char *built(void)
{
    const char *out = getenv("OUT");

    return out ? out : "build";
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s/quantize_support_test.XXXXXX", built());
    assert_non_null(mkdtemp(folder));
    ds4_kernels_init(&kernels, 0);
    return 0;
}

static int tear_down(void **state)
{
    char command[600];

    (void)state;
    ds4_str_clear(&said);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

/* ---- running the program ------------------------------------------------------------------------- */

static int run(const char *from, const char *options)
{
    char command[2560];

    snprintf(command, sizeof command,
             "%s/ds4-quantize convert --from %s --out %s/m.gguf --threads 2 %s 2>%s/log",
             built(), from, folder, options, folder);
    const int status = system(command);
    ds4_str_clear(&said);
    snprintf(command, sizeof command, "%s/log", folder);
    assert_int_equal(ds4_file_read(command, 1 << 16, &said, NULL), DS4_OK);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static ds4_gguf *convert(const char *from, const char *options)
{
    char      path[600];
    ds4_gguf *g = NULL;
    ds4_err   err = { 0 };

    if (run(from, options) != 0) fail_msg("%s", ds4_str_text(&said));
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    if (ds4_gguf_open(path, &g, &err) != DS4_OK) fail_msg("%s", err.text);
    return g;
}

/* It must be refused, with these words, and leave no file. */
static void refuse(const char *options, const char *words)
{
    char path[600];

    snprintf(path, sizeof path, "%s/m.gguf", folder);
    unlink(path);
    assert_int_equal(run(folder, options), 2);
    if (!strstr(ds4_str_text(&said), words)) fail_msg("\"%s\" lacks \"%s\"", ds4_str_text(&said), words);
    assert_false(ds4_file_exists(path));
}

/* ---- what a file holds ---------------------------------------------------------------------------- */

static const ds4_gguf_tensor *tensor(const ds4_gguf *g, const char *name, uint32_t dtype, uint64_t in,
                                     uint64_t out)
{
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, name);

    if (!t) fail_msg("no tensor %s", name);
    if (t->dtype != dtype || t->dim[0] != in || t->dim[1] != out) {
        fail_msg("%s is %s of %llu x %llu", name, ds4_dtype_get(t->dtype)->name,
                 (unsigned long long)t->dim[0], (unsigned long long)t->dim[1]);
    }
    return t;
}

/* Every weight of a matrix (or expert) is the checkpoint's, within a share of the largest in its row. */
static void same(const ds4_gguf *g, const char *to, uint32_t part, const char *from, uint32_t dtype,
                 double most)
{
    const checkpoint_tensor *r = checkpoint_find(from);
    const uint32_t           n_rows = r->rows ? r->rows : 1;
    const uint64_t           n = r->columns * (strcmp(r->dtype, "I8") == 0 ? 2u : 1u);
    const ds4_gguf_tensor   *t = tensor(g, to, dtype, n, n_rows);
    float                   *y = calloc(n, sizeof *y);

    assert_non_null(y);
    for (uint32_t i = 0; i < n_rows; i++) {
        double top = 0, off = 0;
        kernels.decode[dtype](y, t->data + (part * (uint64_t)n_rows + i) * ds4_row_bytes(dtype, n), n);
        for (uint32_t j = 0; j < n; j++) {
            const double x = checkpoint_weight(r, i, j);
            top = fmax(top, fabs(x));
            off = fmax(off, fabs(y[j] - x));
        }
        if (!(off <= most * top)) fail_msg("%s: row %u is off by %g of %g", to, i, off, top);
    }
    free(y);
}

static void number(const ds4_gguf *g, const char *key, uint64_t want)
{
    uint64_t n = 0;
    ds4_err  err = { 0 };

    if (ds4_gguf_get_u64(g, key, 0, 1 << 20, &n, &err) != DS4_OK) fail_msg("%s", err.text);
    if (n != want) fail_msg("%s is %u, expected %u", key, (unsigned)n, (unsigned)want);
}

static void text(const ds4_gguf *g, const char *key, const char *want)
{
    ds4_slice s = { 0 };
    ds4_err   err = { 0 };

    if (ds4_gguf_get_string(g, key, &s, &err) != DS4_OK) fail_msg("%s", err.text);
    assert_true(ds4_slice_eq(s, (ds4_slice){ want, strlen(want) }));
}

/* ---- the MTP block --------------------------------------------------------------------------------- */

static void test_mtp_file_is_the_published_form(void **state)
{
    (void)state;
    checkpoint_make(folder);
    ds4_gguf *g = convert(folder, "--part mtp --recipe q4");
    assert_int_equal(ds4_gguf_n_tensors(g), MTP_TENSORS);
    assert_int_equal(ds4_gguf_n_keys(g), 5);
    assert_int_equal(ds4_gguf_data_offset(g), MTP_HEADER);     /* to the byte, whatever the sizes */
    text(g, "general.architecture", "deepseek4_mtp_support");
    text(g, "general.name", "DeepSeek V4 Flash MTP support");
    number(g, "deepseek4.expert_count", CHECKPOINT_EXPERTS);
    number(g, "deepseek4.mtp_layer_count", 1);
    number(g, "deepseek4.nextn_predict_layers", 1);
    same(g, "mtp.0.e_proj.weight", 0, "mtp.0.e_proj.weight", DS4_Q8_0, 0.01);
    same(g, "mtp.0.attn_output_b.weight", 0, "mtp.0.attn.wo_b.weight", DS4_Q8_0, 0.01);
    same(g, "mtp.0.hc_attn_fn.weight", 0, "mtp.0.hc_attn_fn", DS4_F32, 0);
    same(g, "mtp.0.hc_head_fn.weight", 0, "mtp.0.hc_head_fn", DS4_F32, 0);
    same(g, "mtp.0.ffn_gate_inp.weight", 0, "mtp.0.ffn.gate.weight", DS4_F32, 0);
    same(g, "mtp.0.ffn_gate_exps.weight", 1, "mtp.0.ffn.experts.1.w1.weight", DS4_Q4_K, 0.2);
    ds4_gguf_close(g);
    refuse("--part dspark --recipe q4", "has no DSpark drafter: \"mtp.0.main_proj.weight\" is missing");
    strcpy(checkpoint_find("layers.0.attn_norm.weight")->name, "mtp.0.other");
    checkpoint_put_weights(folder);
    refuse("--part mtp --recipe q4",
           "1 tensors \"mtp.*\" have no place in the file, the first is \"mtp.0.other\"");
    checkpoint_free();
}

/* ---- the bundled drafter ------------------------------------------------------------------------------ */

static bool same_bytes(const char *a, const char *b)
{
    enum { MOST = 16 << 20 };
    ds4_str    x = { 0 }, y = { 0 };
    const bool read = ds4_file_read(a, MOST, &x, NULL) == DS4_OK &&
                      ds4_file_read(b, MOST, &y, NULL) == DS4_OK &&
                      x.n_bytes > 0;
    const bool same = read && x.n_bytes == y.n_bytes && memcmp(x.data, y.data, x.n_bytes) == 0;

    ds4_str_clear(&x);
    ds4_str_clear(&y);
    return same;
}

/* A number of the model's file, which the drafter's tensors must fit. */
static uint64_t size_in(const ds4_gguf *model, const char *key)
{
    uint64_t n = 0;
    ds4_err  err = { 0 };

    if (ds4_gguf_get_u64(model, key, 1, 1 << 20, &n, &err) != DS4_OK) fail_msg("%s", err.text);
    return n;
}

static void test_bundled_drafter_fits_the_bundled_model(void **state)
{
    static const char file[] = "models/ds4-mini-dspark.gguf";
    char              made[600];
    ds4_gguf         *model = NULL;

    (void)state;
    ds4_gguf *g = convert("models/ds4-mini-dspark",
                          "--part dspark --experts mxfp4 --dense q8-all --name ds4-mini-dspark");
    snprintf(made, sizeof made, "%s/m.gguf", folder);
    assert_true(same_bytes(made, file));
    assert_int_equal(ds4_gguf_open("models/ds4-mini.gguf", &model, NULL), DS4_OK);
    const uint64_t n_embd = size_in(model, "deepseek4.embedding_length");
    const uint64_t n_vocab = size_in(model, "deepseek4.vocab_size");
    const uint64_t n_ffn = size_in(model, "deepseek4.expert_feed_forward_length");
    assert_int_equal(ds4_gguf_n_tensors(g), 2 * STAGE_TENSORS + WHOLE_TENSORS);
    number(g, "dspark.stage_count", 2);
    number(g, "dspark.block_size", 5);
    number(g, "dspark.n_layers", size_in(model, "deepseek4.block_count"));
    const uint64_t rank = size_in(g, "dspark.markov_rank"), noise = size_in(g, "dspark.noise_token_id");
    assert_true(noise < n_vocab);
    tensor(g, "mtp.0.main_proj.weight", DS4_Q8_0, 3 * n_embd, n_embd);
    tensor(g, "mtp.1.markov_head.markov_w1.weight", DS4_Q8_0, rank, n_vocab);
    tensor(g, "mtp.1.markov_head.markov_w2.weight", DS4_Q8_0, rank, n_vocab);
    tensor(g, "mtp.1.confidence_head.proj.weight", DS4_Q8_0, n_embd + rank, 1);
    const ds4_gguf_tensor *up = tensor(g, "mtp.1.ffn_up_exps.weight", DS4_MXFP4, n_embd, n_ffn);
    assert_int_equal(up->dim[2], size_in(model, "deepseek4.expert_count"));
    ds4_gguf_close(model);
    ds4_gguf_close(g);
}

/* ---- the drafter -------------------------------------------------------------------------------------- */

static void check_drafter_keys(const ds4_gguf *g)
{
    const uint64_t taps[] = { 1, 2 };
    int64_t       *got = NULL;
    uint64_t       n = 0;
    ds4_err        err = { 0 };

    text(g, "general.architecture", "deepseek4-dspark");
    text(g, "general.name", "DeepSeek V4 Flash DSpark support");
    assert_int_equal(ds4_gguf_n_keys(g), 9);
    number(g, "general.alignment", DS4_GGUF_ALIGNMENT);
    number(g, "dspark.block_size", 5);
    number(g, "dspark.markov_rank", 32);
    number(g, "dspark.noise_token_id", 39);
    number(g, "dspark.stage_count", CHECKPOINT_STAGES);
    number(g, "dspark.n_layers", CHECKPOINT_LAYERS);
    assert_int_equal(ds4_gguf_copy_i64s(g, "dspark.target_layer_ids", 0, 100, &got, &n, &err), DS4_OK);
    assert_int_equal(n, 2);
    for (int i = 0; i < 2; i++) assert_int_equal(got[i], taps[i]);
    free(got);
}

/* With the types of the published support files, except the router's, which is better in F16. */
static void test_drafter_file(void **state)
{
    (void)state;
    ds4_gguf *g = convert(folder, "--part dspark --recipe q2");
    assert_int_equal(ds4_gguf_n_tensors(g), CHECKPOINT_STAGES * STAGE_TENSORS + WHOLE_TENSORS);
    check_drafter_keys(g);
    same(g, "mtp.0.main_proj.weight", 0, "mtp.0.main_proj.weight", DS4_Q8_0, 0.01);
    same(g, "mtp.0.main_norm.weight", 0, "mtp.0.main_norm.weight", DS4_F32, 0);
    same(g, "mtp.1.norm.weight", 0, "mtp.1.norm.weight", DS4_F32, 0);
    same(g, "mtp.1.hc_head_fn.weight", 0, "mtp.1.hc_head_fn", DS4_F16, 1e-3);
    same(g, "mtp.1.hc_head_base.weight", 0, "mtp.1.hc_head_base", DS4_F32, 0);
    same(g, "mtp.1.markov_head.markov_w1.weight", 0, "mtp.1.markov_head.markov_w1.weight", DS4_Q8_0, 0.01);
    same(g, "mtp.1.markov_head.markov_w2.weight", 0, "mtp.1.markov_head.markov_w2.weight", DS4_Q8_0, 0.01);
    same(g, "mtp.1.confidence_head.proj.weight", 0, "mtp.1.confidence_head.proj.weight", DS4_Q8_0, 0.01);
    for (uint32_t s = 0; s < CHECKPOINT_STAGES; s++) {
        char to[80], from[80];
        snprintf(to, sizeof to, "mtp.%u.attn_kv.weight", s);
        snprintf(from, sizeof from, "mtp.%u.attn.wkv.weight", s);
        same(g, to, 0, from, DS4_Q8_0, 0.01);
        snprintf(to, sizeof to, "mtp.%u.exp_probs_b.bias", s);
        snprintf(from, sizeof from, "mtp.%u.ffn.gate.bias", s);
        same(g, to, 0, from, DS4_F32, 0);
        snprintf(to, sizeof to, "mtp.%u.ffn_gate_exps.weight", s);
        assert_int_equal(tensor(g, to, DS4_IQ2_XXS, 256, 256)->dim[2], CHECKPOINT_EXPERTS);
        snprintf(to, sizeof to, "mtp.%u.ffn_down_exps.weight", s);
        assert_int_equal(tensor(g, to, DS4_Q2_K, 256, 256)->dim[2], CHECKPOINT_EXPERTS);
    }
    assert_null(ds4_gguf_tensor_find(g, "mtp.0.norm.weight"));
    assert_null(ds4_gguf_tensor_find(g, "token_embd.weight"));
    ds4_gguf_close(g);
}

static void test_drafter_without_loss(void **state)
{
    (void)state;
    ds4_gguf *g = convert(folder, "--part dspark --experts mxfp4 --dense f32 --name own");
    text(g, "general.name", "own");
    same(g, "mtp.0.main_proj.weight", 0, "mtp.0.main_proj.weight", DS4_F32, 0);
    same(g, "mtp.1.markov_head.markov_w2.weight", 0, "mtp.1.markov_head.markov_w2.weight", DS4_F32, 0);
    same(g, "mtp.1.confidence_head.proj.weight", 0, "mtp.1.confidence_head.proj.weight", DS4_F32, 0);
    for (uint32_t e = 0; e < CHECKPOINT_EXPERTS; e++) {
        char from[80];
        snprintf(from, sizeof from, "mtp.1.ffn.experts.%u.w3.weight", e);
        same(g, "mtp.1.ffn_up_exps.weight", e, from, DS4_MXFP4, 0);
    }
    ds4_gguf_close(g);
    /* The whole checkpoint still becomes a model, which says what it leaves out. */
    g = convert(folder, "--experts mxfp4");
    assert_null(ds4_gguf_tensor_find(g, "mtp.0.attn_kv.weight"));
    assert_non_null(strstr(ds4_str_text(&said), "are not used, the first is \"mtp.0."));
    number(g, "deepseek4.nextn_predict_layers", 0);
    ds4_gguf_close(g);
    refuse("--part mtp --recipe q4", "has no MTP block: \"mtp.0.e_proj.weight\" is missing");
}

#define RANK32 "\"dspark_markov_rank\":32,"
#define NOISE  "\"dspark_noise_token_id\":39,"
#define BLOCK  "\"dspark_block_size\":5,"
#define TAPS   "\"dspark_target_layer_ids\":"

static void test_bad_drafter_keys_are_refused(void **state)
{
    static const struct { const char *members, *words; } cases[] = {
        { NOISE RANK32 TAPS "[1,2]", "\"dspark_block_size\" is missing" },
        { NOISE RANK32 "\"dspark_block_size\":0," TAPS "[1,2]",
          "\"dspark_block_size\" is not an integer in 1..64" },
        { NOISE RANK32 "\"dspark_block_size\":65," TAPS "[1,2]", "\"dspark_block_size\" is not" },
        { BLOCK RANK32 "\"dspark_noise_token_id\":40," TAPS "[1,2]",
          "\"dspark_noise_token_id\" is not an integer in 0..39" },
        { BLOCK NOISE "\"dspark_markov_rank\":-1," TAPS "[1,2]", "\"dspark_markov_rank\" is not" },
        { BLOCK NOISE "\"dspark_markov_rank\":64," TAPS "[1,2]", "config.json makes it 40 x 64" },
        { BLOCK NOISE RANK32 TAPS "[0,1,2]", "config.json makes it 256 x 768" },
        { BLOCK NOISE RANK32 TAPS "[]", "has 0 entries" },
        { BLOCK NOISE RANK32 TAPS "7", "has 0 entries" },
        { BLOCK NOISE RANK32 TAPS "[1,3]", "entry 1 is not an ascending layer in 0..2" },
        { BLOCK NOISE RANK32 TAPS "[2,1]", "entry 1 is not an ascending" },
        { BLOCK NOISE RANK32 TAPS "[1,1]", "entry 1 is not an ascending" },
        { BLOCK NOISE RANK32 TAPS "[-1,1]", "entry 0 is not an ascending" },
        { BLOCK NOISE RANK32 TAPS "[1.0,2]", "entry 0 is not an ascending" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint_put_drafter_config(folder, cases[i].members);
        refuse("--part dspark --recipe q2", cases[i].words);
    }
    checkpoint_put_drafter_config(folder, BLOCK NOISE RANK32 TAPS "[1,2]");
}

/* A tensor gets another name; the drafter must be refused. */
static void refuse_renamed(const char *from, const char *to, const char *words)
{
    checkpoint_tensor *t = checkpoint_find(from);

    strcpy(t->name, to);
    checkpoint_put_weights(folder);
    refuse("--part dspark --recipe q2", words);
    strcpy(t->name, from);
    checkpoint_put_weights(folder);
}

static void test_bad_drafter_tensors_are_refused(void **state)
{
    checkpoint_tensor *t = checkpoint_find("mtp.1.confidence_head.proj.weight");

    (void)state;
    refuse_renamed("mtp.0.main_proj.weight", "mtp.0.other", "has no DSpark drafter");
    refuse_renamed("mtp.0.attn_norm.weight", "mtp.0.other", "has 0 stages, expected 1..16");
    refuse_renamed("mtp.1.markov_head.markov_w1.weight", "mtp.1.other", "markov_w1.weight\" is missing");
    /* A gap: the tensors of the stage behind it would be dropped, and the drafter would guess badly. */
    refuse_renamed("mtp.1.attn_norm.weight", "mtp.2.attn_norm.weight", "\"mtp.0.norm.weight\" is missing");
    refuse_renamed("layers.0.attn_norm.weight", "mtp.1.own", "1 tensors \"mtp.*\" have no place in the file");
    t->columns--;
    t->n_bytes -= 2;
    checkpoint_put_weights(folder);
    refuse("--part dspark --recipe q2", "is 1 x 287, but config.json makes it 1 x 288");
    t->columns++;
    t->n_bytes += 2;
    t = checkpoint_find("mtp.0.main_proj.scale");
    const uint8_t scale = t->data[0];
    t->data[0] = 255;
    checkpoint_put_weights(folder);
    refuse("--part dspark --recipe q2", "\"mtp.0.main_proj.weight\": row 0 has NaN or infinity");
    t->data[0] = scale;
    /* Of Vision-Exp: a bias for image tokens, which are never drafted. */
    t = checkpoint_find("layers.0.attn_norm.weight");
    strcpy(t->name, "mtp.1.ffn.gate.bias_vl");
    checkpoint_put_weights(folder);
    ds4_gguf_close(convert(folder, "--part dspark --recipe q2"));
    strcpy(t->name, "layers.0.attn_norm.weight");
    checkpoint_put_weights(folder);
}

static int with_drafter(void **state)
{
    (void)state;
    checkpoint_make_drafter(folder);
    return 0;
}

static int without(void **state)
{
    (void)state;
    checkpoint_free();
    return 0;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_mtp_file_is_the_published_form),
    cmocka_unit_test(test_bundled_drafter_fits_the_bundled_model),
    cmocka_unit_test_setup_teardown(test_drafter_file, with_drafter, without),
    cmocka_unit_test_setup_teardown(test_drafter_without_loss, with_drafter, without),
    cmocka_unit_test_setup_teardown(test_bad_drafter_keys_are_refused, with_drafter, without),
    cmocka_unit_test_setup_teardown(test_bad_drafter_tensors_are_refused, with_drafter, without),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
