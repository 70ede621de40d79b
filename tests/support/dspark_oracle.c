/* dspark_oracle.c - see dspark_oracle.h. */
#include "support/dspark_oracle.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 192 };

static const float *get(const dspark_oracle *o, int stage, const char *name)
{
    char full[96];

    if (stage >= 0)
        snprintf(full, sizeof full, "mtp.%d.%s", stage, name);
    else
        snprintf(full, sizeof full, "%s", name);
    const float *x = o->tensor(o->ctx, full);
    if (!x) {
        fprintf(stderr, "oracle: no tensor %s\n", full);
        abort();
    }
    return x;
}

static double *room(int n)
{
    double *x = calloc((size_t)n, sizeof *x);
    if (!x) abort();
    return x;
}

static void multiply(double *y, const float *w, const double *x, int n_in, int n_out)
{
    for (int r = 0; r < n_out; r++) {
        double sum = 0;
        for (int i = 0; i < n_in; i++)
            sum += (double)w[(size_t)r * (size_t)n_in + (size_t)i] * x[i];
        y[r] = sum;
    }
}

static void rms(double *y, const double *x, const float *w, int n, double eps)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    const double by = 1 / sqrt(sum / n + eps);
    for (int i = 0; i < n; i++) y[i] = x[i] * by * (w ? (double)w[i] : 1);
}

static double sigm(double x)
{
    return 1 / (1 + exp(-x));
}

/* Pairs of the last n_rot values. */
static void rope(const dspark_oracle *o, double *x, int pos, bool inverse)
{
    double *tail = x + o->n_head - o->n_rot;

    for (int i = 0; i < o->n_rot / 2; i++) {
        const double angle = pos * pow(o->rope_base, -2.0 * i / o->n_rot);
        const double c = cos(angle), s = inverse ? -sin(angle) : sin(angle);
        const double a = tail[2 * i], b = tail[2 * i + 1];
        tail[2 * i] = a * c - b * s;
        tail[2 * i + 1] = a * s + b * c;
    }
}

/* The nearest E4M3 value of at most 448; ties to the even code. */
static double e4m3(double x)
{
    const double a = fabs(x) > 448 ? 448 : fabs(x);
    int          e;

    frexp(a, &e); /* a in [2^(e-1), 2^e) */
    const double step = e - 1 < -6 ? 0x1p-9 : ldexp(1, e - 1 - 3);
    return copysign(nearbyint(a / step) * step, x);
}

static void fp8(const dspark_oracle *o, double *x)
{
    const int n = o->n_head - o->n_rot;

    for (int from = 0; o->fp8 && from < n; from += 64) {
        double most = 1e-4;
        for (int i = from; i < from + 64 && i < n; i++) most = fmax(most, fabs(x[i]));
        const double scale = exp2(ceil(log2(most / 448)));
        for (int i = from; i < from + 64 && i < n; i++) x[i] = e4m3(x[i] / scale) * scale;
    }
}

static void kv_row(const dspark_oracle *o, int stage, double *row, const double *x, int pos)
{
    multiply(row, get(o, stage, "attn_kv.weight"), x, o->n_embd, o->n_head);
    rms(row, row, get(o, stage, "attn_kv_a_norm.weight"), o->n_head, o->norm_eps);
    rope(o, row, pos, false);
    fp8(o, row);
}

