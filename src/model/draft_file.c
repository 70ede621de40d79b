/* draft_file.c - see draft_file.h: what a support file says of itself. */
#include "model/draft_file.h"

#include "format/small_float.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RANK = 1 << 16 };

/* ---- names --------------------------------------------------------------------------------------- */

/* The names of one thing in the layouts; "#" is the number of the last stage, or of the stage. */
typedef struct names {
    const char *in[DS4_N_DRAFT_LAYOUTS];
} names;

static const names stage_prefix = { { "mtp.#.", "dspark.#.", "blk.#." } };

enum { MAIN_PROJ, MAIN_NORM, NORM, HC_FN, HC_SCALE, HC_BASE, MARKOV_W1, MARKOV_W2, CONFIDENCE, N_WHOLE };

static const names whole[N_WHOLE] = {
    [MAIN_PROJ] = { { "mtp.0.main_proj.weight", "dspark.main_proj.weight", "fc.weight" } },
    [MAIN_NORM] = { { "mtp.0.main_norm.weight", "dspark.main_norm.weight", "enc.output_norm.weight" } },
    [NORM] = { { "mtp.#.norm.weight", "dspark.norm.weight", "output_norm.weight" } },
    [HC_FN] = { { "mtp.#.hc_head_fn.weight", "dspark.hc_head_fn.weight", "output_hc_fn.weight" } },
    [HC_SCALE] =
        { { "mtp.#.hc_head_scale.weight", "dspark.hc_head_scale.weight", "output_hc_scale.weight" } },
    [HC_BASE] = { { "mtp.#.hc_head_base.weight", "dspark.hc_head_base.weight", "output_hc_base.weight" } },
    [MARKOV_W1] = { { "mtp.#.markov_head.markov_w1.weight", "dspark.markov_w1.weight", "markov_w1.weight" } },
    [MARKOV_W2] = { { "mtp.#.markov_head.markov_w2.weight", "dspark.markov_w2.weight", "markov_w2.weight" } },
    [CONFIDENCE] = { { "mtp.#.confidence_head.proj.weight", "dspark.conf_proj.weight", "conf_proj.weight" } },
};

/* Keys, each with the spellings that readers of the layout accept; NULL: the layout has none. */
enum { MAX_SPELLINGS = 4 };
typedef struct key_names {
    const char *in[DS4_N_DRAFT_LAYOUTS][MAX_SPELLINGS];
} key_names;

#define SPELLED(x) { "dspark." x, "deepseek4.dspark." x, "deepseek4.dspark_" x }

static const key_names block_size =
    { { SPELLED("block_size"), SPELLED("block_size"), { "dflash.block_size" } } };
static const key_names rank_key = { { SPELLED("markov_rank"), SPELLED("markov_rank"), { NULL } } };
static const key_names noise_key = {
    { SPELLED("noise_token_id"), SPELLED("noise_token_id"), { "tokenizer.ggml.mask_token_id" } }
};
static const key_names stages_key =
    { { SPELLED("stage_count"), SPELLED("layer_count"), { "dflash.block_count" } } };
static const key_names taps_key = {
    { SPELLED("target_layer_ids"), SPELLED("target_layers"), { "dflash.target_layers" } }
};

/* Put a number where the name has "#". */
static void fill_in(const char *name, uint32_t stage, char *out, size_t n_bytes)
{
    const char *at = strchr(name, '#');

    if (at) snprintf(out, n_bytes, "%.*s%u%s", (int)(at - name), name, stage, at + 1);
    else snprintf(out, n_bytes, "%s", name);
}

/* The spelling that the file has, or the first. */
static const char *spelling(const ds4_gguf *g, const key_names *k, ds4_draft_layout layout)
{
    for (int i = 0; i < MAX_SPELLINGS && k->in[layout][i]; i++) {
        if (ds4_gguf_has(g, k->in[layout][i])) return k->in[layout][i];
    }
    return k->in[layout][0];
}

/* ---- what kind of file --------------------------------------------------------------------------- */

static ds4_status find_layout(const ds4_gguf *g, ds4_draft_layout *out, ds4_err *err)
{
    ds4_slice arch;

    DS4_TRY(ds4_gguf_get_string(g, "general.architecture", &arch, err));
    if (ds4_slice_eq(arch, DS4_SLICE("deepseek4-dspark"))) {
        *out = ds4_gguf_tensor_find(g, whole[MAIN_PROJ].in[DS4_DRAFT_NAMED]) ? DS4_DRAFT_NAMED
                                                                             : DS4_DRAFT_STAGES;
        return DS4_OK;
    }
    if (ds4_slice_eq(arch, DS4_SLICE("dflash"))) {
        *out = DS4_DRAFT_BLOCKS;
        return DS4_OK;
    }
    return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: general.architecture is \"%.*s\", but DSpark drafters are"
                    " \"deepseek4-dspark\" or \"dflash\"", ds4_gguf_path(g),
                    (int)(arch.n_bytes < 64 ? arch.n_bytes : 64), arch.data);
}

