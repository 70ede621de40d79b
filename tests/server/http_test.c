/* http_test.c - requests in every form reach the handler, and a client that is too slow or says too
 * much is cut off in time. */
#include "testing.h"

#include "app/server/http.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

enum {
    MAX_BODY = 100000,
    HEAD_SECONDS = 2,
    BODY_SECONDS = 3,
    IDLE_SECONDS = 60,
    MAX_CONNECTIONS = 20,
};

static ds4_http *http;

static bool check(void *ctx, const ds4_http_request *rq, ds4_http_answer *a)
{
    (void)ctx;
    (void)rq;
    (void)a;
    return false;
}

/* Answers with the method, the path and the length of the body. */
static void handle(void *ctx, const ds4_http_request *rq, ds4_http_answer *a)
{
    (void)ctx;
    if (!strcmp(rq->path, "/slow")) usleep(700000);
    for (int i = 0; i < 100 && !strcmp(rq->path, "/until-gone"); i++) {
        if (ds4_http_look(rq->call) == DS4_HTTP_GONE) break;
        usleep(100000);
    }
    ds4_str_addf(&a->body, "<%s %s %zu>", rq->method, rq->path, rq->body.n_bytes);
}

static void refuse(void *ctx, const ds4_http_request *rq, int status, const char *message,
                   ds4_http_answer *a)
{
    (void)ctx;
    (void)rq;
    a->status = status;
    ds4_str_addf(&a->body, "<%s>", message);
}

static int start(void **state)
{
    const ds4_http_options opt = { .host = "127.0.0.1",
                                   .max_body = MAX_BODY,
                                   .max_connections = MAX_CONNECTIONS,
                                   .idle_seconds = IDLE_SECONDS,
                                   .head_seconds = HEAD_SECONDS,
                                   .body_seconds = BODY_SECONDS,
                                   .check = check,
                                   .handle = handle,
                                   .refuse = refuse };

    (void)state;
    return ds4_http_start(&opt, &http, NULL) == DS4_OK ? 0 : -1;
}

static int stop_server(void **state)
{
    (void)state;
    ds4_http_stop(http);
    return 0;
}

static int connect_to(void)
{
    const struct sockaddr_in at = { .sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)ds4_http_port(http)),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static bool say(int fd, const char *text, size_t n_bytes)
{
    return send(fd, text, n_bytes, MSG_NOSIGNAL) == (ssize_t)n_bytes;
}

/* Hear the connection until the text `end`, its own end, or ten seconds of silence. */
static char *hear(int fd, const char *end)
{
    static char   text[8192];
    size_t        n = 0;
    struct pollfd p = { .fd = fd, .events = POLLIN };

    text[0] = '\0';
    while (n < sizeof text - 1 && !strstr(text, end) && poll(&p, 1, 10000) > 0) {
        const ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (got <= 0) break;
        n += (size_t)got;
        text[n] = '\0';
    }
    return text;
}

static void expect(const char *request, size_t n_bytes, const char *status, const char *body)
{
    const int fd = connect_to();

    assert_true(say(fd, request, n_bytes));
    const char *text = hear(fd, body);
    if (strncmp(text, status, strlen(status)) || !strstr(text, body)) fail_msg("found %s", text);
    close(fd);
}

#define EXPECT(request, status, body) expect(request, sizeof request - 1, status, body)
#define HOST                          "Host: x\r\n"

static void test_forms_of_a_request(void **state)
{
    (void)state;
    EXPECT("GET /a?b=c HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200", "<GET /a 0>");
    EXPECT("POST /a HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", "HTTP/1.1 200",
           "<POST /a 3>");
    EXPECT("POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
           "2;x=y\r\nab\r\n3\r\ncde\r\n0\r\nTrailer: x\r\n\r\n",
           "HTTP/1.1 200", "<POST /a 5>");
    EXPECT("POST /a HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
           "HTTP/1.1 100", "<POST /a 1>");
    EXPECT("GET /1 HTTP/1.1\r\n" HOST "\r\nPOST /2 HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab"
           "GET /3 HTTP/1.1\r\n" HOST "\r\n",
           "HTTP/1.1 200", "<GET /3 0>");
}

static void test_what_is_refused(void **state)
{
    char *long_head = calloc(1, 80000);

    (void)state;
    EXPECT("POST /a HTTP/1.1\r\n" HOST "Content-Length: 100001\r\n\r\n", "HTTP/1.1 413",
           "<the request is larger");
    EXPECT("POST /a HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", "HTTP/1.1 4", "\r\n\r\n");
    EXPECT("POST /a HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 4",
           "\r\n\r\n");
    EXPECT("GET /a HTTP/1.1\r\n\r\n", "HTTP/1.1 400", "\r\n\r\n");
    EXPECT("no request at all\r\n\r\n", "HTTP/1.1 4", "\r\n\r\n");
    strcpy(long_head, "GET /a HTTP/1.1\r\n" HOST "X: ");
    memset(long_head + strlen(long_head), 'a', 70000);
    strcat(long_head, "\r\n\r\n");
    expect(long_head, strlen(long_head), "HTTP/1.1 4", "\r\n\r\n");
    free(long_head);
}

