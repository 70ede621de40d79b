/* convert.c - see convert.h. */
#include "app/quantize/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/quantize/vocab_put.h"
#include "app/quantize/slab.h"
#include "base/file.h"

typedef struct converter {
    const convert_options *opt;
    const ds4_checkpoint  *checkpoint;
    const hf_config       *config;
    const hf_dspark       *dspark;      /* NULL: another part */
    ds4_gguf_writer       *writer;
    slab                  *slab;
} converter;

static void note(const converter *c, const char *text)
{
    if (c->opt->note) c->opt->note(c->opt->ctx, text);
}

/* ---- tensors ----------------------------------------------------------------------------- */

static ds4_status find_matrix(const converter *c, const tensor_plan *t, uint32_t expert, source *out,
                              ds4_err *err)
{
    char           name[160];
    const uint64_t n_rows = t->n_dims == 1 ? 1 : t->dim[1];

    plan_source_name(t, expert, name);
    DS4_TRY(source_find(c->checkpoint, name, c->config->fp8_rows, c->config->fp8_columns, out, err));
    if (out->n_columns != t->dim[0] || out->n_rows != n_rows) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "tensor \"%s\" is %llu x %llu, but config.json makes it %llu x %llu", name,
                        (unsigned long long)out->n_rows, (unsigned long long)out->n_columns,
                        (unsigned long long)n_rows, (unsigned long long)t->dim[0]);
    }
    return DS4_OK;
}

/* Token to expert ids; indices, so each is checked. */
static ds4_status find_table(const converter *c, const tensor_plan *t, const ds4_st_tensor **out,
                             ds4_err *err)
{
    const ds4_st_tensor *s = ds4_checkpoint_find(c->checkpoint, t->from);

    if (!s) return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%s\" is missing", c->opt->from, t->from);
    if ((s->dtype != DS4_ST_I64 && s->dtype != DS4_ST_I32) || s->n_dims != 2 || s->dim[0] != t->dim[1] ||
        s->dim[1] != t->dim[0]) {
        return ds4_fail(err, DS4_E_FORMAT, "tensor \"%s\" is not I64 of %llu x %llu", t->from,
                        (unsigned long long)t->dim[1], (unsigned long long)t->dim[0]);
    }
    *out = s;
    return DS4_OK;
}

/* Bytes that came from files which are still whole may be marked as safe. */
static ds4_status keep_so_far(const converter *c, ds4_err *err)
{
    DS4_TRY(ds4_checkpoint_check(c->checkpoint, err));
    return ds4_gguf_writer_mark(c->writer, c->opt->save_every, err);
}

static ds4_status write_table(converter *c, const tensor_plan *t, ds4_err *err)
{
    const ds4_st_tensor *s = NULL;
    uint8_t              entry[4] = { 0 };

    DS4_TRY(find_table(c, t, &s, err));
    if (ds4_gguf_writer_has(c->writer, s->n_elems * sizeof entry)) return DS4_OK;
    const uint32_t bytes = ds4_st_dtype_bytes(s->dtype);
    for (uint64_t i = 0; i < s->n_elems; i++) {
        const uint8_t *p = s->data + i * bytes;
        uint64_t       id = 0;
        for (uint32_t k = bytes; k-- > 0;) id = id << 8 | p[k];
        if (id >= c->config->n_experts) {
            return ds4_fail(err, DS4_E_FORMAT, "tensor \"%s\": entry %llu is not an expert in 0..%u", t->from,
                            (unsigned long long)i, c->config->n_experts - 1);
        }
        for (int k = 0; k < 4; k++) entry[k] = (uint8_t)(id >> (8 * k));
        DS4_TRY(ds4_gguf_writer_append(c->writer, entry, sizeof entry, err));
    }
    return keep_so_far(c, err);
}

static uint32_t n_parts(const tensor_plan *t)
{
    return t->n_dims == 3 ? (uint32_t)t->dim[2] : 1;
}

