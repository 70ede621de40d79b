/* collect.c - see collect.h. */
#include "app/eval/collect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MATRICES = 8, NONE = -1 };

/* Matrices that read the output of an operation. Matrices beside each other in an operation read the same. */
typedef struct reader {
    const char *op;
    const char *matrix[MAX_MATRICES];   /* ends with NULL */
} reader;

static const reader readers[] = {
    { "attn.enter", { "attn_q_a", "attn_kv", "attn_compressor_kv", "attn_compressor_gate",
                      "indexer_compressor_kv", "indexer_compressor_gate", "indexer.proj" } },
    { "attn.q_a_norm", { "attn_q_b", "indexer.attn_q_b" } },
    { "attn.attend", { "attn_output_a" } },
    { "attn.o_a", { "attn_output_b" } },
    { "ffn.enter", { "ffn_gate_inp", "ffn_gate_shexp", "ffn_up_shexp" } },
};
enum { N_READERS = sizeof readers / sizeof *readers };

/* Routed experts: of these rows only those that an expert was chosen for. */
static const char *const routed[] = { "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps" };

/* Entries of a layer as places in the list; NONE: this layer lacks the matrix. */
typedef struct layer_entries {
    int32_t of_reader[N_READERS][MAX_MATRICES];
    int32_t routed[3];
} layer_entries;

struct ds4_collector {
    ds4_imatrix   *to;
    uint32_t       n_layers;
    layer_entries *layer;               /* [n_layers] */
    double        *sums;                /* [n_sums] squares of one matrix and one step */
    uint64_t       n_sums;
    float         *normed;              /* [n_tokens][n_embd] the layer's expert input */
    float         *chosen;              /* [n_tokens][n_used] numbers of experts */
    uint64_t       n_normed, n_chosen;  /* room for so many floats */
    uint32_t       n_embd, n_used, n_tokens;
    bool           failed, bad;         /* memory; a value that is no number */
};

static ds4_status find_entry(ds4_collector *c, const ds4_gguf *file, uint32_t layer, const char *base,
                             int32_t *at, ds4_err *err)
{
    char name[DS4_IMATRIX_MAX_NAME + 1];

    *at = NONE;
    snprintf(name, sizeof name, "blk.%u.%s.weight", layer, base);
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(file, name);
    if (!t) return DS4_OK;
    ds4_imatrix_entry *e = ds4_imatrix_find(c->to, name);
    if (!e) e = ds4_imatrix_add(c->to, name, t->dim[0], t->dim[2]);
    if (!e) return ds4_fail(err, DS4_E_NOMEM, "no memory for the importance of \"%s\"", name);
    if (e->n_columns != t->dim[0] || e->n_mats != t->dim[2]) {
        return ds4_fail(err, DS4_E_FORMAT, "importance of \"%s\" is that of another model", name);
    }
    if (t->dim[0] > c->n_sums) c->n_sums = t->dim[0];
    *at = (int32_t)(e - c->to->entries);
    return DS4_OK;
}

static ds4_status find_layer(ds4_collector *c, const ds4_gguf *file, uint32_t layer, ds4_err *err)
{
    layer_entries *l = &c->layer[layer];

    for (int i = 0; i < N_READERS; i++) {
        for (int k = 0; k < MAX_MATRICES; k++) {
            l->of_reader[i][k] = NONE;
            if (!readers[i].matrix[k]) continue;
            DS4_TRY(find_entry(c, file, layer, readers[i].matrix[k], &l->of_reader[i][k], err));
        }
    }
    for (int k = 0; k < 3; k++) DS4_TRY(find_entry(c, file, layer, routed[k], &l->routed[k], err));
    return DS4_OK;
}

ds4_status ds4_collector_create(ds4_collector **out, ds4_imatrix *to, const ds4_gguf *file, uint32_t n_layers,
                                ds4_err *err)
{
    ds4_collector *c = calloc(1, sizeof *c);
    ds4_status     st = DS4_OK;

    if (!c) return ds4_fail(err, DS4_E_NOMEM, "no memory to watch a model");
    c->to = to;
    c->n_layers = n_layers;
    c->layer = calloc(n_layers, sizeof *c->layer);
    if (!c->layer) st = ds4_fail(err, DS4_E_NOMEM, "no memory to watch %u layers", n_layers);
    for (uint32_t i = 0; st == DS4_OK && i < n_layers; i++) st = find_layer(c, file, i, err);
    if (st == DS4_OK) c->sums = malloc((c->n_sums + 1) * sizeof *c->sums);
    if (st == DS4_OK && !c->sums) st = ds4_fail(err, DS4_E_NOMEM, "no memory to watch a model");
    if (st == DS4_OK) *out = c;
    else ds4_collector_free(c);
    return st;
}

void ds4_collector_free(ds4_collector *c)
{
    if (!c) return;
    free(c->layer);
    free(c->sums);
    free(c->normed);
    free(c->chosen);
    free(c);
}

