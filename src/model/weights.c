/* weights.c - see weights.h. */
#include "model/weights.h"

#include "base/file.h"
#include "kernels/kernels.h"
#include "model/dense_read.h"
#include "model/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Binding stops at the first refusal: later calls do nothing and the status stays. */
typedef struct binder {
    const ds4_gguf    *g;
    const ds4_shape   *s;
    const ds4_backend *backend;
    ds4_dev           *dev;
    ds4_weights       *w;
    const uint8_t     *base;        /* first byte of the mapped tensors */
    ds4_kernels        k;           /* to decode vectors that are not float32 */
    uint32_t           layer;
    const char        *prefix;      /* "blk.7." or "" */
    uint64_t           n_floats;    /* used of the vector buffer */
    uint64_t           max_floats;
    bool               stream;
    ds4_dense_copy    *copies;      /* [n_copies] with stream: what goes to memory */
    uint32_t           n_copies;
    uint64_t           n_dense;     /* used of the dense buffer */
    ds4_err           *err;
    ds4_status         st;
} binder;

static const ds4_gguf_tensor *find(binder *b, const char *name, char full[96])
{
    snprintf(full, 96, "%s%s", b->prefix, name);
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(b->g, full);
    if (!t) b->st = ds4_fail(b->err, DS4_E_FORMAT, "%s: tensor \"%s\" is missing", ds4_gguf_path(b->g), full);
    return t;
}

static bool has_dims(const ds4_gguf_tensor *t, uint64_t d0, uint64_t d1, uint64_t d2)
{
    return t->dim[0] == d0 && t->dim[1] == d1 && t->dim[2] == d2 && t->dim[3] == 1;
}

static void refuse_dims(binder *b, const char *full, const ds4_gguf_tensor *t, uint64_t d0,
                        uint64_t d1, uint64_t d2)
{
    b->st = ds4_fail(b->err, DS4_E_FORMAT,
                     "%s: tensor \"%s\" is %llu x %llu x %llu, expected %llu x %llu x %llu",
                     ds4_gguf_path(b->g), full, (unsigned long long)t->dim[0],
                     (unsigned long long)t->dim[1], (unsigned long long)t->dim[2],
                     (unsigned long long)d0, (unsigned long long)d1, (unsigned long long)d2);
}

static ds4_view file_view(const binder *b, const ds4_gguf_tensor *t)
{
    return (ds4_view){ b->w->file, (uint64_t)(t->data - b->base) };
}

static uint64_t dense_bytes(const ds4_gguf_tensor *t)
{
    return (t->n_bytes + 63) / 64 * 64;
}

/* What every token needs: in the mapping, or in memory beside streamed experts. */
static ds4_view dense_view(binder *b, const ds4_gguf_tensor *t)
{
    if (!b->stream) return file_view(b, t);
    const ds4_view at = { b->w->dense, b->n_dense };
    b->copies[b->n_copies++] = (ds4_dense_copy){ .offset = ds4_gguf_tensor_offset(b->g, t),
                                                 .n_bytes = t->n_bytes, .to = at.off };
    b->n_dense += dense_bytes(t);
    return at;
}

static bool is_routed(ds4_slice name)
{
    static const char end[] = "_exps.weight";
    const size_t      n = sizeof end - 1;
    return name.n_bytes >= n && memcmp(name.data + name.n_bytes - n, end, n) == 0;
}

static ds4_use use_of(const ds4_gguf_tensor *t)
{
    return is_routed(t->name) ? DS4_USE_EXPERTS : ds4_plan_is_rows(t) ? DS4_USE_ROWS : DS4_USE_ALWAYS;
}

/* Streamed experts have no place but in the file; the embedding stays there. */
static ds4_view matrix_view(binder *b, const ds4_gguf_tensor *t)
{
    if (b->stream && is_routed(t->name)) return (ds4_view){ NULL, ds4_gguf_tensor_offset(b->g, t) };
    if (ds4_slice_eq(t->name, DS4_SLICE("token_embd.weight"))) return file_view(b, t);
    return dense_view(b, t);
}

/* n_mats matrices [n_out][n_in]; experts count as active only as far as they are used. */
static void matrices(binder *b, ds4_matrix *out, const char *name, uint64_t n_in, uint64_t n_out,
                     uint32_t n_mats)
{
    char full[96];

    if (b->st != DS4_OK) return;
    const ds4_gguf_tensor *t = find(b, name, full);
    if (!t) return;
    const ds4_dtype_info *type = ds4_dtype_get(t->dtype);
    if (!type || !type->is_matrix) {
        b->st = ds4_fail(b->err, DS4_E_UNSUPPORTED,
                         "%s: tensor \"%s\" has type %s, for which there is no product",
                         ds4_gguf_path(b->g), full, type ? type->name : "unknown");
        return;
    }
    if (!has_dims(t, n_in, n_out, n_mats)) {
        refuse_dims(b, full, t, n_in, n_out, n_mats);
        return;
    }
    *out = (ds4_matrix){ .at = matrix_view(b, t),
                         .dtype = t->dtype,
                         .n_in = (uint32_t)n_in,
                         .n_out = (uint32_t)n_out,
                         .n_mats = n_mats,
                         .use = use_of(t),
                         .row_bytes = ds4_row_bytes(t->dtype, n_in) };
    b->w->n_params += n_in * n_out * n_mats;
    b->w->n_params_active += n_in * n_out * (n_mats > 1 ? b->s->n_used : 1);
}