static ds4_status write_tensor(converter *c, const tensor_plan *t, ds4_err *err)
{
    if (t->dtype == DS4_I32) return write_table(c, t, err);
    for (uint32_t e = 0; e < n_parts(t); e++) {
        source from;
        DS4_TRY(find_matrix(c, t, e, &from, err));
        const float *weights = NULL;
        DS4_TRY(importance_of(c->opt->weights, t->name, e, n_parts(t), from.n_columns, &weights, err));
        DS4_TRY(slab_write(c->slab, &from, t->dtype, weights, c->writer, err));
        DS4_TRY(keep_so_far(c, err));
    }
    return DS4_OK;
}

/* ---- before the first byte ------------------------------------------------------------------ */

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const ds4_st_tensor *const *)a)->name, (*(const ds4_st_tensor *const *)b)->name);
}

/* Does a tensor belong to the part? Biases for image tokens do not: text alone is drafted. */
static bool is_of_part(const converter *c, const char *name)
{
    const size_t n = strlen(name), n_end = strlen(".bias_vl");

    if (c->opt->part == PART_MODEL) return true;
    return strncmp(name, "mtp.", 4) == 0 && !(n > n_end && strcmp(name + n - n_end, ".bias_vl") == 0);
}

/* Tell about tensors that nothing is made from. In a support file that is an error: a drafter that lacks a
 * tensor still runs, and only guesses badly. */
static ds4_status check_unused(const converter *c, const ds4_st_tensor **used, size_t n_used, ds4_err *err)
{
    const ds4_st_tensor *first = NULL;
    uint32_t             n_unused = 0;
    char                 text[256];

    qsort((void *)used, n_used, sizeof *used, compare_names);
    for (uint32_t i = 0; i < ds4_checkpoint_count(c->checkpoint); i++) {
        const ds4_st_tensor *t = ds4_checkpoint_at(c->checkpoint, i);
        if (!is_of_part(c, t->name) || bsearch(&t, (const void *)used, n_used, sizeof *used, compare_names)) {
            continue;
        }
        if (n_unused++ == 0) first = t;
    }
    if (n_unused == 0) return DS4_OK;
    if (c->opt->part != PART_MODEL) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%u tensors \"mtp.*\" have no place in the file, the first is \"%.100s\"", n_unused,
                        first->name);
    }
    snprintf(text, sizeof text, "%u tensors of the checkpoint are not used, the first is \"%.100s\"",
             n_unused, first->name);
    note(c, text);
    return DS4_OK;
}

/* Find everything and check every shape, so that nothing is discovered hours later. */
static ds4_status check_sources(const converter *c, const plan *p, ds4_err *err)
{
    ds4_status            st = DS4_OK;
    size_t                n_used = 0;
    const ds4_st_tensor **used = calloc((size_t)ds4_checkpoint_count(c->checkpoint) + 1, sizeof *used);

    if (!used) return ds4_fail(err, DS4_E_NOMEM, "no memory for the list of tensors");
    for (uint32_t i = 0; st == DS4_OK && i < p->n; i++) {
        const tensor_plan *t = &p->tensors[i];
        if (t->dtype == DS4_I32) {
            st = find_table(c, t, &used[n_used], err);
            n_used += st == DS4_OK;
            continue;
        }
        for (uint32_t e = 0; st == DS4_OK && e < n_parts(t); e++) {
            source s;
            st = find_matrix(c, t, e, &s, err);
            if (st != DS4_OK) break;
            /* Names are distinct, so that there are at most as many as the checkpoint has. */
            used[n_used++] = s.weight;
            if (s.scale) used[n_used++] = s.scale;
        }
    }
    if (st == DS4_OK) st = check_unused(c, used, n_used, err);
    free((void *)used);
    return st;
}

static void note_other_types(const converter *c, const plan *p)
{
    char text[256];

    for (uint32_t i = 0; i < p->n; i++) {
        const tensor_plan *t = &p->tensors[i];
        if (t->dtype == t->wanted) continue;
        snprintf(text, sizeof text, "\"%s\" becomes %s: its rows of %llu are no whole blocks of %s",
                 t->name, ds4_dtype_get(t->dtype)->name, (unsigned long long)t->dim[0],
                 ds4_dtype_get(t->wanted)->name);
        note(c, text);
    }
}