/* Each of these may be read in another way by a proxy in front. */
static const char *const ambiguous[] = {
    "POST /a HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "POST /a HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\nabc",
    "POST /a HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\nabc",
    "POST /a HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\nabc",
    "POST /a HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n",
    "POST /a HTTP/1.1\r\n" HOST "Content-Length : 3\r\n\r\nabc",
    "POST /a HTTP/1.1\r\n" HOST
    "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "POST /a HTTP/1.1\r\n" HOST
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /a HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
    "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1 2\r\na\r\n0\r\n\r\n",
    "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
    "GET /a HTTP/1.1\nHost: x\n\n",
    "GET /a HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
    "GET /a HTTP/1.1\r\n" HOST "X: y\r\n folded\r\n\r\n",
    "GET /a HTTP/1.1\r\n" HOST "X: y\rz\r\n\r\n",
    "GET /a HTTP/1.1\r\n" HOST "X y: z\r\n\r\n",
    "GET /a HTTP/1.1\r\n" HOST ": z\r\n\r\n",
    "GET /a HTTP/1.1\r\n" HOST "no colon\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: x/y\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: 127.0.0.1:80:90\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: [::1]x\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: x:99999\r\n\r\n",
    "GET  /a HTTP/1.1\r\n" HOST "\r\n",
    "GET /a  HTTP/1.1\r\n" HOST "\r\n",
    "GET /a\r\n" HOST "\r\n",
    "GET a HTTP/1.1\r\n" HOST "\r\n",
    "GET /%zz HTTP/1.1\r\n" HOST "\r\n",
    "GET /%00 HTTP/1.1\r\n" HOST "\r\n",
    "GET http:///a HTTP/1.1\r\n" HOST "\r\n",
};

static void test_what_two_could_read_differently(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ambiguous / sizeof *ambiguous; i++) {
        char      two[400];
        const int n =
            snprintf(two, sizeof two, "%sGET /second HTTP/1.1\r\n" HOST "\r\n", ambiguous[i]);
        const int fd = connect_to();
        assert_true(say(fd, two, (size_t)n));
        const char *text = hear(fd, "no such text");
        if (strncmp(text, "HTTP/1.1 400 ", 13) || !strstr(text, "Connection: close") ||
            strstr(text, "/second")) {
            fail_msg("request %zu: found %s", i, text);
        }
        close(fd);
    }
    EXPECT("POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
           "HTTP/1.1 501", "<no Transfer");
    EXPECT("POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 501",
           "<no Transfer");
    EXPECT("POST /a HTTP/1.1\r\n" HOST "Expect: much\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 417",
           "<no expectation");
    EXPECT("GET /a HTTP/2.0\r\n" HOST "\r\n", "HTTP/1.1 505", "<this server");
    EXPECT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 505", "<this server");
}

/* Unusual requests that mean one thing are taken. */
static void test_what_is_unusual(void **state)
{
    (void)state;
    EXPECT("POST /a HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
           "HTTP/1.1 200", "<POST /a 3>");
    EXPECT("\r\n\r\nGET /a HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200", "<GET /a 0>");
    EXPECT("GET http://127.0.0.1:80/a/%62?c HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200",
           "<GET /a/b 0>");
    EXPECT("GET https://x HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200", "<GET / 0>");
    EXPECT("GET /a HTTP/1.1\r\nhOST:[::1]:80 \t\r\n\r\n", "HTTP/1.1 200", "<GET /a 0>");
    EXPECT("OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200", "<OPTIONS * 0>");
    EXPECT("GET /a HTTP/1.0\r\n\r\n", "HTTP/1.1 200", "<GET /a 0>");
    EXPECT("POST /a HTTP/1.1\r\n" HOST
           "TRANSFER-encoding: Chunked\r\n\r\nA ;x=y\r\n0123456789\r\n00\r\n\r\n",
           "HTTP/1.1 200", "<POST /a 10>");
    EXPECT("HEAD /a HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200", "Content-Length: 11\r\n");
}