/* hc_pre: streams X to u, post and comb. */
static void hc_pre(const dspark_oracle *o, int stage, const char *part, const double *X, double *u,
                   double *post, double *comb)
{
    const int n = o->n_hc, e = o->n_embd;
    char      name[3][32];
    double   *f = room(n * e), m[80], pre[8];

    snprintf(name[0], sizeof name[0], "hc_%s_fn.weight", part);
    snprintf(name[1], sizeof name[1], "hc_%s_scale.weight", part);
    snprintf(name[2], sizeof name[2], "hc_%s_base.weight", part);
    const float *scale = get(o, stage, name[1]), *base = get(o, stage, name[2]);
    rms(f, X, NULL, n * e, o->norm_eps);
    multiply(m, get(o, stage, name[0]), f, n * e, n * (2 + n));
    for (int i = 0; i < n; i++) {
        pre[i] = sigm(m[i] * (double)scale[0] + (double)base[i]) + o->hc_eps;
        post[i] = 2 * sigm(m[n + i] * (double)scale[1] + (double)base[n + i]);
        double top = -INFINITY, sum = 0, *row = comb + i * n;
        for (int j = 0; j < n; j++) {
            row[j] = m[2 * n + i * n + j] * (double)scale[2] + (double)base[2 * n + i * n + j];
            top = fmax(top, row[j]);
        }
        for (int j = 0; j < n; j++) sum += row[j] = exp(row[j] - top);
        for (int j = 0; j < n; j++) row[j] = row[j] / sum + o->hc_eps;
    }
    for (int round = 0; round < o->n_iters; round++) {
        for (int i = 0; round > 0 && i < n; i++) {
            double sum = o->hc_eps;
            for (int j = 0; j < n; j++) sum += comb[i * n + j];
            for (int j = 0; j < n; j++) comb[i * n + j] /= sum;
        }
        for (int j = 0; j < n; j++) {
            double sum = o->hc_eps;
            for (int i = 0; i < n; i++) sum += comb[i * n + j];
            for (int i = 0; i < n; i++) comb[i * n + j] /= sum;
        }
    }
    for (int d = 0; d < e; d++) {
        u[d] = 0;
        for (int s = 0; s < n; s++) u[d] += pre[s] * X[s * e + d];
    }
    free(f);
}

static void hc_post(const dspark_oracle *o, double *X, const double *y, const double *post,
                    const double *comb)
{
    const int n = o->n_hc, e = o->n_embd;
    double    old[8];

    for (int d = 0; d < e; d++) {
        for (int i = 0; i < n; i++) old[i] = X[i * e + d];
        for (int j = 0; j < n; j++) {
            X[j * e + d] = post[j] * y[d];
            for (int i = 0; i < n; i++) X[j * e + d] += comb[i * n + j] * old[i];
        }
    }
}

/* One query row over n_rows rows; y is the sublayer's output. */
static void attention(const dspark_oracle *o, int stage, const double *a, int pos,
                      const double *rows, int n_rows, double *y)
{
    const int n = o->n_head, width = o->n_heads * n, per_group = width / o->o_groups;
    double   *qr = room(o->q_rank), *q = room(width), *out = room(width),
           *low = room(o->o_groups * o->o_rank);
    const float *sink = get(o, stage, "attn_sinks.weight"),
                *woa = get(o, stage, "attn_output_a.weight");

    multiply(qr, get(o, stage, "attn_q_a.weight"), a, o->n_embd, o->q_rank);
    rms(qr, qr, get(o, stage, "attn_q_a_norm.weight"), o->q_rank, o->norm_eps);
    multiply(q, get(o, stage, "attn_q_b.weight"), qr, o->q_rank, width);
    for (int h = 0; h < o->n_heads; h++) {
        double score[MAX_ROWS], top = (double)sink[h], sum;
        rms(q + h * n, q + h * n, NULL, n, o->norm_eps);
        rope(o, q + h * n, pos, false);
        for (int r = 0; r < n_rows; r++) {
            score[r] = 0;
            for (int i = 0; i < n; i++) score[r] += q[h * n + i] * rows[r * n + i];
            score[r] /= sqrt(n);
            top = fmax(top, score[r]);
        }
        sum = exp((double)sink[h] - top);
        for (int r = 0; r < n_rows; r++) {
            const double w = exp(score[r] - top);
            sum += w;
            for (int i = 0; i < n; i++) out[h * n + i] += w * rows[r * n + i];
        }
        for (int i = 0; i < n; i++) out[h * n + i] /= sum;
        rope(o, out + h * n, pos, true);
    }
    for (int g = 0; g < o->o_groups; g++) {
        multiply(low + g * o->o_rank, woa + (size_t)(g * o->o_rank) * (size_t)per_group,
                 out + g * per_group, per_group, o->o_rank);
    }
    multiply(y, get(o, stage, "attn_output_b.weight"), low, o->o_groups * o->o_rank, o->n_embd);
    free(qr);
    free(q);
    free(out);
    free(low);
}