/* ---- the file ---------------------------------------------------------------------------------- */

/* The last part of a path. */
static ds4_slice last_part(const char *path)
{
    size_t n = strlen(path), from;

    while (n > 1 && path[n - 1] == '/') n--;
    for (from = n; from > 0 && path[from - 1] != '/'; from--) continue;
    return (ds4_slice){ path + from, n - from };
}

static ds4_slice name_or(const converter *c, ds4_slice usual)
{
    return c->opt->name ? (ds4_slice){ c->opt->name, strlen(c->opt->name) } : usual;
}

/* Support files have these keys and no others: no vocabulary, no type of the file, no sizes. */
static void put_support_keys(const converter *c)
{
    ds4_gguf_writer *w = c->writer;

    if (c->opt->part == PART_DSPARK) {
        ds4_gguf_put_string(w, "general.architecture", DS4_SLICE("deepseek4-dspark"));
        ds4_gguf_put_string(w, "general.name", name_or(c, DS4_SLICE("DeepSeek V4 Flash DSpark support")));
        ds4_gguf_put_u32(w, "general.alignment", DS4_GGUF_ALIGNMENT);
        hf_dspark_put(c->dspark, c->config, w);
        return;
    }
    ds4_gguf_put_string(w, "general.architecture", DS4_SLICE("deepseek4_mtp_support"));
    ds4_gguf_put_string(w, "general.name", name_or(c, DS4_SLICE("DeepSeek V4 Flash MTP support")));
    ds4_gguf_put_u32(w, "deepseek4.expert_count", c->config->n_experts);
    ds4_gguf_put_u32(w, "deepseek4.mtp_layer_count", 1);
    ds4_gguf_put_u32(w, "deepseek4.nextn_predict_layers", 1);
}

static ds4_status put_keys(const converter *c, const plan *p, ds4_err *err)
{
    const convert_options *opt = c->opt;
    ds4_gguf_writer       *w = c->writer;
    ds4_str                path = { 0 };
    bool                   has_mtp = false;

    if (opt->part != PART_MODEL) {
        put_support_keys(c);
        return DS4_OK;
    }
    ds4_gguf_put_string(w, "general.architecture", DS4_SLICE("deepseek4"));
    ds4_gguf_put_string(w, "general.type", DS4_SLICE("model"));
    ds4_gguf_put_string(w, "general.name", name_or(c, last_part(opt->from)));
    ds4_gguf_put_u32(w, "general.file_type", opt->types->file_type);
    ds4_gguf_put_u32(w, "general.quantization_version", 2);
    importance_put_keys(opt->weights, w);
    DS4_TRY(hf_sampling_put(opt->from, w, err));
    hf_config_put(c->config, w);
    for (uint32_t i = 0; i < p->n; i++) has_mtp |= strncmp(p->tensors[i].name, "mtp.", 4) == 0;
    ds4_gguf_put_u32(w, "deepseek4.nextn_predict_layers", has_mtp ? 1 : 0);
    ds4_str_addf(&path, "%s/tokenizer.json", opt->from);
    const ds4_status st = vocab_put(ds4_str_text(&path), c->config->n_vocab, w, err);
    ds4_str_clear(&path);
    return st;
}

/* Room for the longest row of any tensor. */
static ds4_status take_memory(converter *c, const plan *p, ds4_err *err)
{
    slab_options room = { .n_threads = c->opt->n_threads, .effort = c->opt->effort, .cancel = c->opt->cancel,
                          .out = c->opt->out };

    for (uint32_t i = 0; i < p->n; i++) {
        const tensor_plan *t = &p->tensors[i];
        const uint64_t     row_bytes = ds4_row_bytes(t->dtype, t->dim[0]);
        if (t->dim[0] > room.n_columns) room.n_columns = t->dim[0];
        if (row_bytes > room.row_bytes) room.row_bytes = row_bytes;
    }
    return slab_create(&c->slab, &room, err);
}

