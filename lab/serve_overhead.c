/* serve_overhead.c - what the server adds to the engine: time per token and per request.
 *
 *   make && cc -std=c11 -O2 -D_GNU_SOURCE -Iinclude -Isrc -Itests lab/serve_overhead.c \
 *      tests/soak/soak_http.c build/libds4.a -luring -lm -lpthread -o build/serve_overhead
 *   ./ds4-server -m FILE -t THREADS --port PORT --parallel 16 &
 *   build/serve_overhead FILE THREADS PORT PID [ROUNDS]
 *
 * In turns, so that noise hits both: the library decodes TOKENS tokens of one and of eight
 * sessions, greedily; the server streams the same to as many clients. Beyond the engine are
 * the worker's time from one step to the next (sampling, reading tool calls, telling of
 * pieces), which holds every token up, and the processor time of the threads that speak
 * HTTP, which does so only where no processor is free. The best tenth of the rounds is told for
 * each, and of what sampling takes in the library. On a machine with other work the walls
 * differ by more than these. A request for one token of a prompt that a session holds
 * runs no step: all its time is overhead. */
#include "ds4.h"
#include "soak/soak_http.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 256, MOST = 8, MAX_ROUNDS = 200, REQUESTS = 20 };

static const char prompt[] = "Once upon a time there was a fox who lived in";

static void must(ds4_status st, const ds4_err *err)
{
    if (st == DS4_OK) return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

/* ---- the library -------------------------------------------------------------------------------- */

typedef struct bench {
    ds4_engine    *engine;
    ds4_session   *session[MOST];
    float         *logits[MOST];
    int32_t        token[MOST];
    ds4_candidate *scratch;
    uint32_t       n_vocab;
    int            port, pid;
    double         sampling;            /* seconds of the last run of the library */
} bench;

static void open_model(bench *b, const char *path, uint32_t n_threads)
{
    const ds4_engine_options opt = { .model_path = path, .n_threads = n_threads };
    ds4_err                  err;

    must(ds4_engine_open(&b->engine, &opt, &err), &err);
    b->n_vocab = ds4_engine_info(b->engine)->n_vocab;
    b->scratch = malloc(b->n_vocab * sizeof *b->scratch);
    for (int i = 0; i < MOST; i++) {
        must(ds4_session_create(b->engine, 4096, &b->session[i], &err), &err);
        b->logits[i] = malloc(b->n_vocab * sizeof(float));
    }
}

static void begin(bench *b, int i)
{
    int32_t  tokens[128];
    uint32_t n = 0;
    ds4_err  err;

    must(ds4_tokenize(ds4_engine_vocab(b->engine), prompt, strlen(prompt), tokens, 128, &n, &err), &err);
    ds4_session_clear(b->session[i]);
    const ds4_prefill p = { .tokens = tokens, .n_tokens = n, .logits = b->logits[i] };
    must(ds4_session_prefill(b->session[i], &p, &err), &err);
}

/* Seconds for TOKENS tokens of each of n sessions, sampling included. */
static double library(bench *b, int n)
{
    static const ds4_sampling greedy = { 0 };
    ds4_work                  work[MOST];
    ds4_err                   err;

    for (int i = 0; i < n; i++) begin(b, i);
    const double t = soak_now();
    b->sampling = 0;
    for (int k = 0; k < TOKENS; k++) {
        const double stepped = soak_now();
        for (int i = 0; i < n; i++) {
            b->token[i] = ds4_sample(b->logits[i], b->n_vocab, &greedy, NULL, b->scratch);
            work[i] = (ds4_work){ .session = b->session[i], .tokens = &b->token[i], .n_tokens = 1,
                                  .logits = b->logits[i] };
        }
        b->sampling += soak_now() - stepped;
        must(ds4_engine_step(b->engine, work, (uint32_t)n, &err), &err);
    }
    return soak_now() - t;
}

/* ---- the server ----------------------------------------------------------------------------------- */

typedef struct client {
    soak_conn conn;
    unsigned  n_tokens;
    bool      stream;
    pthread_t thread;
} client;

static bool hear(void *ctx, const char *data, size_t n_bytes)
{
    client *c = ctx;

    /* One event for each token, one for the end and [DONE]. */
    for (const char *end = data + n_bytes; (data = memchr(data, '\n', (size_t)(end - data))); data++) {
        c->n_tokens += data + 1 < end && data[1] == '\n';
    }
    return true;
}

static void ask(client *c, unsigned n_tokens)
{
    char body[256];
    bool chunked;

    snprintf(body, sizeof body,
             "{\"prompt\":\"%s\",\"temperature\":0,\"max_tokens\":%u,\"stream\":%s}", prompt,
             n_tokens, c->stream ? "true" : "false");
    c->n_tokens = 0;
    if (soak_http(&c->conn, "/v1/completions", body, hear, c, &chunked) == 200) return;
    fprintf(stderr, "the server does not answer\n");
    exit(1);
}

static void *stream(void *arg)
{
    ask(arg, TOKENS);
    return NULL;
}

/* Processor seconds of the server's threads that speak HTTP. */
static double http_seconds(int pid)
{
    char   path[128], name[64] = "";
    double sum = 0, ns = 0;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *d = opendir(path);
    for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/comm", pid, e->d_name);
        FILE *f = fopen(path, "r");
        if (f && !fgets(name, sizeof name, f)) name[0] = '\0';
        if (f) fclose(f);
        if (strncmp(name, "http", 4)) continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", pid, e->d_name);
        f = fopen(path, "r");
        if (f && fscanf(f, "%lf", &ns) == 1) sum += ns / 1e9;
        if (f) fclose(f);
    }
    if (d) closedir(d);
    return sum;
}

