/* interval.c - see interval.h. */
#include "app/eval/interval.h"

#include <math.h>
#include <stddef.h>

static double sum_of(const double *x, size_t stride, uint32_t n)
{
    double sum = 0;

    for (uint32_t i = 0; i < n; i++) sum += x[i * stride];
    return sum;
}

/* The sum of x over that of y; both lie `stride` doubles apart. half is infinite for a single text. */
static ds4_interval ratio(const double *x, const double *y, size_t stride, uint32_t n)
{
    const double all_y = sum_of(y, stride, n), value = sum_of(x, stride, n) / all_y;
    double       squares = 0;

    for (uint32_t i = 0; i < n; i++) {
        const double off = x[i * stride] - value * y[i * stride];
        squares += off * off;
    }
    const double variance = n > 1 ? squares * n / (n - 1) / (all_y * all_y) : INFINITY;
    return (ds4_interval){ value, 1.96 * sqrt(variance) };
}

enum { STRIDE = sizeof(ds4_chunk_score) / sizeof(double) };

ds4_score_summary ds4_summarize(const ds4_chunk_score *s, uint32_t n)
{
    const ds4_interval nll = ratio(&s->nll, &s->n, STRIDE, n);

    return (ds4_score_summary){
        .kld = ratio(&s->kld, &s->n, STRIDE, n),
        .same = ratio(&s->same, &s->n, STRIDE, n),
        .ppl = { exp(nll.value), exp(nll.value) * nll.half },   /* its slope times the interval */
        .base_ppl = exp(ratio(&s->base_nll, &s->n, STRIDE, n).value),
    };
}

ds4_interval ds4_kld_ratio(const ds4_chunk_score *a, const ds4_chunk_score *b, uint32_t n)
{
    double all_a = 0, all_b = 0, squares = 0;

    for (uint32_t i = 0; i < n; i++) {
        all_a += a[i].kld;
        all_b += b[i].kld;
    }
    const double value = all_a / all_b;
    for (uint32_t i = 0; i < n; i++) {
        const double off = a[i].kld - value * b[i].kld;
        squares += off * off;
    }
    return (ds4_interval){ value, n > 1 ? 1.96 * sqrt(squares * n / (n - 1)) / all_b : INFINITY };
}
