/* http_fuzz.c - damaged, slow, cut and piled up requests at the socket of a running server.
 *
 *   http_fuzz PORT SECONDS SEED FILE...      files are raw requests to begin with
 *
 * The server should be built with sanitizers. It must stay up, answer in HTTP or not at all,
 * and answer an ordinary question at any time. Prints TAP. */
#include "soak/soak_http.h"
#include "soak/soak_rude.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { N_THREADS = 6, MAX_BYTES = 256 << 10, MAX_SEEDS = 256, WAIT_MS = 400 };

typedef struct seed {
    char  *data;
    size_t n_bytes;
} seed;

static seed          seeds[MAX_SEEDS];
static unsigned      n_seeds;
static int           port;
static double        until;
static atomic_ullong n_cases, n_answers, n_odd, n_no_connection;

typedef struct fuzzer {
    uint64_t  random;
    size_t    n_bytes;
    pthread_t thread;
    char      data[MAX_BYTES];
} fuzzer;

static uint64_t next(fuzzer *f)
{
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    return f->random ^= f->random << 17;
}

static size_t below(fuzzer *f, size_t n)
{
    return n ? (size_t)(next(f) % n) : 0;
}

/* ---- mutations --------------------------------------------------------------------------------- */

static const char *const words[] = {
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    " ",
    "\t",
    ":",
    ": ",
    "\r\n ",
    "Content-Length: 0\r\n",
    "Content-Length: -1\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Length: 9223372036854775807\r\n",
    "Content-Length: 5, 5\r\n",
    "content-length : 4\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "Connection: upgrade\r\nUpgrade: h2c\r\n",
    "Host: evil.example\r\n",
    "Host: [::1]:1\r\n",
    "Host: [\r\n",
    "Origin: null\r\n",
    "Authorization: Bearer \r\n",
    "Content-Type: text/plain\r\n",
    "0\r\n\r\n",
    "FFFFFFFFFFFFFFFF\r\n",
    "-1\r\n",
    "7fffffff\r\n",
    "1;a=\"b\"\r\n",
    "HTTP/1.0",
    "HTTP/2.0",
    "HTTP/9.9",
    "HTTP/1.1\r\n",
    "POST ",
    "GET ",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT ",
    "http://127.0.0.1/",
    "//",
    "/../..",
    "%00",
    "%",
    "%zz",
    "?",
    "#",
    "/v1/v1/v1/",
    "{\"messages\":",
    "[[[[[[[[[[[[[[[[",
    "\"\\ud800\"",
    "\xff\xfe",
    "\xed\xa0\x80",
    "null",
    "1e999",
    "\"stream\":true,",
    "\"n\":16,",
    "\"max_tokens\":2,",
};

static void insert(fuzzer *f, size_t at, const void *data, size_t n)
{
    if (n > MAX_BYTES - f->n_bytes) return;
    memmove(f->data + at + n, f->data + at, f->n_bytes - at);
    memcpy(f->data + at, data, n);
    f->n_bytes += n;
}

static void cut(fuzzer *f, size_t at, size_t n)
{
    if (n > f->n_bytes - at) n = f->n_bytes - at;
    memmove(f->data + at, f->data + at + n, f->n_bytes - at - n);
    f->n_bytes -= n;
}

/* Many of one byte: long names, long values, long lines. */
static void insert_run(fuzzer *f, size_t at)
{
    static const size_t lengths[] = { 100, 4000, 17000, 70000, 140000 };
    const size_t        n = lengths[below(f, sizeof lengths / sizeof *lengths)];
    char               *run = malloc(n);

    if (!run) return;
    memset(run, "A \r\n:0\"{["[below(f, 9)], n);
    insert(f, at, run, n);
    free(run);
}

static void mutate(fuzzer *f)
{
    const size_t at = below(f, f->n_bytes + 1);
    char         copy[64];

    switch (below(f, 8)) {
    case 0:
        if (at < f->n_bytes) f->data[at] = (char)next(f);
        break;
    case 1:
        if (at < f->n_bytes) f->data[at] ^= (char)(1 << below(f, 8));
        break;
    case 2: cut(f, at, 1 + below(f, 40)); break;
    case 3:
        if (f->n_bytes - at >= sizeof copy) {
            memcpy(copy, f->data + at, sizeof copy);
            insert(f, below(f, f->n_bytes + 1), copy, 1 + below(f, sizeof copy));
        }
        break;
    case 4:
        if (below(f, 20) == 0) insert_run(f, at);
        break;
    default: {
        const char *word = words[below(f, sizeof words / sizeof *words)];
        insert(f, at, word, strlen(word));
    }
    }
}

/* Where the JSON begins, if the head was left alone. */
static void mend_length(fuzzer *f)
{
    static const char name[] = "Content-Length: ";
    char             *end, number[32];

    f->data[f->n_bytes < MAX_BYTES ? f->n_bytes : MAX_BYTES - 1] = '\0';
    char *head = strstr(f->data, name), *body = strstr(f->data, "\r\n\r\n");
    if (!head || !body || head > body) return;
    (void)strtoull(head + sizeof name - 1, &end, 10);
    const size_t n_body = f->n_bytes - (size_t)(body + 4 - f->data);
    const size_t at = (size_t)(head - f->data) + sizeof name - 1;
    cut(f, at, (size_t)(end - f->data) - at);
    const int n = snprintf(number, sizeof number, "%zu", n_body);
    insert(f, at, number, (size_t)n);
}

