/* ops_product.c - weight matrices times activations, and the experts. docs/MODEL.md 3, 3.10 and 9. */
#include "ops/ops.h"

#include "backend/expert_cache.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GAP = 3, MOST_ROWS = 48, MOST_TOKENS = 40 }; /* of a large product that are compared */

/* Item i of those that are compared: all of few, else some that are drawn. */
static uint32_t item(ops *o, uint32_t i, uint32_t n, uint32_t most)
{
    return n <= most ? i : i + 1 == most ? n - 1 : ops_below(o, n);
}

static uint32_t lesser(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ---- products ------------------------------------------------------------------------------------- */

/* How far off rounding activations to int8 may take a product, eight standard deviations: blocks of
 * 32 or 256 values have steps of their largest one / 127. */
static double rounding(uint32_t dtype, const float *w, const float *x, uint32_t n)
{
    const ds4_act  act = ds4_act_of(dtype);
    const uint32_t block = act == DS4_ACT_Q32 ? 32 : 256;
    double         sum = 0.0;

    if (act == DS4_ACT_F32) return 0.0;
    for (uint32_t i = 0; i < n; i += block) {
        double most = 0.0, squares = 0.0;
        for (uint32_t j = i; j < i + block; j++) {
            most = fmax(most, fabs((double)x[j]));
            squares += (double)w[j] * (double)w[j];
        }
        sum += squares * (most / 127.0) * (most / 127.0) / 12.0;
    }
    return 8.0 * sqrt(sum);
}

typedef struct product {
    const ops_weights *w;
    const ops_array   *x;
    ops_array         *y;
    uint32_t           x_stride, y_stride, n_rows;
    bool               precise;
} product;

static void expect_product(ops *o, const product *p)
{
    const uint32_t n_in = p->w->w.n_in, n_out = p->w->w.n_out, n = n_out * p->w->w.n_mats;
    float         *w = malloc(n_in * sizeof *w);

    for (uint32_t i = 0; i < lesser(n, MOST_ROWS); i++) {
        const uint32_t r = item(o, i, n, MOST_ROWS), m = r / n_out;
        ops_decode(o, p->w, r, w);
        for (uint32_t j = 0; j < lesser(p->n_rows, MOST_TOKENS); j++) {
            const uint32_t t = item(o, j, p->n_rows, MOST_TOKENS);
            const float   *x = ops_host(p->x) + (uint64_t)t * p->x_stride + (uint64_t)m * n_in;
            double         sum = 0.0, size = 0.0;
            for (uint32_t k = 0; k < n_in; k++) {
                const double part = (double)w[k] * (double)x[k];
                sum += part;
                size += fabs(part);
            }
            const double most =
                8e-6 * size + (p->precise ? 0.0 : rounding(p->w->w.dtype, w, x, n_in)) + 1e-30;
            ops_near(o, (double)ops_found(o, p->y)[(uint64_t)t * p->y_stride + r], sum, most, "product", t,
                     r);
        }
    }
    free(w);
    for (uint32_t t = 0; t < p->n_rows; t++) {
        const uint64_t at = (uint64_t)t * p->y_stride + n;
        if (memcmp(ops_found(o, p->y) + at, ops_host(p->y) + at, (p->y_stride - n) * sizeof(float)) != 0)
            ops_fail(o, "the gap behind row %u was written", t);
    }
}

static product make_product(ops *o, uint32_t n_in, uint32_t n_out, uint32_t n_mats, uint32_t n_rows,
                            bool precise)
{
    const uint32_t dtype = ops_dtype_of(o), n = ops_whole_blocks(dtype, n_in);
    product        p = {
               .x_stride = n * n_mats, .y_stride = n_out * n_mats + 3, .n_rows = n_rows, .precise = precise
    };

    p.w = ops_matrix(o, dtype, n, n_out, n_mats, DS4_USE_ALWAYS);
    p.x = ops_floats(o, (uint64_t)n_rows * p.x_stride);
    p.y = ops_room(o, (uint64_t)n_rows * p.y_stride * sizeof(float));
    return p;
}

static ds4_product part_of(const product *p)
{
    const bool many = p->w->w.n_mats > 1;
    return (ds4_product){ .w = p->w->w,
                          .x = ops_rows(p->x, p->x_stride),
                          .y = ops_rows(p->y, p->y_stride),
                          .x_step = many ? p->w->w.n_in : 0,
                          .y_step = many ? p->w->w.n_out : 0,
                          .precise = p->precise };
}

/* Products side by side: two of one input, one of several matrices, one of few rows. */
static void project_all(ops *o, bool precise)
{
    const ops_shape *s = o->shape;
    const uint32_t   n = o->n_tokens, n_out = lesser(s->q_rank, 4096);
    ops_plain_batch(o, 10);
    product p[] = { make_product(o, s->n_embd, n_out, 1, n, precise),
                    make_product(o, s->n_embd, 17, 1, n, precise),
                    make_product(o, s->n_head, 9, s->o_groups, n, precise) };
    p[1].x = p[0].x;
    const ds4_product parts[] = { part_of(&p[0]), part_of(&p[1]), part_of(&p[2]) };
    ops_run(o, (ds4_op){ .kind = DS4_OP_PROJECT, .project = { .n = 3, .part = parts } });
    for (int i = 0; i < 3; i++) expect_product(o, &p[i]);

    /* A single one of few rows is shared by tokens. */
    const product     alone = make_product(o, s->n_hc * s->n_embd, s->n_hc * (2 + s->n_hc), 1, n, precise);
    const ds4_product one = part_of(&alone);
    ops_run(o, (ds4_op){ .kind = DS4_OP_PROJECT, .project = { .n = 1, .part = &one } });
    expect_product(o, &alone);
}

void ops_project(ops *o)
{
    project_all(o, true);
}

void ops_project_int8(ops *o)
{
    project_all(o, false);
}

void ops_project_head(ops *o)
{
    ops_plain_batch(o, 10);
    const product     p = make_product(o, o->shape->n_embd, lesser(o->shape->n_vocab, 2000), 1,
                                       o->limits.max_logit_rows, false);
    const ds4_product one = part_of(&p);
    ops_run(o, (ds4_op){ .kind = DS4_OP_PROJECT, .project = { .n = 1, .is_head = true, .part = &one } });
    expect_product(o, &p);
}

/* ---- experts --------------------------------------------------------------------------------------- */

typedef struct experts {
    uint32_t           n_embd, n_ffn, n_experts, n_used;
    const ops_weights *part[6]; /* gate, up, down of the routed and of the shared experts */
    int32_t           *chosen;  /* [n_tokens][n_used] */
    const ops_array   *expert, *weight, *x;
    ops_array         *y;
} experts;

/* Ordinary inputs are such that the first products are about as large as a model's: not all clamped. */
static ops_array *inputs(ops *o, const ops_weights *gate, uint64_t n)
{
    float *x = malloc((n > gate->w.n_in ? n : gate->w.n_in) * sizeof *x);
    double squares = 0.0;

    ops_decode(o, gate, 0, x);
    for (uint32_t i = 0; i < gate->w.n_in; i++) squares += (double)x[i] * (double)x[i];
    const float by = o->fill == OPS_ORDINARY && squares > 0.0 ? (float)(2.0 / sqrt(squares)) : 1.0f;
    for (uint64_t i = 0; i < n; i++) x[i] = ops_value(o) * by;
    ops_array *a = ops_bytes(o, x, n * sizeof *x);
    free(x);
    return a;
}

static experts make_experts(ops *o, uint32_t n_most)
{
    const ops_shape *s = o->shape;
    const uint32_t   dtype = ops_dtype_of(o);
    experts          e = { .n_embd = ops_whole_blocks(dtype, s->n_embd),
                           .n_ffn = ops_whole_blocks(dtype, s->n_ffn),
                           .n_experts = lesser(s->n_experts, n_most),
                           .n_used = lesser(s->n_used, n_most) };

    ops_plain_batch(o, 10);
    for (uint32_t i = 0; i < 6; i++) {
        const bool down = i % 3 == 2, shared = i >= 3;
        e.part[i] = ops_matrix(o, shared && e.n_embd % 32 == 0 && e.n_ffn % 32 == 0 ? DS4_Q8_0 : dtype,
                               down ? e.n_ffn : e.n_embd, down ? e.n_embd : e.n_ffn, shared ? 1 : e.n_experts,
                               shared ? DS4_USE_ALWAYS : DS4_USE_EXPERTS);
    }
    const uint64_t n = (uint64_t)o->n_tokens * e.n_used;
    e.chosen = ops_memory(o, n * sizeof *e.chosen);
    for (uint64_t i = 0; i < n; i++) e.chosen[i] = (int32_t)ops_below(o, e.n_experts);
    e.expert = ops_bytes(o, e.chosen, n * sizeof *e.chosen);
    e.weight = ops_floats(o, n);
    e.x = inputs(o, e.part[0], (uint64_t)o->n_tokens * e.n_embd);
    e.y = ops_room(o, (uint64_t)o->n_tokens * (e.n_embd + GAP) * sizeof(float));
    return e;
}

static ds4_op experts_op(const experts *e)
{
    return (ds4_op){ .kind = DS4_OP_EXPERTS,
                     .experts = { .n_used = e->n_used,
                                  .clamp = 10.0f,
                                  .gate = e->part[0]->w,
                                  .up = e->part[1]->w,
                                  .down = e->part[2]->w,
                                  .shared_gate = e->part[3]->w,
                                  .shared_up = e->part[4]->w,
                                  .shared_down = e->part[5]->w,
                                  .expert = ops_view(e->expert),
                                  .weight = ops_rows(e->weight, e->n_used),
                                  .x = ops_rows(e->x, e->n_embd),
                                  .y = ops_rows(e->y, e->n_embd + GAP) } };
}

/* Row r of a matrix times x, and how far off a backend may be. */
static double dot_row(ops *o, const ops_weights *m, uint64_t r, const float *x, float *w, double *off)
{
    const uint32_t n = m->w.n_in;
    double         sum = 0.0, size = 0.0;

    ops_decode(o, m, r, w);
    for (uint32_t i = 0; i < n; i++) {
        const double part = (double)w[i] * (double)x[i];
        sum += part;
        size += fabs(part);
    }
    *off = 8e-6 * size + rounding(m->w.dtype, w, x, n);
    return sum;
}

static double activated(double g, double u, double weight)
{
    g = fmin(g, 10.0);
    u = fmax(fmin(u, 10.0), -10.0);
    return g / (1.0 + exp(-g)) * u * weight;
}

/* Value i between an expert's products, and how far off it may be. */
static double middle_of(ops *o, const experts *e, const ops_weights *const *part, uint32_t which, uint32_t i,
                        const float *x, double weight, float *w, double *off)
{
    double       g_off, u_off;
    const double g = dot_row(o, part[0], (uint64_t)which * e->n_ffn + i, x, w, &g_off);
    const double u = dot_row(o, part[1], (uint64_t)which * e->n_ffn + i, x, w, &u_off);
    const double middle = activated(g, u, weight);

    *off = 0;
    for (int k = 0; k < 9; k++) {
        const double there = activated(g + (k % 3 - 1) * g_off, u + (k / 3 - 1) * u_off, weight);
        *off = fmax(*off, fabs(there - middle));
    }
    return middle;
}

/* y += what one expert makes of x; off += the square of how far off that may be: what lies between the two
 * halves moves as far as its inputs may, each on its own. */
static void add_expert(ops *o, const experts *e, uint32_t t, uint32_t which, bool shared, double weight,
                       double *y, double *off)
{
    const ops_weights *const *part = e->part + (shared ? 3 : 0);
    const float              *x = ops_host(e->x) + (uint64_t)t * e->n_embd;
    const uint32_t            n_most = e->n_ffn > e->n_embd ? e->n_ffn : e->n_embd;
    float                    *w = malloc(n_most * sizeof *w), *h = malloc(e->n_ffn * sizeof *h);
    double                   *h_off = calloc(e->n_ffn, sizeof *h_off);

    for (uint32_t i = 0; i < e->n_ffn; i++) {
        h[i] = (float)middle_of(o, e, part, which, i, x, weight, w, &h_off[i]);
    }
    float *most = malloc(e->n_ffn * sizeof *most); /* its step grows with what the largest may be */
    for (uint32_t i = 0; i < e->n_ffn; i++) most[i] = fabsf(h[i]) + (float)h_off[i];
    for (uint32_t r = 0; r < e->n_embd; r++) {
        double own, squares = 0.0;
        y[r] += dot_row(o, part[2], (uint64_t)which * e->n_embd + r, h, w, &own);
        own += rounding(part[2]->w.dtype, w, most, e->n_ffn);
        for (uint32_t i = 0; i < e->n_ffn; i++) squares += (double)w[i] * (double)w[i] * h_off[i] * h_off[i];
        off[r] += own * own + squares;
    }
    free(most);
    free(h_off);
    free(h);
    free(w);
}

/* Extreme products may leave a value that is clamped anywhere between the clamps. */
static void expect_experts(ops *o, const experts *e)
{
    const double   far = o->fill == OPS_EXTREME ? 4.0 : 1.0;
    const uint32_t n = lesser(o->n_tokens, 6);
    double        *y = malloc(2ull * e->n_embd * sizeof *y), *off = y + e->n_embd;

    for (uint32_t i = 0; i < n; i++) {
        const uint32_t t = item(o, i, o->n_tokens, 6);
        memset(y, 0, 2ull * e->n_embd * sizeof *y);
        for (uint32_t s = 0; s < e->n_used; s++) {
            add_expert(o, e, t, (uint32_t)e->chosen[t * e->n_used + s], false,
                       (double)ops_host(e->weight)[t * e->n_used + s], y, off);
        }
        add_expert(o, e, t, 0, true, 1.0, y, off);
        for (uint32_t r = 0; r < e->n_embd; r++) {
            ops_near(o, (double)ops_found(o, e->y)[(uint64_t)t * (e->n_embd + GAP) + r], y[r],
                     far * sqrt(off[r]) + 1e-6 * fabs(y[r]) + 1e-30, "experts", t, r);
        }
    }
    free(y);
    for (uint32_t k = 0; k < o->n_tokens; k++) {
        const uint64_t at = (uint64_t)k * (e->n_embd + GAP) + e->n_embd;
        if (memcmp(ops_found(o, e->y) + at, ops_host(e->y) + at, GAP * sizeof(float)) != 0)
            ops_fail(o, "the gap behind row %u was written", k);
    }
}

void ops_experts(ops *o)
{
    const experts e = make_experts(o, 16);

    ops_run(o, experts_op(&e));
    expect_experts(o, &e);
}

/* Inputs of the down products of the chosen experts, pair by pair. */
static void expect_inputs(ops *o, const experts *e, ops_array *inputs)
{
    const double   far = o->fill == OPS_EXTREME ? 4.0 : 1.0;
    const uint32_t n = lesser(o->n_tokens, 6);
    float         *w = malloc(e->n_embd * sizeof *w);

    for (uint32_t i = 0; i < n * e->n_used; i++) {
        const uint32_t t = item(o, i / e->n_used, o->n_tokens, 6), pair = t * e->n_used + i % e->n_used;
        const float   *x = ops_host(e->x) + (uint64_t)t * e->n_embd;
        const float   *found = ops_found(o, inputs) + (uint64_t)pair * e->n_ffn;
        for (uint32_t k = 0; k < e->n_ffn; k++) {
            double       off;
            const double wanted = middle_of(o, e, e->part, (uint32_t)e->chosen[pair], k, x,
                                            (double)ops_host(e->weight)[pair], w, &off);
            ops_near(o, (double)found[k], wanted, far * off + 1e-6 * fabs(wanted) + 1e-30, "inputs", pair, k);
        }
    }
    free(w);
}

/* Kept when they are asked for, which changes nothing else. */
void ops_experts_inputs(ops *o)
{
    const experts e = make_experts(o, 8);
    ops_array    *inputs = ops_room(o, (uint64_t)o->n_tokens * e.n_used * e.n_ffn * sizeof(float));
    ds4_op        op = experts_op(&e);

    op.experts.inputs = ops_rows(inputs, e.n_used * e.n_ffn);
    ops_run(o, op);
    expect_experts(o, &e);
    expect_inputs(o, &e, inputs);
}

/* ---- streamed experts ------------------------------------------------------------------------------ */

/* Routed experts in a file, as a model has them. */
static ds4_expert_cache *open_cache(ops *o, const experts *e, char path[256])
{
    const char       *out = getenv("OUT");
    ds4_expert_layer  layer = { 0 };
    ds4_expert_cache *cache;
    uint64_t          off = 0;
    ds4_err           err;

    snprintf(path, 256, "%.160s/%ld.ops_experts", out && access(out, W_OK) == 0 ? out : "build",
             (long)getpid());
    FILE *file = fopen(path, "wb");
    if (!file) ops_fail(o, "%s cannot be written", path);
    layer.n_experts = e->n_experts;
    for (int i = 0; i < 3; i++) {
        layer.matrix[i].offset = off;
        layer.matrix[i].n_bytes = e->part[i]->n_bytes / e->n_experts;
        off += e->part[i]->n_bytes;
        fwrite(e->part[i]->bytes, 1, e->part[i]->n_bytes, file);
    }
    if (fclose(file) != 0) ops_fail(o, "%s cannot be written", path);
    const char *const     paths[] = { path };
    const ds4_expert_file f = { .paths = paths,
                                .n_files = 1,
                                .n_layers = 1,
                                .n_experts = e->n_experts,
                                .n_used = e->n_used,
                                .layer = &layer };
    if (ds4_expert_cache_open(&cache, &f, ds4_expert_cache_least(&f) * 8, NULL, &err) != DS4_OK) {
        unlink(path);
        ops_fail(o, "%s", err.text);
    }
    return cache;
}

/* Run an operation that may be refused, and close the cache in both cases. */
static void run_cached(ops *o, ds4_op op, ds4_expert_cache *cache, const char *path)
{
    jmp_buf end;

    memcpy(&end, &o->end, sizeof end);
    if (setjmp(o->end) != 0) {
        ds4_expert_cache_close(cache);
        unlink(path);
        longjmp(end, 1);
    }
    ops_run(o, op);
    memcpy(&o->end, &end, sizeof end);
}

/* Streamed experts give the bits of experts in memory: where weights come from does not show. */
void ops_experts_streamed(ops *o)
{
    const experts     e = make_experts(o, 16);
    char              path[256];
    ds4_expert_cache *cache = open_cache(o, &e, path);
    ds4_op            op = experts_op(&e);

    op.experts.cache = cache;
    op.experts.gate.layout = op.experts.up.layout = op.experts.down.layout = NULL;
    run_cached(o, op, cache, path);
    expect_experts(o, &e);
    const uint64_t n_bytes = e.y->n_bytes;
    uint8_t       *streamed = ops_memory(o, n_bytes);
    memcpy(streamed, ops_found(o, e.y), n_bytes);
    ops_run(o, experts_op(&e));
    ops_same_bytes(o, e.y, streamed, "resident and streamed experts");
    ds4_expert_cache_close(cache);
    unlink(path);
}

/* Visit the first experts of a list, as many as a cache reads ahead, and count those that nobody had asked
 * for. */
static uint64_t misses_of(ops *o, const experts *e, ds4_expert_cache *cache, const int32_t *order)
{
    uint32_t         count[64] = { 0 }, n;
    ds4_expert_ready ready[64];
    ds4_expert_stats before, after;
    ds4_err          err;
    ds4_status       st;

    ds4_expert_cache_get_stats(cache, &before);
    for (uint32_t i = 0; i < lesser(e->n_experts, before.n_entries / 4); i++) count[order[i]] = 1;
    ds4_expert_cache_begin(cache, 0, count, 1);
    do st = ds4_expert_cache_next(cache, ready, &n, &err);
    while (st == DS4_OK && n > 0);
    ds4_expert_cache_end(cache);
    if (st != DS4_OK) ops_fail(o, "%s", err.text);
    ds4_expert_cache_get_stats(cache, &after);
    return after.n_misses - before.n_misses;
}

static void prefetch_one(ops *o, const experts *e, bool by_token)
{
    enum { VOCAB = 10 }; /* as make_experts() draws tokens */
    const uint32_t    n = e->n_experts, n_rows = by_token ? VOCAB : o->n_tokens;
    char              path[256];
    ds4_expert_cache *cache = open_cache(o, e, path);
    int32_t          *list = ops_memory(o, (uint64_t)n_rows * n * sizeof *list);

    /* Every token names all experts, in one order, the first ones likeliest. */
    for (uint32_t i = 0; i < n; i++) list[i] = (int32_t)i;
    for (uint32_t i = n; i-- > 1;) {
        const uint32_t j = ops_below(o, i + 1);
        const int32_t  x = list[i];
        list[i] = list[j];
        list[j] = x;
    }
    for (uint32_t r = 1; r < n_rows; r++) memcpy(list + (uint64_t)r * n, list, n * sizeof *list);
    const ops_array *a = ops_bytes(o, list, (uint64_t)n_rows * n * sizeof *list);
    const ds4_op     op = { .kind = DS4_OP_PREFETCH,
                            .prefetch = { .cache = cache,
                                          .n_used = n,
                                          .by_token = by_token,
                                          .table = ops_view(a),
                                          .expert = ops_view(a) } };
    run_cached(o, op, cache, path);
    ops_unchanged(o);
    const uint64_t n_misses = misses_of(o, e, cache, list);
    ds4_expert_cache_close(cache);
    unlink(path);
    if (n_misses) ops_fail(o, "%llu experts were not asked for", (unsigned long long)n_misses);
}

/* Nothing changes, but the likeliest experts have been asked for. A device without streamed experts
 * does nothing. */
void ops_prefetch(ops *o)
{
    const experts e = make_experts(o, 16);

    ops_run(o, experts_op(&e)); /* somebody visits the experts, else nobody reads ahead */
    ops_found(o, e.y);
    if (strcmp(o->backend->name, "cpu") == 0 || strcmp(o->backend->name, "far") == 0) {
        prefetch_one(o, &e, false);
        prefetch_one(o, &e, true);
    }
}