/* The bytes depend on keys and entries, on the shards and on this version's encoders. */
static ds4_status begin(converter *c, ds4_err *err)
{
    ds4_str from = { 0 };

    ds4_str_addf(&from, "%s\n", DS4_VERSION);
    ds4_checkpoint_describe(c->checkpoint, &from);
    importance_describe(c->opt->weights, &from);
    if (c->opt->effort != DS4_ENCODE_BEST) ds4_str_add_text(&from, "standard encoders\n");
    ds4_status st = from.failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for the names of shards") : DS4_OK;
    if (st == DS4_OK) {
        st = ds4_gguf_writer_begin_partial(c->writer, c->opt->out, from.data, from.n_bytes, c->opt->resume,
                                           err);
    }
    ds4_str_clear(&from);
    return st;
}

static ds4_status write_file(converter *c, const plan *p, convert_result *out, ds4_err *err)
{
    const convert_options *opt = c->opt;
    ds4_gguf              *check = NULL;

    for (uint32_t i = 0; i < p->n; i++) {
        const tensor_plan *t = &p->tensors[i];
        ds4_gguf_declare(c->writer, t->name, t->dtype, t->n_dims, t->dim);
    }
    DS4_TRY(begin(c, err));
    for (uint32_t i = 0; i < p->n; i++) {
        const convert_progress at = { i, p->n, p->tensors[i].name };
        if (opt->progress) opt->progress(opt->ctx, &at);
        DS4_TRY(write_tensor(c, &p->tensors[i], err));
    }
    DS4_TRY(ds4_gguf_writer_finish(c->writer, err));
    out->n_tensors = p->n;
    out->file_bytes = ds4_gguf_writer_bytes(c->writer);
    if (!ds4_file_exists(opt->out)) return DS4_OK;      /* a pipe cannot be read again */
    DS4_TRY(ds4_gguf_open(opt->out, &check, err));      /* our own reader has the last word */
    ds4_gguf_close(check);
    return DS4_OK;
}

/* A file about other tensors than these would change nothing, silently. */
static ds4_status check_importance(const converter *c, const plan *p, ds4_err *err)
{
    for (uint32_t i = 0; i < p->n; i++) {
        if (importance_knows(c->opt->weights, p->tensors[i].name)) return DS4_OK;
    }
    return ds4_fail(err, DS4_E_FORMAT, "%s: has nothing about any tensor of the model",
                    c->opt->weights->path);
}

static ds4_status convert(converter *c, plan *p, convert_result *out, ds4_err *err)
{
    DS4_TRY(plan_make(p, c->opt->part, c->config, c->dspark, c->opt->types, c->checkpoint, err));
    DS4_TRY(check_sources(c, p, err));
    DS4_TRY(check_importance(c, p, err));
    note_other_types(c, p);
    DS4_TRY(take_memory(c, p, err));
    DS4_TRY(ds4_gguf_writer_create(&c->writer, 0, err));
    DS4_TRY(put_keys(c, p, err));
    return write_file(c, p, out, err);
}

ds4_status convert_checkpoint(const convert_options *opt, convert_result *out, ds4_err *err)
{
    ds4_checkpoint *checkpoint = NULL;
    hf_config       config;
    hf_dspark       dspark;
    plan            p = { 0 };
    ds4_status      st = DS4_OK;

    DS4_TRY(hf_config_read(opt->from, &config, err));
    DS4_TRY(ds4_checkpoint_open(opt->from, &checkpoint, err));
    converter c = { .opt = opt, .checkpoint = checkpoint, .config = &config };
    if (opt->part == PART_DSPARK) {
        c.dspark = &dspark;
        st = hf_dspark_read(opt->from, &config, checkpoint, &dspark, err);
    }
    if (st == DS4_OK) st = convert(&c, &p, out, err);
    plan_clear(&p);
    ds4_gguf_writer_free(c.writer);
    slab_free(c.slab);
    ds4_checkpoint_close(checkpoint);
    return st;
}