static void make_case(fuzzer *f)
{
    f->n_bytes = 0;
    const size_t n_requests = below(f, 4) ? 1 : 1 + below(f, 4);
    for (size_t i = 0; i < n_requests; i++) {
        const seed *s = &seeds[below(f, n_seeds)];
        if (s->n_bytes < MAX_BYTES - f->n_bytes) insert(f, f->n_bytes, s->data, s->n_bytes);
    }
    for (size_t n = below(f, 6); n > 0; n--) mutate(f);
    if (n_requests == 1 && below(f, 2)) mend_length(f);
}

/* ---- one connection ------------------------------------------------------------------------------ */

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000L }, NULL);
}

/* In pieces, now and then with pauses. */
static bool send_case(fuzzer *f, int fd)
{
    const bool slow = below(f, 16) == 0;

    for (size_t at = 0; at < f->n_bytes;) {
        const size_t left = f->n_bytes - at;
        const size_t n = below(f, 2) ? left : 1 + below(f, left < 2000 ? left : 2000);
        if (!soak_send(fd, f->data + at, n)) return false;
        at += n;
        if (slow) pause_ms(1 + (unsigned)below(f, 20));
    }
    return true;
}

/* Bytes that begin an answer must be one; the rest may be cut. */
static void read_answer(int fd, int wait_ms)
{
    char          data[4096];
    size_t        n_seen = 0;
    struct pollfd p = { .fd = fd, .events = POLLIN };

    while (poll(&p, 1, wait_ms) > 0) {
        const ssize_t n = recv(fd, data, sizeof data, 0);
        if (n <= 0) break;
        if (n_seen == 0) {
            atomic_fetch_add(&n_answers, 1);
            if (n >= 9 && memcmp(data, "HTTP/1.", 7)) {
                atomic_fetch_add(&n_odd, 1);
                printf("# not HTTP: %.60s\n", data);
            }
        }
        n_seen += (size_t)n;
    }
}

static void leave(fuzzer *f, int fd)
{
    const struct linger now = { .l_onoff = 1, .l_linger = 0 };

    switch (below(f, 8)) {
    case 0: setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now); break;
    case 1: break;
    case 2:
        shutdown(fd, SHUT_RD);
        pause_ms(5);
        break;
    case 3: read_answer(fd, WAIT_MS); break;
    default: shutdown(fd, SHUT_WR); read_answer(fd, WAIT_MS);
    }
    close(fd);
}

static void *run(void *arg)
{
    fuzzer *f = arg;

    while (soak_now() < until) {
        const int fd = soak_connect(port, 5);
        if (fd < 0) {
            atomic_fetch_add(&n_no_connection, 1);
            pause_ms(50);
            continue;
        }
        make_case(f);
        (void)send_case(f, fd);
        leave(f, fd);
        atomic_fetch_add(&n_cases, 1);
    }
    return NULL;
}

/* ---- beginning and end ----------------------------------------------------------------------------- */

static void read_seed(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *data = malloc(MAX_BYTES);

    if (file && data && n_seeds < MAX_SEEDS) {
        seeds[n_seeds++] = (seed){ data, fread(data, 1, MAX_BYTES - 1, file) };
        data = NULL;
    }
    free(data);
    if (file) fclose(file);
}

/* An ordinary question once a second; returns how many had no good answer. */
static unsigned ask_meanwhile(void)
{
    unsigned n_bad = 0;

    while (soak_now() < until) {
        char *text = soak_get(port, "/health");
        if (strcmp(text, "{\"status\":\"ok\"}")) {
            n_bad++;
            printf("# health: %.100s\n", text);
            fflush(stdout);
        }
        free(text);
        pause_ms(999);
    }
    return n_bad;
}

static int report(int i, bool good, const char *what)
{
    printf("%sok %d - %s\n", good ? "" : "not ", i, what);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    static fuzzer f[N_THREADS];
    int           failed = 0;

    if (argc < 5) {
        fprintf(stderr, "usage: http_fuzz PORT SECONDS SEED FILE...\n");
        return 2;
    }
    port = atoi(argv[1]);
    until = soak_now() + atof(argv[2]);
    for (int i = 4; i < argc; i++) read_seed(argv[i]);
    if (n_seeds == 0) return 2;
    printf("# seed %s, %u requests to begin with\n", argv[3], n_seeds);
    soak_rude *rude = soak_rude_start(port, 3);
    for (unsigned i = 0; i < N_THREADS; i++) {
        f[i].random = strtoull(argv[3], NULL, 10) * 2654435761u + i * 977 + 1;
        if (pthread_create(&f[i].thread, NULL, run, &f[i]) != 0) return 2;
    }
    const unsigned n_bad = ask_meanwhile();
    for (unsigned i = 0; i < N_THREADS; i++) pthread_join(f[i].thread, NULL);
    const unsigned n_rude = soak_rude_stop(rude);
    printf("# %llu connections with damaged requests, %llu of them answered, %u rude clients\n",
           n_cases, n_answers, n_rude);
    failed += report(1, n_cases > 0 && n_odd == 0, "every answer is HTTP");
    failed += report(2, n_bad == 0, "an ordinary question is answered at any time");
    double running = 1;
    for (int i = 0; i < 200 && running > 0; i++) {
        running = soak_metric(port, "jobs_running") + soak_metric(port, "jobs_waiting");
        if (running > 0) pause_ms(50);
    }
    failed += report(3, running >= 0 && !(running > 0), "nothing goes on when all have left");
    failed += report(4, soak_in_turn(port, 200) == 0, "and new clients are served");
    printf("1..4\n");
    return failed > 0;
}
