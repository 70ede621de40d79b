/* soak_main.c - many clients of one server for minutes, each of which compares its answers with what
 * the same request says alone. Prints TAP.
 *
 *   soak PORT PID SECONDS STREAMS CASES FILLER
 *
 * 1. Every request alone: what it says is noted.
 * 2. Speed, in turns so that noise hits both: one stream, all streams.
 * 3. All streams for SECONDS with requests in random order; some leave in the middle, and
 *    rude clients hang on. Memory is sampled every two seconds.
 * 4. Speed again, and every request alone once more.                                       */
#include "soak/soak_http.h"
#include "soak/soak_memory.h"
#include "soak/soak_pool.h"
#include "soak/soak_rude.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_STREAMS = 64,
    SPEED_ROUNDS = 6,
    SPEED_TOKENS = 400,
    LEAVE_ONE_IN = 12,
    RUDE = 4,
    SHOWN = 3
};

typedef struct soak {
    int           port, pid;
    unsigned      n_streams;
    soak_pool     pool;
    atomic_ullong n_answers, n_left, n_tokens, n_wrong, n_broken, n_bytes;
    atomic_int    n_shown;
    atomic_bool   stop;
} soak;

static int n_reported, n_failed;

static void report(bool good, const char *fmt, double a, double b, double c)
{
    printf("%sok %d - ", good ? "" : "not ", ++n_reported);
    printf(fmt, a, b, c);
    printf("\n");
    fflush(stdout);
    n_failed += good ? 0 : 1;
}

/* ---- asking -------------------------------------------------------------------------------------- */

typedef struct hearing {
    soak_answer answer;
    bool        stream;
    size_t      leave_after; /* bytes; 0: stay to the end */
} hearing;

static bool hear(void *ctx, const char *data, size_t n_bytes)
{
    hearing *h = ctx;

    if (h->stream) {
        soak_answer_stream(&h->answer, data, n_bytes);
    } else {
        h->answer.n_bytes += n_bytes;
        ds4_str_add(&h->answer.line, data, n_bytes);
    }
    return h->leave_after == 0 || h->answer.n_bytes < h->leave_after;
}

/* Ask; *said is what was answered, NULL when the client left or there was no answer. */
static int ask(soak_conn *c, const soak_request *rq, size_t leave_after, char **said,
               unsigned *n_tokens)
{
    hearing h = { .answer = { .api = rq->api }, .stream = rq->stream, .leave_after = leave_after };
    bool    chunked = false;
    const int status = soak_http(c, rq->path, rq->body, hear, &h, &chunked);

    *said = NULL;
    if (status == 200) {
        if (!rq->stream) soak_answer_whole(&h.answer);
        if (!h.answer.bad && h.answer.ended) *said = soak_answer_said(&h.answer);
    }
    *n_tokens = h.answer.n_generated;
    if (status > 0 && !*said && status != 200)
        printf("# %s: status %d %.200s\n", rq->name, status, ds4_str_text(&h.answer.line));
    soak_answer_clear(&h.answer);
    return status;
}

static void show_difference(soak *s, const soak_request *rq, const char *said)
{
    if (atomic_fetch_add(&s->n_shown, 1) >= SHOWN) return;
    printf("# %s says something else in company\n# request %.600s\n# alone:\n%s# in company:\n%s",
           rq->name, rq->body, rq->said, said);
    fflush(stdout);
}

static void compare(soak *s, const soak_request *rq, const char *said)
{
    if (!said) {
        atomic_fetch_add(&s->n_broken, 1);
    } else if (strcmp(said, rq->said)) {
        atomic_fetch_add(&s->n_wrong, 1);
        show_difference(s, rq, said);
    }
}

/* ---- everything alone ------------------------------------------------------------------------------- */

static void ask_all_alone(soak *s)
{
    soak_conn *c = malloc(sizeof *c);

    if (!c) abort();
    soak_conn_init(c, s->port);
    for (unsigned i = 0; i < s->pool.n; i++) {
        soak_request *rq = &s->pool.request[i];
        char         *said;
        unsigned      n_tokens;
        (void)ask(c, rq, 0, &said, &n_tokens);
        atomic_fetch_add(&s->n_answers, 1);
        atomic_fetch_add(&s->n_tokens, n_tokens);
        if (rq->said || !said) {
            compare(s, rq, said);
            free(said);
        } else {
            rq->said = said;
        }
    }
    soak_conn_close(c, false);
    free(c);
}

/* ---- speed --------------------------------------------------------------------------------------------- */