/* ---- sums ----------------------------------------------------------------------------------------- */

static void begin_sums(ds4_collector *c, uint64_t n)
{
    memset(c->sums, 0, n * sizeof *c->sums);
}

static void add_row(ds4_collector *c, const float *row, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) c->sums[i] += (double)row[i] * (double)row[i];
}

/* The step's sums become part of row `mat` of an entry. */
static void end_sums(ds4_collector *c, int32_t at, uint64_t mat, double n_rows)
{
    ds4_imatrix_entry *e = &c->to->entries[at];

    for (uint64_t i = 0; i < e->n_columns; i++) {
        if (!isfinite(c->sums[i])) c->bad = true;
        e->sum[mat * e->n_columns + i] += (float)c->sums[i];
    }
    e->count[mat] += (float)n_rows;
}

/* All tokens count. A matrix whose groups read parts of a row has as many rows a token. */
static void count_all(ds4_collector *c, const int32_t entries[MAX_MATRICES], uint32_t n_tokens, uint32_t n,
                      const float *values)
{
    uint64_t summed = 0;                /* columns of the sums that are there */

    for (int k = 0; k < MAX_MATRICES; k++) {
        if (entries[k] == NONE) continue;
        const uint64_t n_columns = c->to->entries[entries[k]].n_columns;
        if (n % n_columns != 0) continue;
        const uint64_t n_rows = (uint64_t)n_tokens * n / n_columns;
        if (summed != n_columns) {
            begin_sums(c, n_columns);
            for (uint64_t r = 0; r < n_rows; r++) add_row(c, values + r * n_columns, n_columns);
            summed = n_columns;
        }
        end_sums(c, entries[k], 0, (double)n_rows);
    }
}

/* Rows of the tokens that chose an expert. Of gate and up each rank of a token reads the same row, of down
 * its own. */
static void count_chosen(ds4_collector *c, const int32_t *entries, int n_entries, const float *rows,
                         bool by_rank)
{
    if (entries[0] == NONE) return;
    const uint64_t n_mats = c->to->entries[entries[0]].n_mats, n = c->to->entries[entries[0]].n_columns;
    for (uint64_t e = 0; e < n_mats; e++) {
        uint32_t n_rows = 0;
        for (uint64_t i = 0; i < (uint64_t)c->n_tokens * c->n_used; i++) {
            if (c->chosen[i] != (float)e) continue;
            if (n_rows++ == 0) begin_sums(c, n);
            add_row(c, rows + (by_rank ? i : i / c->n_used) * n, n);
        }
        for (int k = 0; k < n_entries && n_rows > 0; k++) {
            if (entries[k] != NONE) end_sums(c, entries[k], e, n_rows);
        }
    }
}

/* Keep a copy of rows until the operation that needs them. */
static bool keep(ds4_collector *c, float **to, uint64_t *room, const float *values, uint64_t n)
{
    if (n > *room) {
        float *larger = realloc(*to, n * sizeof *larger);
        if (!larger) {
            c->failed = true;
            return false;
        }
        *to = larger;
        *room = n;
    }
    memcpy(*to, values, n * sizeof *values);
    return true;
}

void ds4_collector_watch(void *ctx, const char *name, int32_t layer, uint32_t n_tokens, uint32_t n_values,
                         const float *values)
{
    ds4_collector *c = ctx;
    const uint64_t n = (uint64_t)n_tokens * n_values;

    if (layer < 0 || (uint32_t)layer >= c->n_layers || c->failed) return;
    const layer_entries *l = &c->layer[layer];
    for (int i = 0; i < N_READERS; i++) {
        if (strcmp(name, readers[i].op) == 0) count_all(c, l->of_reader[i], n_tokens, n_values, values);
    }
    if (strcmp(name, "ffn.enter") == 0 && keep(c, &c->normed, &c->n_normed, values, n)) c->n_embd = n_values;
    if (strcmp(name, "ffn.route.experts") == 0 && keep(c, &c->chosen, &c->n_chosen, values, n)) {
        c->n_used = n_values;
        c->n_tokens = n_tokens;
        const bool fits = l->routed[0] != NONE && c->to->entries[l->routed[0]].n_columns == c->n_embd;
        if (fits) count_chosen(c, l->routed, 2, c->normed, false);
    }
    if (strcmp(name, "ffn.experts.inputs") == 0 && l->routed[2] != NONE && c->n_tokens == n_tokens) {
        const bool fits = c->to->entries[l->routed[2]].n_columns * c->n_used == n_values;
        if (fits) count_chosen(c, l->routed + 2, 1, values, true);
    }
}

ds4_status ds4_collector_check(const ds4_collector *c, ds4_err *err)
{
    if (c->failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for what the experts read");
    if (c->bad) return ds4_fail(err, DS4_E_FORMAT, "the model computes values that are no numbers");
    return DS4_OK;
}