/* out += down(silu(min(gate x)) * clamp(up x)) * weight, for matrix i of several. */
static void expert(const dspark_oracle *o, int stage, const char *kind, int i, const double *x,
                   double weight, double *out)
{
    const int    e = o->n_embd; /* tiny models are as wide inside */
    const size_t off = (size_t)i * (size_t)e * (size_t)e;
    double      *g = room(e), *u = room(e), *d = room(e);
    char         name[64];

    snprintf(name, sizeof name, "ffn_gate_%s.weight", kind);
    multiply(g, get(o, stage, name) + off, x, e, e);
    snprintf(name, sizeof name, "ffn_up_%s.weight", kind);
    multiply(u, get(o, stage, name) + off, x, e, e);
    for (int k = 0; k < e; k++) {
        g[k] = fmin(g[k], o->clamp);
        g[k] = g[k] * sigm(g[k]) * fmax(fmin(u[k], o->clamp), -o->clamp) * weight;
    }
    snprintf(name, sizeof name, "ffn_down_%s.weight", kind);
    multiply(d, get(o, stage, name) + off, g, e, e);
    for (int k = 0; k < e; k++) out[k] += d[k];
    free(g);
    free(u);
    free(d);
}

static void mixture(const dspark_oracle *o, int stage, const double *x, double *y)
{
    const float *bias = get(o, stage, "exp_probs_b.bias");
    double       score[256], sum = 0;
    int          chosen[16];

    multiply(score, get(o, stage, "ffn_gate_inp.weight"), x, o->n_embd, o->n_experts);
    for (int i = 0; i < o->n_experts; i++) score[i] = sqrt(log1p(exp(score[i])));
    for (int k = 0; k < o->n_used; k++) {
        int best = -1;
        for (int i = 0; i < o->n_experts; i++) {
            bool taken = false;
            for (int j = 0; j < k; j++) taken |= chosen[j] == i;
            if (!taken &&
                (best < 0 || score[i] + (double)bias[i] > score[best] + (double)bias[best]))
                best = i;
        }
        chosen[k] = best;
        sum += score[best];
    }
    memset(y, 0, (size_t)o->n_embd * sizeof *y);
    for (int k = 0; k < o->n_used; k++) {
        expert(o, stage, "exps", chosen[k], x, score[chosen[k]] / sum * o->expert_scale, y);
    }
    expert(o, stage, "shexp", 0, x, 1, y);
}

/* The rows of a stage's window: positions first .. n_pos - 1. */
static void context_rows(const dspark_oracle *o, int stage, const float *streams, int first,
                         int n_pos, double *rows)
{
    const int e = o->n_embd, n_main = o->n_taps * e;
    double   *main_hidden = room(n_main), *main_x = room(e);

    for (int q = first; q < n_pos; q++) {
        for (int i = 0; i < n_main; i++) {
            const float *h =
                streams + ((size_t)q * (size_t)o->n_taps + (size_t)(i / e)) * (size_t)(o->n_hc * e);
            main_hidden[i] = 0;
            for (int s = 0; s < o->n_hc; s++) main_hidden[i] += (double)h[s * e + i % e] / o->n_hc;
        }
        multiply(main_x, get(o, 0, "main_proj.weight"), main_hidden, n_main, e);
        rms(main_x, main_x, get(o, 0, "main_norm.weight"), e, o->norm_eps);
        kv_row(o, stage, rows + (q - first) * o->n_head, main_x, q);
    }
    free(main_hidden);
    free(main_x);
}