static void matrix(binder *b, ds4_matrix *out, const char *name, uint64_t n_in, uint64_t n_out)
{
    matrices(b, out, name, n_in, n_out, 1);
}

static ds4_view add_floats(binder *b, const float *x, uint64_t n)
{
    const ds4_view at = { b->w->vectors, b->n_floats * sizeof(float) };

    if (b->st != DS4_OK) return at;
    if (n > b->max_floats - b->n_floats) {
        b->st = ds4_fail(b->err, DS4_E_FORMAT, "%s: vectors of more than %llu values", ds4_gguf_path(b->g),
                         (unsigned long long)b->max_floats);
        return at;
    }
    b->st = b->backend->write(b->dev, at, x, n * sizeof *x, b->err);
    b->n_floats += n;
    return at;
}

/* A small tensor of [n_rows][n] floats, whatever its type in the file. */
static void vectors(binder *b, ds4_view *out, const char *name, uint64_t n, uint64_t n_rows)
{
    char full[96];

    if (b->st != DS4_OK) return;
    const ds4_gguf_tensor *t = find(b, name, full);
    if (!t) return;
    if (t->dtype != DS4_F32 && t->dtype != DS4_F16 && t->dtype != DS4_BF16) {
        const ds4_dtype_info *type = ds4_dtype_get(t->dtype);
        b->st = ds4_fail(b->err, DS4_E_UNSUPPORTED,
                         "%s: tensor \"%s\" has type %s, expected F32, F16 or BF16",
                         ds4_gguf_path(b->g), full, type ? type->name : "unknown");
        return;
    }
    if (!has_dims(t, n, n_rows, 1)) {
        refuse_dims(b, full, t, n, n_rows, 1);
        return;
    }
    float *x = malloc(n * n_rows * sizeof *x);
    if (!x) {
        b->st = ds4_fail(b->err, DS4_E_NOMEM, "no memory for tensor \"%s\"", full);
        return;
    }
    b->k.decode[t->dtype](x, t->data, n * n_rows);
    *out = add_floats(b, x, n * n_rows);
    free(x);
    b->w->n_params += n * n_rows;
    b->w->n_params_active += n * n_rows;
}

static void vector(binder *b, ds4_view *out, const char *name, uint64_t n)
{
    vectors(b, out, name, n, 1);
}

/* Token ids to expert ids; every entry is checked, because it is used as an index. */
static void token_table(binder *b, ds4_view *out, const char *name)
{
    const ds4_shape *s = b->s;
    char             full[96];

    if (b->st != DS4_OK) return;
    const ds4_gguf_tensor *t = find(b, name, full);
    if (!t) return;
    if (t->dtype != DS4_I32 || !has_dims(t, s->n_used, s->n_vocab, 1)) {
        b->st = ds4_fail(b->err, DS4_E_FORMAT, "%s: tensor \"%s\" is not an I32 table of %u x %u",
                         ds4_gguf_path(b->g), full, s->n_used, s->n_vocab);
        return;
    }
    for (uint64_t i = 0; i < (uint64_t)s->n_used * s->n_vocab; i++) {
        int32_t expert;
        memcpy(&expert, t->data + i * sizeof expert, sizeof expert);
        if (expert < 0 || (uint32_t)expert >= s->n_experts) {
            b->st = ds4_fail(
                b->err, DS4_E_FORMAT, "%s: tensor \"%s\": entry %llu is expert %d, expected 0..%u",
                ds4_gguf_path(b->g), full, (unsigned long long)i, expert, s->n_experts - 1);
            return;
        }
    }
    *out = dense_view(b, t);
}

/* ---- the inventory -------------------------------------------------------------------------- */