typedef struct stream {
    soak         *s;
    unsigned      id;
    double        until;
    unsigned long n_tokens;
    pthread_t     thread;
    bool          run_once;
} stream;

static bool count_events(void *ctx, const char *data, size_t n_bytes)
{
    stream *w = ctx;

    for (const char *end = data + n_bytes; (data = memchr(data, '\n', (size_t)(end - data)));
         data++) {
        w->n_tokens += data + 1 < end && data[1] == '\n';
    }
    return soak_now() < w->until;
}

/* Long answers until the time is over. Each event but the last ones is a token. */
static void *race(void *arg)
{
    stream    *w = arg;
    soak_conn *c = malloc(sizeof *c);
    bool       chunked;

    if (!c) abort();
    soak_conn_init(c, w->s->port);
    for (unsigned k = 0; soak_now() < w->until; k++) {
        char     *body = soak_endless(SPEED_TOKENS, w->id * 1000 + k);
        const int status = soak_http(c, "/v1/completions", body, count_events, w, &chunked);
        if (status != 200 && status != -1) atomic_fetch_add(&w->s->n_broken, 1);
        free(body);
    }
    soak_conn_close(c, false);
    free(c);
    return NULL;
}

/* Tokens per second of n streams. */
static double speed(soak *s, unsigned n, double seconds)
{
    stream        w[MAX_STREAMS];
    const double  begin = soak_now();
    unsigned long sum = 0;

    for (unsigned i = 0; i < n; i++) {
        w[i] = (stream){ .s = s, .id = i, .until = begin + seconds };
        if (pthread_create(&w[i].thread, NULL, race, &w[i]) != 0) abort();
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(w[i].thread, NULL);
        sum += w[i].n_tokens;
    }
    const double took = soak_now() - begin;
    /* The answers that were left end with the next steps. */
    while (soak_metric(s->port, "jobs_running") > 0)
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    return (double)sum / took;
}

static void speeds(soak *s, unsigned n_rounds, double *one, double *all)
{
    for (unsigned i = 0; i < n_rounds; i++) {
        const double a = speed(s, 1, 2), b = speed(s, s->n_streams, 2);
        printf("# speed: one stream %.0f tokens/s, %u streams %.0f\n", a, s->n_streams, b);
        fflush(stdout);
        *one += a;
        *all += b;
    }
}

/* ---- company ------------------------------------------------------------------------------------------- */