static void run_stage(const dspark_oracle *o, int stage, const float *streams, int n_pos, int from,
                      double *X)
{
    const int n = o->n_hc, e = o->n_embd, g = o->n_block;
    int       first = n_pos > o->n_window ? n_pos - o->n_window : 0;
    double   *rows = room(MAX_ROWS * o->n_head), *a = room(g * e), *u = room(e), *y = room(e);
    double   *post = room(g * n), *comb = room(g * n * n), ffn_post[8], ffn_comb[64];

    if (first < from) first = from;
    context_rows(o, stage, streams, first, n_pos, rows);
    for (int i = 0; i < g; i++) {
        hc_pre(o, stage, "attn", X + i * n * e, u, post + i * n, comb + i * n * n);
        rms(a + i * e, u, get(o, stage, "attn_norm.weight"), e, o->norm_eps);
        kv_row(o, stage, rows + (n_pos - first + i) * o->n_head, a + i * e, n_pos + i);
    }
    for (int i = 0; i < g; i++) {
        attention(o, stage, a + i * e, n_pos + i, rows, n_pos - first + g, y);
        hc_post(o, X + i * n * e, y, post + i * n, comb + i * n * n);
        hc_pre(o, stage, "ffn", X + i * n * e, u, ffn_post, ffn_comb);
        rms(u, u, get(o, stage, "ffn_norm.weight"), e, o->norm_eps);
        mixture(o, stage, u, y);
        hc_post(o, X + i * n * e, y, ffn_post, ffn_comb);
    }
    free(rows);
    free(a);
    free(u);
    free(y);
    free(post);
    free(comb);
}

/* The drafter's own reduction of streams. */
static void hc_head(const dspark_oracle *o, const double *X, double *x)
{
    const int    n = o->n_hc, e = o->n_embd, last = o->n_stages - 1;
    const float *base = get(o, last, "hc_head_base.weight");
    const double scale = (double)get(o, last, "hc_head_scale.weight")[0];
    double      *f = room(n * e), m[8];

    rms(f, X, NULL, n * e, o->norm_eps);
    multiply(m, get(o, last, "hc_head_fn.weight"), f, n * e, n);
    memset(x, 0, (size_t)e * sizeof *x);
    for (int s = 0; s < n; s++) {
        const double t = sigm(m[s] * scale + (double)base[s]) + o->hc_eps;
        for (int d = 0; d < e; d++) x[d] += t * X[s * e + d];
    }
    free(f);
}

void dspark_oracle_draft(const dspark_oracle *o, const float *streams, int n_pos, int from,
                         int next, int *token, double *chance, double *margin)
{
    const int    n = o->n_hc, e = o->n_embd, r = o->n_rank, last = o->n_stages - 1;
    const float *embd = get(o, -1, "token_embd.weight"),
                *w1 = get(o, last, "markov_head.markov_w1.weight");
    const float *wc = get(o, last, "confidence_head.proj.weight");
    double *X = room(o->n_block * n * e), *x = room(e), *normed = room(e), *U = room(o->n_vocab);
    double *bias = room(o->n_vocab), *m = room(r);

    for (int i = 0; i < o->n_block * n * e; i++) {
        const int id = i / (n * e) == 0 ? next : o->noise;
        X[i] = (double)embd[(size_t)id * (size_t)e + (size_t)(i % e)];
    }
    for (int s = 0; s < o->n_stages; s++) run_stage(o, s, streams, n_pos, from, X);
    for (int i = 0, prev = next; i < o->n_block; i++) {
        hc_head(o, X + i * n * e, x);
        rms(normed, x, get(o, last, "norm.weight"), e, o->norm_eps);
        multiply(U, get(o, -1, "output.weight"), normed, e, o->n_vocab);
        for (int k = 0; k < r; k++) m[k] = (double)w1[(size_t)prev * (size_t)r + (size_t)k];
        multiply(bias, get(o, last, "markov_head.markov_w2.weight"), m, r, o->n_vocab);
        double best = -INFINITY, second = -INFINITY, c = 0;
        for (int v = 0; v < o->n_vocab; v++) {
            const double l = U[v] + bias[v];
            if (l > best) {
                second = best;
                best = l;
                token[i] = v;
            } else if (l > second) {
                second = l;
            }
        }
        for (int k = 0; k < e; k++) c += (double)wc[k] * x[k];
        for (int k = 0; k < r; k++) c += (double)wc[e + k] * m[k];
        chance[i] = sigm(c);
        margin[i] = best - second;
        prev = token[i];
    }
    free(X);
    free(x);
    free(normed);
    free(U);
    free(bias);
    free(m);
}