/* Generations of the model that have drafters of their own, which fit the others in form only. */
static const char *const generations[] = { "vision-exp", "0731", "0813", "preview" };

static bool contains(const char *data, size_t n_bytes, const char *word)
{
    const size_t n = strlen(word);

    for (size_t i = 0; i + n <= n_bytes; i++) {
        size_t k = 0;
        while (k < n && tolower((unsigned char)data[i + k]) == word[k]) k++;
        if (k == n) return true;
    }
    return false;
}

/* The generation that the file's keys or its name say; NULL: none. */
static const char *generation_of(const ds4_gguf *g)
{
    static const char *const keys[] = { "deepseek4.checkpoint_variant", "general.source.revision",
                                        "general.name" };
    const char *path = ds4_gguf_path(g), *name = strrchr(path, '/');
    ds4_slice   text;

    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        if (ds4_gguf_opt_string(g, keys[k], DS4_SLICE(""), &text, NULL) != DS4_OK) continue;
        for (size_t i = 0; i < sizeof generations / sizeof *generations; i++) {
            if (contains(text.data, text.n_bytes, generations[i])) return generations[i];
        }
    }
    name = name ? name + 1 : path;
    for (size_t i = 0; i < sizeof generations / sizeof *generations; i++) {
        if (contains(name, strlen(name), generations[i])) return generations[i];
    }
    return NULL;
}

static ds4_status check_generation(const ds4_gguf *g, const ds4_gguf *model, ds4_err *err)
{
    const char *own = generation_of(g), *its = generation_of(model);

    if (!own || !its || own == its) return DS4_OK;
    return ds4_fail(err, DS4_E_UNSUPPORTED,
                    "%s: this drafter is of the generation %s, the model of %s: its guesses"
                    " would hardly ever come true", ds4_gguf_path(g), own, its);
}

/* ---- sizes ----------------------------------------------------------------------------------------- */

/* Stages are counted: keys of the checkpoint that seem to say it do not. */
static uint32_t count_stages(const ds4_gguf *g, ds4_draft_layout layout)
{
    char prefix[32], name[64];

    for (uint32_t i = 0;; i++) {
        fill_in(stage_prefix.in[layout], i, prefix, sizeof prefix);
        snprintf(name, sizeof name, "%sattn_norm.weight", prefix);
        if (i > DS4_MAX_STAGES || !ds4_gguf_tensor_find(g, name)) return i;
    }
}

static ds4_status read_stages(const ds4_gguf *g, ds4_draft_layout layout, const ds4_shape *s, uint32_t *out,
                              ds4_err *err)
{
    const uint32_t n = count_stages(g, layout);
    const char    *key = spelling(g, &stages_key, layout);
    uint64_t       told;

    if (n < 1 || n > DS4_MAX_STAGES || s->n_layers + n > DS4_MAX_LAYERS) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: a drafter of %u stages, expected 1 to %d", ds4_gguf_path(g),
                        n,
                        DS4_MAX_STAGES);
    }
    DS4_TRY(ds4_gguf_opt_u64(g, key, 0, UINT32_MAX, n, &told, err));
    if (told != n) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: %s is %llu, but there are tensors of %u stages",
                        ds4_gguf_path(g),
                        key, (unsigned long long)told, n);
    }
    *out = n;
    return DS4_OK;
}

/* The layers that are read, counted from 0. One layout counts from 1. */
static ds4_status read_taps(const ds4_gguf *g, ds4_draft_layout layout, const ds4_shape *s,
                            ds4_draft_shape *out,
                            ds4_err *err)
{
    const char   *key = spelling(g, &taps_key, layout);
    const int64_t first = layout == DS4_DRAFT_BLOCKS;
    ds4_status    st = DS4_OK;
    int64_t      *id;
    uint64_t      n;

    DS4_TRY(ds4_gguf_copy_i64s(g, key, INT32_MIN, INT32_MAX, &id, &n, err));
    if (n < 1 || n > DS4_MAX_TAPS) {
        st = ds4_fail(err, DS4_E_FORMAT, "%s: %s has %llu entries, expected 1 to %d", ds4_gguf_path(g), key,
                      (unsigned long long)n, DS4_MAX_TAPS);
    }
    for (uint64_t i = 0; st == DS4_OK && i < n; i++) {
        if (id[i] < first || id[i] - first >= (int64_t)s->n_layers || (i > 0 && id[i] <= id[i - 1])) {
            st = ds4_fail(err, DS4_E_FORMAT,
                          "%s: %s: entry %llu is %lld, expected ascending layers %lld to %lld",
                          ds4_gguf_path(g), key, (unsigned long long)i, (long long)id[i], (long long)first,
                          (long long)(s->n_layers - 1 + first));
        } else {
            out->tap[i] = (uint32_t)(id[i] - first);
        }
    }
    out->n_taps = (uint32_t)n;
    free(id);
    return st;
}