static unsigned long long next_random(unsigned long long *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static void *wander(void *arg)
{
    stream            *w = arg;
    soak              *s = w->s;
    soak_conn         *c = malloc(sizeof *c);
    unsigned long long x = 88172645463325252ull + w->id * 977;

    if (!c) abort();
    soak_conn_init(c, s->port);
    while (soak_now() < w->until) {
        const soak_request *rq = &s->pool.request[next_random(&x) % s->pool.n];
        const bool          leave = next_random(&x) % LEAVE_ONE_IN == 0;
        char               *said;
        unsigned            n_tokens;
        const int status = ask(c, rq, leave ? 1 + next_random(&x) % 8000 : 0, &said, &n_tokens);
        if (status == -1) {
            atomic_fetch_add(&s->n_left, 1);
        } else {
            compare(s, rq, said);
            atomic_fetch_add(&s->n_answers, 1);
            atomic_fetch_add(&s->n_tokens, n_tokens);
        }
        free(said);
    }
    soak_conn_close(c, false);
    free(c);
    return NULL;
}

/* Memory of the last four fifths of the time: its mean over a twentieth of the time at a time, since a
 * moment's long prompt is no leak. */
static void judge_memory(const soak_memory *m, unsigned n, double begin, double seconds)
{
    double least = 1e30, most = 0;

    for (unsigned w = 0, i = 0; w < 20; w++) {
        double   sum = 0, pss = 0;
        unsigned n_seen = 0, n_threads = 0, n_files = 0;
        for (; i < n && m[i].at - begin < seconds * (w + 1) / 20; i++, n_seen++) {
            sum += m[i].rss;
            pss += m[i].pss;
            n_threads = m[i].n_threads;
            n_files = m[i].n_files;
        }
        if (n_seen == 0) continue;
        const double mean = sum / n_seen;
        printf("# to %4.0f s: RSS %.2f MiB, PSS %.2f, %u threads, %u files\n",
               seconds * (w + 1) / 20, mean, pss / n_seen, n_threads, n_files);
        if (w < 4) continue;
        if (mean < least) least = mean;
        if (mean > most) most = mean;
    }
    const double percent = (most - least) / least * 100;
    /* Less than some minutes show nothing about leaks. */
    report(seconds < 300 || percent <= 1, "memory is flat: %.2f to %.2f MiB, %.2f %%", least, most,
           percent);
}

static void tell_what_is_kept(const soak *s, const char *when)
{
    printf("# %s: positions %.2f MiB, turns and responses %.2f, of %.2f in all\n", when,
           soak_metric(s->port, "kept_bytes") / 1048576,
           soak_metric(s->port, "turn_bytes") / 1048576,
           soak_metric(s->port, "memory_bytes") / 1048576);
}

static void soak_for(soak *s, double seconds)
{
    stream       w[MAX_STREAMS];
    const double begin = soak_now();
    soak_watch  *watch = soak_watch_start(s->pid, 2);
    soak_rude   *rude = soak_rude_start(s->port, RUDE);
    unsigned     n_seen = 0;

    atomic_store(&s->n_answers, 0);
    atomic_store(&s->n_tokens, 0);
    tell_what_is_kept(s, "at the beginning");
    for (unsigned i = 0; i < s->n_streams; i++) {
        w[i] = (stream){ .s = s, .id = i, .until = begin + seconds };
        if (pthread_create(&w[i].thread, NULL, wander, &w[i]) != 0) abort();
    }
    for (unsigned i = 0; i < s->n_streams; i++) pthread_join(w[i].thread, NULL);
    const double       took = soak_now() - begin;
    const unsigned     n_rude = soak_rude_stop(rude);
    const soak_memory *seen = soak_watch_stop(watch, &n_seen);
    printf("# %.0f s, %u streams: %llu answers, %llu tokens (%.0f per second), %llu left early, %u "
           "rude\n",
           took, s->n_streams, s->n_answers, s->n_tokens, (double)s->n_tokens / took, s->n_left,
           n_rude);
    report(s->n_broken == 0, "no request went wrong: %.0f of %.0f", (double)s->n_broken,
           (double)s->n_answers, 0);
    report(s->n_wrong == 0, "every answer is that of the same request alone: %.0f of %.0f differ",
           (double)s->n_wrong, (double)s->n_answers, 0);
    tell_what_is_kept(s, "at the end");
    judge_memory(seen, n_seen, begin, seconds);
    soak_watch_free(watch);
}

int main(int argc, char **argv)
{
    static soak s;
    double      one = 0, all = 0;

    if (argc == 4 && !strcmp(argv[1], "--in-turn")) {
        const unsigned n = (unsigned)atoi(argv[3]), lost = soak_in_turn(atoi(argv[2]), n);
        report(lost == 0, "%.0f connections in turn, %.0f lost", n, lost, 0);
        return lost > 0;
    }
    if (argc != 7) {
        fprintf(
            stderr,
            "usage: soak PORT PID SECONDS STREAMS CASES FILLER\n       soak --in-turn PORT N\n");
        return 2;
    }
    s.port = atoi(argv[1]);
    s.pid = atoi(argv[2]);
    const double seconds = atof(argv[3]);
    s.n_streams = (unsigned)atoi(argv[4]) < MAX_STREAMS ? (unsigned)atoi(argv[4]) : MAX_STREAMS;
    if (!soak_pool_make(&s.pool, argv[5], argv[6], 5)) {
        fprintf(stderr, "soak: cannot read %s or %s\n", argv[5], argv[6]);
        return 2;
    }
    ask_all_alone(&s);
    printf("# %u requests alone: %llu tokens\n", s.pool.n, s.n_tokens);
    report(s.n_broken == 0, "%.0f requests are answered alone, %.0f are not", (double)s.pool.n,
           (double)s.n_broken, 0);
    if (s.n_broken > 0) return 1;
    speeds(&s, SPEED_ROUNDS / 2, &one, &all);
    soak_for(&s, seconds);
    speeds(&s, SPEED_ROUNDS / 2, &one, &all);
    report(all >= 2 * one, "all streams together: %.0f tokens/s, one %.0f, %.2f times as fast",
           all / SPEED_ROUNDS, one / SPEED_ROUNDS, all / one);
    ask_all_alone(&s);
    report(s.n_wrong + s.n_broken == 0, "and alone again they say the same: %.0f differ",
           (double)s.n_wrong, 0, 0);
    printf("1..%d\n", n_reported);
    soak_pool_free(&s.pool);
    return n_failed > 0;
}