typedef struct cost {
    double wall, steps, between, http;  /* seconds */
} cost;

/* The same by the server. */
static cost server(bench *b, client *c, int n)
{
    cost m = { .steps = -soak_metric(b->port, "decode_seconds_total"),
               .between = -soak_metric(b->port, "between_steps_seconds_total"),
               .http = -http_seconds(b->pid),
               .wall = -soak_now() };

    for (int i = 0; i < n; i++) {
        c[i].stream = true;
        if (pthread_create(&c[i].thread, NULL, stream, &c[i]) != 0) exit(1);
    }
    for (int i = 0; i < n; i++) pthread_join(c[i].thread, NULL);
    m.wall += soak_now();
    m.http += http_seconds(b->pid);
    m.steps += soak_metric(b->port, "decode_seconds_total");
    m.between += soak_metric(b->port, "between_steps_seconds_total");
    return m;
}

static double request(client *c, bool streamed)
{
    c->stream = streamed;
    const double t = soak_now();
    for (int i = 0; i < REQUESTS; i++) ask(c, 1);
    return (soak_now() - t) / REQUESTS;
}

/* ---- both ------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Other work on the machine only adds: what the best tenth of the rounds took. */
static double best(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 10];
}

typedef struct figures {
    double library[MAX_ROUNDS], sampling[MAX_ROUNDS], wall[MAX_ROUNDS], steps[MAX_ROUNDS],
        between[MAX_ROUNDS], http[MAX_ROUNDS], asked[MAX_ROUNDS];
} figures;

static void measure(bench *b, client *c, int width, bool streamed, figures *f, int i)
{
    const double per = 1e6 / TOKENS / width;

    f->library[i] = library(b, width) * per;
    f->sampling[i] = b->sampling * per;
    const cost m = server(b, c, width);
    f->wall[i] = m.wall * per;
    f->steps[i] = m.steps * per;
    f->between[i] = m.between * per;
    f->http[i] = m.http * per;
    f->asked[i] = request(c, streamed) * 1e3;
}

static void tell(figures *f, int width, int n)
{
    const double sampling = best(f->sampling, n), between = best(f->between, n), http = best(f->http, n);

    printf("%d stream%s, us per token: library %.1f with %.1f of sampling; server %.1f with %.1f in steps,\n"
           "    %.1f between them, %.1f of HTTP: %.1f beyond the engine\n",
           width, width > 1 ? "s" : "", best(f->library, n), sampling, best(f->wall, n), best(f->steps, n),
           between, http, between - sampling + http);
}

int main(int argc, char **argv)
{
    static bench   b;
    static client  c[MOST];
    static figures one, many;

    if (argc < 5) {
        fprintf(stderr, "usage: serve_overhead FILE THREADS PORT PID [ROUNDS]\n");
        return 2;
    }
    const int n = argc > 5 && atoi(argv[5]) < MAX_ROUNDS ? atoi(argv[5]) : 20;
    b.port = atoi(argv[3]);
    b.pid = atoi(argv[4]);
    open_model(&b, argv[1], (uint32_t)atoi(argv[2]));
    for (int i = 0; i < MOST; i++) soak_conn_init(&c[i].conn, b.port);
    for (int round = -1; round < n; round++) {
        const int i = round < 0 ? 0 : round;    /* the first warms up */
        measure(&b, c, 1, false, &one, i);
        measure(&b, c, MOST, true, &many, i);
    }
    tell(&one, 1, n);
    tell(&many, MOST, n);
    printf("a request for one token: %.3f ms, streamed %.3f ms\n", best(one.asked, n), best(many.asked, n));
    return 0;
}