/* A client that has said all it wants to say may close its side, and hears the answer. */
static void test_a_half_closed_client_is_answered(void **state)
{
    static const char request[] = "POST /slow HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc";
    const int         fd = connect_to();

    (void)state;
    assert_true(say(fd, request, sizeof request - 1));
    shutdown(fd, SHUT_WR);
    assert_non_null(strstr(hear(fd, "<POST /slow 3>"), "<POST /slow 3>"));
    close(fd);
    for (int i = 0; i < 50 && ds4_http_open(http) > 0; i++) usleep(100000);
    assert_int_equal(ds4_http_open(http), 0);
}

/* A client that is gone is noticed though it looks the same at first. */
static void test_a_client_that_is_gone_is_noticed(void **state)
{
    static const char request[] = "GET /until-gone HTTP/1.1\r\n" HOST "\r\n";
    const int         fd = connect_to();

    (void)state;
    assert_true(say(fd, request, sizeof request - 1));
    usleep(100000);
    close(fd);
    const uint64_t start_ns = ds4_now_ns();
    for (int i = 0; i < 50 && ds4_http_open(http) > 0; i++) usleep(100000);
    assert_int_equal(ds4_http_open(http), 0);
    assert_true(ds4_now_ns() - start_ns < 3000000000);
}

/* More connections than there may be are told so. */
static void test_too_many_connections(void **state)
{
    static const char request[] = "GET /a HTTP/1.1\r\n" HOST "\r\n";
    int               fd[MAX_CONNECTIONS + 1];

    (void)state;
    for (int i = 0; i <= MAX_CONNECTIONS; i++) {
        fd[i] = connect_to();
        assert_true(say(fd[i], request, sizeof request - 1));
        const char *text = hear(fd[i], ">");
        if (strncmp(text, i < MAX_CONNECTIONS ? "HTTP/1.1 200" : "HTTP/1.1 503", 12))
            fail_msg("%d: %s", i, text);
    }
    for (int i = 0; i <= MAX_CONNECTIONS; i++) close(fd[i]);
    for (int i = 0; i < 50 && ds4_http_open(http) > 0; i++) usleep(100000);
    assert_int_equal(ds4_http_open(http), 0);
}

/* Send a byte ten times a second; returns after how many seconds that came to an end. */
static double trickle(const char *begin)
{
    const uint64_t start_ns = ds4_now_ns();
    const int      fd = connect_to();

    assert_true(say(fd, begin, strlen(begin)));
    for (int i = 0; i < 150; i++) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        if (poll(&p, 1, 100) > 0 || !say(fd, "x", 1)) break;
    }
    close(fd);
    return (double)(ds4_now_ns() - start_ns) / 1e9;
}

/* Send as trickle() does, without a look at whether an answer came. */
static double trickle_on(const char *begin)
{
    const uint64_t start_ns = ds4_now_ns();
    const int      fd = connect_to();

    assert_true(say(fd, begin, strlen(begin)));
    for (int i = 0; i < 150 && say(fd, "x", 1); i++) usleep(100000);
    close(fd);
    return (double)(ds4_now_ns() - start_ns) / 1e9;
}

static void test_slow_clients_are_cut_off(void **state)
{
    (void)state;
    const double deaf = trickle_on("GET /a HTTP/1.1\r\n" HOST "X: ");
    assert_true(deaf >= HEAD_SECONDS && deaf < HEAD_SECONDS + 5);
    const double head = trickle("GET /a HTTP/1.1\r\n" HOST "X: ");
    assert_true(head >= HEAD_SECONDS && head < HEAD_SECONDS + 5);
    const double body = trickle("POST /a HTTP/1.1\r\n" HOST "Content-Length: 90000\r\n\r\n");
    assert_true(body >= BODY_SECONDS && body < BODY_SECONDS + 5);
    for (int i = 0; i < 50 && ds4_http_open(http) > 0; i++) usleep(100000);
    assert_int_equal(ds4_http_open(http), 0);
}

/* A connection that has been used waits for the next request as long as for the first. */
static void test_a_kept_connection(void **state)
{
    static const char request[] = "GET /a HTTP/1.1\r\n" HOST "\r\n";
    const int         fd = connect_to();

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_true(say(fd, request, sizeof request - 1));
        assert_non_null(strstr(hear(fd, "<GET /a 0>"), "<GET /a 0>"));
        usleep(HEAD_SECONDS * 600000);
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms_of_a_request),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_what_two_could_read_differently),
        cmocka_unit_test(test_what_is_unusual),
        cmocka_unit_test(test_a_half_closed_client_is_answered),
        cmocka_unit_test(test_a_client_that_is_gone_is_noticed),
        cmocka_unit_test(test_too_many_connections),
        cmocka_unit_test(test_slow_clients_are_cut_off),
        cmocka_unit_test(test_a_kept_connection),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, start, stop_server);
}
