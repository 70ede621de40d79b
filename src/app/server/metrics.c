/* metrics.c - see metrics.h. */
#include "app/server/metrics.h"

/* Bounds in seconds that suit both a small model and one that streams its experts from a disk. */
static const double wait_bounds[] = { 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,   2.5,
                                      5,     10,    20,   40,    80,   160, 320,  640, 1280 };
static const double step_bounds[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075,
                                      0.1,   0.15,   0.2,   0.3,  0.5,   0.75, 1,
                                      2.5,   5,      10,    20,   40 };
static const double token_bounds[] = { 1,     2,      5,      10,     20,     50,    100,
                                       200,   500,    1000,   2000,   5000,   10000, 20000,
                                       50000, 100000, 200000, 500000, 1000000 };

#define BOUNDS(h, list) ((h)->bounds = (list), (h)->n_bounds = sizeof(list) / sizeof *(list))

void ds4_metrics_init(ds4_metrics *m)
{
    BOUNDS(&m->first_token, wait_bounds);
    BOUNDS(&m->queue, wait_bounds);
    BOUNDS(&m->whole, wait_bounds);
    BOUNDS(&m->prefill, wait_bounds);
    BOUNDS(&m->decode, wait_bounds);
    BOUNDS(&m->between_tokens, step_bounds);
    BOUNDS(&m->prompt_tokens, token_bounds);
    BOUNDS(&m->generated_tokens, token_bounds);
}

void ds4_metrics_request(ds4_metrics *m, ds4_api api, int status)
{
    if (status > 0 && status < DS4_METRICS_STATUSES) atomic_fetch_add(&m->n_status[api][status], 1);
}

static void add_time(ds4_histogram *h, uint64_t ns)
{
    if (ns > 0) ds4_histogram_add(h, (double)ns / 1e9);
}

void ds4_metrics_answer(ds4_metrics *m, const ds4_answered *a)
{
    atomic_fetch_add(&m->n_finish[a->finish], 1);
    add_time(&m->first_token, a->first_ns);
    add_time(&m->queue, a->wait_ns);
    add_time(&m->prefill, a->prefill_ns);
    add_time(&m->decode, a->generate_ns);
    add_time(&m->whole, a->whole_ns);
    if (a->n_prompt == 0) return;
    ds4_histogram_add(&m->prompt_tokens, a->n_prompt);
    ds4_histogram_add(&m->generated_tokens, a->n_generated);
}