/* The tensor itself says it where there is no key; binding compares every dimension. */
static ds4_status read_rank(const ds4_gguf *g, ds4_draft_layout layout, uint32_t n_stages, uint32_t *out,
                            ds4_err *err)
{
    const char *key = spelling(g, &rank_key, layout);
    char        name[64];
    uint64_t    value;

    fill_in(whole[MARKOV_W1].in[layout], n_stages - 1, name, sizeof name);
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, name);
    if (key) {
        DS4_TRY(ds4_gguf_get_u64(g, key, 1, MAX_RANK, &value, err));
    } else if (t && t->dim[0] <= MAX_RANK) {
        value = t->dim[0];
    } else {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s: tensor \"%s\" is missing, or has more than %d values in a row",
                        ds4_gguf_path(g), name, MAX_RANK);
    }
    *out = (uint32_t)value;
    return DS4_OK;
}

ds4_status ds4_draft_read(const ds4_gguf *g, const ds4_gguf *model, ds4_shape *s, ds4_draft_layout *layout,
                          ds4_err *err)
{
    ds4_draft_shape d = { 0 };
    uint64_t        value;

    DS4_TRY(find_layout(g, layout, err));
    DS4_TRY(check_generation(g, model, err));
    DS4_TRY(read_stages(g, *layout, s, &d.n_stages, err));
    DS4_TRY(ds4_gguf_get_u64(g, spelling(g, &block_size, *layout), 1, DS4_MAX_BLOCK - 1, &value, err));
    d.n_block = (uint32_t)value;
    DS4_TRY(ds4_gguf_get_u64(g, spelling(g, &noise_key, *layout), 0, s->n_vocab - 1, &value, err));
    d.noise = (int32_t)value;
    DS4_TRY(read_taps(g, *layout, s, &d, err));
    DS4_TRY(read_rank(g, *layout, d.n_stages, &d.n_rank, err));
    for (uint32_t i = s->n_layers; i < s->n_layers + d.n_stages; i++) {
        s->ratio[i] = 0;
        s->experts[i] = s->n_experts;
        s->clamp[i] = s->clamp[s->n_layers - 1];
    }
    s->draft = d;
    return DS4_OK;
}

ds4_status ds4_draft_open(const char *path, const ds4_gguf *model, ds4_shape *s, ds4_gguf **out,
                          ds4_draft_layout *layout, ds4_err *err)
{
    ds4_gguf *g;

    DS4_TRY(ds4_gguf_open(path, &g, err));
    const ds4_status st = ds4_draft_read(g, model, s, layout, err);
    if (st != DS4_OK) ds4_gguf_close(g);
    else *out = g;
    return st;
}

/* ---- the list ---------------------------------------------------------------------------------------- */

uint32_t ds4_draft_list(const ds4_shape *s, ds4_draft_layout layout, int32_t stage,
                        ds4_tensor_want out[DS4_MAX_WANTS])
{
    const uint64_t n_embd = s->n_embd, n_rank = s->draft.n_rank;
    char           prefix[32];

    if (stage >= 0) {
        fill_in(stage_prefix.in[layout], (uint32_t)stage, prefix, sizeof prefix);
        return ds4_tensors_list_as(s, s->n_layers + (uint32_t)stage, prefix, out);
    }
#define MATRIX .kind = DS4_TENSOR_MATRIX, .n_mats = 1, .field = offsetof
#define VECTOR .kind = DS4_TENSOR_VECTOR, .n_mats = 1, .n_out = 1, .field = offsetof
    const ds4_tensor_want all[N_WHOLE] = {
        [MAIN_PROJ] = { MATRIX(ds4_draft_weights, main_proj), .n_in = s->draft.n_taps * n_embd, .n_out =
                        n_embd },
        [MAIN_NORM] = { VECTOR(ds4_draft_weights, main_norm), .n_in = n_embd },
        [NORM] = { VECTOR(ds4_draft_weights, norm), .n_in = n_embd },
        [HC_FN] = { MATRIX(ds4_draft_weights, hc_out.fn), .n_in = s->n_hc * n_embd, .n_out = s->n_hc },
        [HC_SCALE] = { VECTOR(ds4_draft_weights, hc_out.scale), .n_in = 1 },
        [HC_BASE] = { VECTOR(ds4_draft_weights, hc_out.base), .n_in = s->n_hc },
        [MARKOV_W1] = { MATRIX(ds4_draft_weights, markov_w1), .n_in = n_rank, .n_out = s->n_vocab,
                        .by_rows = true },
        [MARKOV_W2] = { MATRIX(ds4_draft_weights, markov_w2), .n_in = n_rank, .n_out = s->n_vocab },
        [CONFIDENCE] = { VECTOR(ds4_draft_weights, confidence), .n_in = n_embd + n_rank, .may_be_coded =
                         true },
    };
#undef MATRIX
#undef VECTOR
    for (uint32_t i = 0; i < N_WHOLE; i++) {
        out[i] = all[i];
        fill_in(whole[i].in[layout], s->draft.n_stages - 1, out[i].name, sizeof out[i].name);
    }
    return N_WHOLE;
}