static void bind_attention(binder *b, ds4_layer_weights *l)
{
    const ds4_shape *s = b->s;
    const uint64_t   hc_out = s->n_hc * (2 + s->n_hc), q_out = (uint64_t)s->n_heads * s->n_head;

    matrix(b, &l->hc_attn.fn, "hc_attn_fn.weight", (uint64_t)s->n_hc * s->n_embd, hc_out);
    vector(b, &l->hc_attn.scale, "hc_attn_scale.weight", 3);
    vector(b, &l->hc_attn.base, "hc_attn_base.weight", hc_out);
    vector(b, &l->attn_norm, "attn_norm.weight", s->n_embd);
    matrix(b, &l->q_a, "attn_q_a.weight", s->n_embd, s->q_rank);
    vector(b, &l->q_a_norm, "attn_q_a_norm.weight", s->q_rank);
    matrix(b, &l->q_b, "attn_q_b.weight", s->q_rank, q_out);
    matrix(b, &l->kv, "attn_kv.weight", s->n_embd, s->n_head);
    vector(b, &l->kv_norm, "attn_kv_a_norm.weight", s->n_head);
    vector(b, &l->sink, "attn_sinks.weight", s->n_heads);
    matrix(b, &l->o_a, "attn_output_a.weight", q_out / s->o_groups, (uint64_t)s->o_groups * s->o_rank);
    matrix(b, &l->o_b, "attn_output_b.weight", (uint64_t)s->o_groups * s->o_rank, s->n_embd);
}

static void bind_compressors(binder *b, ds4_layer_weights *l)
{
    const ds4_shape *s = b->s;
    const uint32_t   ratio = s->ratio[b->layer], both = ratio == 4 ? 2 : 1;

    if (ratio == 0) return;
    matrix(b, &l->comp.kv, "attn_compressor_kv.weight", s->n_embd, both * s->n_head);
    matrix(b, &l->comp.gate, "attn_compressor_gate.weight", s->n_embd, both * s->n_head);
    vectors(b, &l->comp.ape, "attn_compressor_ape.weight", both * s->n_head, ratio);
    vector(b, &l->comp.norm, "attn_compressor_norm.weight", s->n_head);
    if (ratio != 4) return;
    matrix(b, &l->index_q, "indexer.attn_q_b.weight", s->q_rank, (uint64_t)s->index_heads * s->n_index);
    matrix(b, &l->index_w, "indexer.proj.weight", s->n_embd, s->index_heads);
    matrix(b, &l->icomp.kv, "indexer_compressor_kv.weight", s->n_embd, 2 * s->n_index);
    matrix(b, &l->icomp.gate, "indexer_compressor_gate.weight", s->n_embd, 2 * s->n_index);
    vectors(b, &l->icomp.ape, "indexer_compressor_ape.weight", 2 * s->n_index, 4);
    vector(b, &l->icomp.norm, "indexer_compressor_norm.weight", s->n_index);
}

static void bind_experts(binder *b, ds4_layer_weights *l)
{
    const ds4_shape *s = b->s;
    const uint64_t   hc_out = s->n_hc * (2 + s->n_hc);
    char             full[96];

    matrix(b, &l->hc_ffn.fn, "hc_ffn_fn.weight", (uint64_t)s->n_hc * s->n_embd, hc_out);
    vector(b, &l->hc_ffn.scale, "hc_ffn_scale.weight", 3);
    vector(b, &l->hc_ffn.base, "hc_ffn_base.weight", hc_out);
    vector(b, &l->ffn_norm, "ffn_norm.weight", s->n_embd);
    matrix(b, &l->router, "ffn_gate_inp.weight", s->n_embd, s->n_experts);
    if (b->layer < s->n_hash) {
        token_table(b, &l->token_experts, "ffn_gate_tid2eid.weight");
    } else {
        snprintf(full, sizeof full, "%sexp_probs_b.bias", b->prefix);
        if (ds4_gguf_tensor_find(b->g, full)) vector(b, &l->router_bias, "exp_probs_b.bias", s->n_experts);
    }
    matrices(b, &l->gate, "ffn_gate_exps.weight", s->n_embd, s->n_ffn, s->n_experts);
    matrices(b, &l->up, "ffn_up_exps.weight", s->n_embd, s->n_ffn, s->n_experts);
    matrices(b, &l->down, "ffn_down_exps.weight", s->n_ffn, s->n_embd, s->n_experts);
    matrix(b, &l->shared_gate, "ffn_gate_shexp.weight", s->n_embd, s->n_ffn);
    matrix(b, &l->shared_up, "ffn_up_shexp.weight", s->n_embd, s->n_ffn);
    matrix(b, &l->shared_down, "ffn_down_shexp.weight", s->n_ffn, s->n_embd);
    if (b->st == DS4_OK && (l->gate.dtype != l->up.dtype || l->shared_gate.dtype != l->shared_up.dtype)) {
        b->st = ds4_fail(b->err, DS4_E_UNSUPPORTED, "%s: layer %u: gate and up experts have different types",
                         ds4_gguf_path(b->g), b->layer);
    }
}

