/* metrics.h - what is counted of requests and answers, for /metrics (metrics_page.c). */
#ifndef DS4_APP_SERVER_METRICS_H
#define DS4_APP_SERVER_METRICS_H

#include "app/server/request.h"
#include "base/histogram.h"

enum { DS4_METRICS_STATUSES = 600, DS4_METRICS_FINISHES = DS4_FINISH_LOOP + 1 };

typedef struct ds4_metrics {
    atomic_ullong n_status[DS4_API_OTHER + 1][DS4_METRICS_STATUSES];    /* requests by API and status */
    atomic_ullong n_finish[DS4_METRICS_FINISHES];                       /* answers by how they ended */
    ds4_histogram first_token, queue, whole, prefill, decode;           /* seconds */
    ds4_histogram between_tokens;                                       /* filled by the scheduler */
    ds4_histogram prompt_tokens, generated_tokens;
} ds4_metrics;

/* An answer that has ended, or was left. Times in nanoseconds; 0: it did not come so far. */
typedef struct ds4_answered {
    ds4_finish finish;
    uint32_t   n_prompt, n_generated;
    uint64_t   first_ns, wait_ns, prefill_ns, generate_ns, whole_ns;
} ds4_answered;

void ds4_metrics_init(ds4_metrics *m);
void ds4_metrics_request(ds4_metrics *m, ds4_api api, int status);
void ds4_metrics_answer(ds4_metrics *m, const ds4_answered *a);

#endif