static void bind_globals(binder *b)
{
    const ds4_shape *s = b->s;
    ds4_weights     *w = b->w;
    float            freq[256];

    b->prefix = "";
    matrix(b, &w->embed, "token_embd.weight", s->n_embd, s->n_vocab);
    const ds4_gguf_tensor *table = ds4_gguf_tensor_find(b->g, "token_embd.weight");
    if (table) ds4_map_expect_random(table->data, table->n_bytes);
    matrix(b, &w->head, "output.weight", s->n_embd, s->n_vocab);
    vector(b, &w->out_norm, "output_norm.weight", s->n_embd);
    matrix(b, &w->hc_out.fn, "output_hc_fn.weight", (uint64_t)s->n_hc * s->n_embd, s->n_hc);
    vector(b, &w->hc_out.scale, "output_hc_scale.weight", 1);
    vector(b, &w->hc_out.base, "output_hc_base.weight", s->n_hc);
    /* One row of the embedding is read for a token, not the table. */
    w->n_params_active -= b->st == DS4_OK ? (uint64_t)s->n_embd * (s->n_vocab - 1) : 0;
    ds4_shape_frequencies(s, false, freq);
    w->freq_plain = add_floats(b, freq, s->n_rot / 2);
    ds4_shape_frequencies(s, true, freq);
    w->freq_compressed = add_floats(b, freq, s->n_rot / 2);
}

/* Room for the vectors: what the file has in small tensors, as floats. */
static uint64_t count_floats(const ds4_gguf *g, const ds4_shape *s)
{
    uint64_t n = s->n_rot;
    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(g, i);
        if (t->dtype == DS4_F32 || t->dim[1] <= 128) n += t->n_bytes / 2;
    }
    return n;
}

static ds4_status map_file(binder *b)
{
    const uint8_t *first = NULL, *end = NULL;

    for (uint32_t i = 0; i < ds4_gguf_n_tensors(b->g); i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(b->g, i);
        if (!first || t->data < first) first = t->data;
        if (!end || t->data + t->n_bytes > end) end = t->data + t->n_bytes;
    }
    if (!first) {
        return ds4_fail(b->err, DS4_E_FORMAT, "%s: no tensors: a vocabulary is not a model",
                        ds4_gguf_path(b->g));
    }
    b->base = first;
    return b->backend->map(b->dev, first, (uint64_t)(end - first), &b->w->file, b->err);
}

static void bind_all(binder *b, ds4_weights *out)
{
    char prefix[24];

    bind_globals(b);
    for (uint32_t i = 0; b->st == DS4_OK && i < b->s->n_layers; i++) {
        snprintf(prefix, sizeof prefix, "blk.%u.", i);
        b->prefix = prefix;
        b->layer = i;
        bind_attention(b, &out->layer[i]);
        bind_compressors(b, &out->layer[i]);
        bind_experts(b, &out->layer[i]);
    }
    out->has_mtp = ds4_gguf_tensor_find(b->g, "mtp.0.e_proj.weight") != NULL;
}

/* Room for every tensor that is neither a routed expert nor of the MTP block. */
static ds4_status reserve_dense(binder *b)
{
    uint64_t       n_bytes = 0;
    const uint32_t n = ds4_gguf_n_tensors(b->g);

    for (uint32_t i = 0; i < n; i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(b->g, i);
        const bool             is_mtp = t->name.n_bytes > 4 && memcmp(t->name.data, "mtp.", 4) == 0;
        if (!is_mtp && !is_routed(t->name)) n_bytes += dense_bytes(t);
    }
    b->copies = malloc(n * sizeof *b->copies);
    if (!b->copies) return ds4_fail(b->err, DS4_E_NOMEM, "no memory for a list of %u tensors", n);
    return b->backend->alloc(b->dev, n_bytes, &b->w->dense, b->err);
}

ds4_status ds4_weights_open(ds4_weights *out, const ds4_gguf *g, const ds4_shape *s, bool stream,
                            const ds4_backend *backend, ds4_dev *dev, ds4_err *err)
{
    binder b = { .g = g, .s = s, .backend = backend, .dev = dev, .w = out, .stream = stream,
                 .err = err, .st = DS4_OK };

    *out = (ds4_weights){ 0 };
    ds4_kernels_init(&b.k, 0);
    DS4_TRY(map_file(&b));
    b.max_floats = count_floats(g, s);
    DS4_TRY(backend->alloc(dev, b.max_floats * sizeof(float), &out->vectors, err));
    if (stream) DS4_TRY(reserve_dense(&b));
    bind_all(&b, out);
    if (stream && b.st == DS4_OK) {
        b.st = ds4_dense_read(ds4_gguf_path(g), b.copies, b.n_copies, backend, dev, out->dense, err);
    }
    free(b.copies);
    return b.st;
}

void ds4_weights_close(ds4_weights *w, const ds4_backend *backend, ds4_dev *dev)
{
    backend->free(dev, w->vectors);
    backend->free(dev, w->dense);
    backend->free(dev, w->file);
    *w = (ds4_weights){ 0 };
}
