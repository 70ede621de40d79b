/* http_conn.c - see http_conn.h: requests are taken one after the other; what a client sent ahead
 * waits in the buffer. Each wait has an end in monotonic time. */
#include "app/server/http_conn.h"

#include "app/server/http_head.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    HEAD_BYTES = 64 << 10,
    AHEAD_BYTES = 16 << 10, /* room behind the longest head, for chunks */
    BLOCK_BYTES = 16 << 10, /* of a stream */
    FRAME_BYTES = 8,        /* the length of a block in hexadecimal, and CR LF */
    FIRST_BODY_BYTES = 16 << 10,
    MAX_LINE_BYTES = 4 << 10, /* of chunk sizes and trailers */
    MAX_TRAILERS = 100,
    LINGER_SECONDS = 10,
};

static const uint64_t second_ns = 1000000000;

/* A client that has closed its side is believed to listen for so long without a try. */
static const uint64_t probe_ns = 500000000;

struct ds4_http_call {
    ds4_http_conn   *conn;
    ds4_http_head    head;
    ds4_http_request rq;
    ds4_purse        purse; /* what it holds of the budget */
    char            *body; /* [cap_body] taken from it */
    size_t           n_body, cap_body;
    uint64_t         begin_ns;
    uint64_t         half_ns; /* when its end was seen, or last tried; 0: it was not */
    bool             streams; /* the head of an answer is out */
    char             note[640];
    size_t           n_note;
};

/* ---- for handlers ----------------------------------------------------------------------------- */

const char *ds4_http_header(const ds4_http_request *rq, const char *name)
{
    return ds4_http_head_get(&rq->call->head, name);
}

const char *ds4_http_query(const ds4_http_request *rq, const char *name)
{
    const ds4_http_head *head = &rq->call->head;

    for (uint32_t i = 0; i < head->n_params; i++) {
        if (!strcmp(head->param[i].name, name)) return head->param[i].value;
    }
    return NULL;
}

void ds4_http_add_header(ds4_http_answer *a, const char *name, const char *value)
{
    ds4_str_addf(&a->headers, "%s: ", name);
    const size_t from = a->headers.n_bytes;
    ds4_str_add_text(&a->headers, value);
    for (size_t i = from; i < a->headers.n_bytes; i++) {
        if ((unsigned char)a->headers.data[i] < ' ') a->headers.data[i] = ' ';
    }
    ds4_str_add_text(&a->headers, "\r\n");
}

void ds4_http_note(ds4_http_call *call, const char *fmt, ...)
{
    const size_t room = sizeof call->note - call->n_note;
    va_list      args;

    if (room < 2) return;
    if (call->n_note > 0) call->note[call->n_note++] = ' ';
    va_start(args, fmt);
    const int n = vsnprintf(call->note + call->n_note, sizeof call->note - call->n_note, fmt, args);
    va_end(args);
    if (n > 0) call->n_note += (size_t)n;
    if (call->n_note >= sizeof call->note) call->n_note = sizeof call->note - 1;
}

void ds4_http_note_text(ds4_http_call *call, const char *key, const char *text)
{
    char   clean[160];
    size_t n = 0;

    for (; text[n] && n + 1 < sizeof clean; n++) clean[n] = text[n] == '"' ? '\'' : text[n];
    clean[n] = '\0';
    ds4_http_note(call, "%s=\"%s\"", key, clean);
}

ds4_http_peer ds4_http_look(ds4_http_call *call)
{
    static const char probe[] = "HTTP/1.1 100 Continue\r\n\r\n";
    ds4_wire         *w = &call->conn->wire;
    const uint64_t    now = ds4_now_ns();

    switch (ds4_wire_look(w)) {
    case DS4_WIRE_THERE: return DS4_HTTP_THERE;
    case DS4_WIRE_GONE: return DS4_HTTP_GONE;
    case DS4_WIRE_HALF: break;
    }
    if (call->half_ns == 0) call->half_ns = now;
    if (call->streams || call->head.minor == 0 || now - call->half_ns < probe_ns)
        return DS4_HTTP_HALF;
    call->half_ns = now;
    return ds4_wire_send(w, probe, sizeof probe - 1, NULL, 0, 0) ? DS4_HTTP_HALF : DS4_HTTP_GONE;
}

/* ---- reading a head --------------------------------------------------------------------------- */

/* Empty lines in front of a request are passed over (RFC 9112, 2.2). */
static void pass_empty_lines(ds4_wire *w)
{
    while (w->n - w->at >= 2 && !memcmp(w->bytes + w->at, "\r\n", 2)) w->at += 2;
}

/* Wait for a head and read it. Returns true when there is one; false with a fault, whose status is
 * 0 when the connection has ended and there is nobody to tell. */
static bool read_head(ds4_http_conn *c, ds4_http_call *call, ds4_http_fault *fault)
{
    const uint64_t head_end_ns = ds4_now_ns() + c->opt->head_seconds * second_ns;
    ds4_wire      *w = &c->wire;
    size_t         seen = 0, n = 0;

    *fault = (ds4_http_fault){ 0 };
    for (;;) {
        if (seen == 0) pass_empty_lines(w);
        n = ds4_http_head_end(w->bytes + w->at, w->n - w->at, &seen, fault);
        if (!fault->status && (n > 0 ? n : w->n - w->at) > HEAD_BYTES) {
            *fault = (ds4_http_fault){ 431, "the headers are longer than 64 KiB" };
        }
        if (n > 0 || fault->status) break;
        const uint64_t       idle_end_ns = ds4_now_ns() + c->opt->idle_seconds * second_ns;
        const ds4_wire_state state =
            ds4_wire_fill(w, idle_end_ns < head_end_ns ? idle_end_ns : head_end_ns);
        if (state == DS4_WIRE_SLOW && w->n > w->at) {
            *fault = (ds4_http_fault){ 408, "the request took too long to arrive" };
        }
        if (state != DS4_WIRE_OK) break;
    }
    call->begin_ns = ds4_now_ns();
    if (n == 0 || fault->status) return false;
    char *head = w->bytes + w->at;
    w->at += n;
    w->floor = w->at;
    return ds4_http_head_read(head, n, &call->head, fault);
}

/* ---- reading a body --------------------------------------------------------------------------- */

static ds4_http_fault refused(int status, const char *message)
{
    return (ds4_http_fault){ status, message };
}

static ds4_http_fault ended(ds4_wire_state state)
{
    if (state == DS4_WIRE_SLOW) return refused(408, "the body took too long to arrive");
    return refused(0, "");
}

static uint64_t patience(const ds4_http_call *call)
{
    const ds4_http_options *opt = call->conn->opt;
    const uint64_t          body_ns = call->begin_ns + opt->body_seconds * second_ns;
    const uint64_t          idle_ns = ds4_now_ns() + opt->idle_seconds * second_ns;

    return body_ns < idle_ns ? body_ns : idle_ns;
}

/* Make room for more bytes of the body and a zero byte behind them. It grows as they come: a length
 * that was only promised costs nothing. */
static bool grow_body(ds4_http_call *call, size_t n_more, ds4_http_fault *fault)
{
    ds4_purse   *purse = &call->purse;
    const size_t want = call->n_body + n_more + 1;
    size_t       cap = call->cap_body ? call->cap_body : FIRST_BODY_BYTES;

    while (cap < want) cap *= 2;
    if (cap == call->cap_body) return true;
    if (!ds4_purse_take(purse, cap - call->cap_body)) {
        *fault = purse->too_large
                   ? refused(413, "the request needs more memory than all of them may have")
                   : refused(503, "requests take all the memory they may have; try again");
        return false;
    }
    char *grown = realloc(call->body, cap);
    if (!grown) {
        ds4_purse_give(purse, cap - call->cap_body);
        *fault = refused(503, "memory is exhausted");
        return false;
    }
    call->body = grown;
    call->cap_body = cap;
    return true;
}

/* Append n bytes of the connection to the body. */
static bool read_part(ds4_http_call *call, uint64_t n, ds4_http_fault *fault)
{
    while (n > 0) {
        size_t       got = 0;
        const size_t most = n < 1 << 20 ? (size_t)n : 1 << 20;
        const size_t room = call->cap_body - call->n_body;
        if (room < 2 &&
            !grow_body(call, most < FIRST_BODY_BYTES ? most : FIRST_BODY_BYTES, fault)) {
            return false;
        }
        const size_t         free_bytes = call->cap_body - call->n_body - 1;
        const ds4_wire_state state =
            ds4_wire_read(&call->conn->wire, call->body + call->n_body,
                          most < free_bytes ? most : free_bytes, patience(call), &got);
        if (state != DS4_WIRE_OK) {
            *fault = ended(state);
            return false;
        }
        call->n_body += got;
        n -= got;
    }
    return true;
}

/* A line of the chunked coding, without its CR LF; lent until the next read. */
static const char *read_line(ds4_http_call *call, ds4_http_fault *fault)
{
    ds4_wire *w = &call->conn->wire;
    size_t    seen = 0;

    for (;;) {
        char *line = w->bytes + w->at;
        char *end = memchr(line + seen, '\n', w->n - w->at - seen);
        seen = w->n - w->at;
        if (end && (end == line || end[-1] != '\r' || memchr(line, 0, (size_t)(end - line)))) {
            *fault = refused(400, "a line of a chunk does not end with CR LF");
            return NULL;
        }
        if (end) {
            end[-1] = '\0';
            w->at += (size_t)(end + 1 - line);
            return line;
        }
        if (seen >= MAX_LINE_BYTES) {
            *fault = refused(400, "a line of a chunk is too long");
            return NULL;
        }
        const ds4_wire_state state = ds4_wire_fill(w, patience(call));
        if (state != DS4_WIRE_OK) {
            *fault = ended(state);
            return NULL;
        }
    }
}

/* The size of a chunk; what follows a semicolon is passed over (RFC 9112, 7.1.1). */
static bool read_chunk_size(const char *line, uint64_t *size)
{
    const size_t n = strspn(line, "0123456789abcdefABCDEF");
    const char  *rest = line + n + strspn(line + n, " \t");

    if (n == 0 || n > 15 || (*rest && *rest != ';')) return false;
    *size = strtoull(line, NULL, 16);
    return true;
}

static bool read_chunks(ds4_http_call *call, ds4_http_fault *fault)
{
    uint64_t size = 0;

    for (;;) {
        const char *line = read_line(call, fault);
        if (!line) return false;
        if (!read_chunk_size(line, &size)) {
            *fault = refused(400, "the size of a chunk is no number");
            return false;
        }
        if (size == 0) break;
        if (size > call->conn->opt->max_body - call->n_body) {
            *fault = refused(413, "the request is larger than this server takes");
            return false;
        }
        if (!read_part(call, size, fault) || !(line = read_line(call, fault))) return false;
        if (*line) {
            *fault = refused(400, "a chunk is longer than its size");
            return false;
        }
    }
    for (int i = 0; i < MAX_TRAILERS; i++) {
        const char *line = read_line(call, fault);
        if (!line || !*line) return line != NULL;
    }
    *fault = refused(400, "there are too many trailers");
    return false;
}

/* Read the body, if there is one. False with a fault whose status is 0 when nobody is to be told. */
static bool read_body(ds4_http_call *call, ds4_http_fault *fault)
{
    static const char    go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    ds4_http_conn       *c = call->conn;
    const ds4_http_head *head = &call->head;

    if (head->n_body > c->opt->max_body) {
        *fault = refused(413, "the request is larger than this server takes");
        return false;
    }
    if (head->n_body == 0 && !head->chunked) return true;
    if (head->expects && !ds4_wire_send(&c->wire, go_on, sizeof go_on - 1, NULL, 0,
                                        c->opt->idle_seconds * second_ns)) {
        *fault = refused(0, "");
        return false;
    }
    if (!(head->chunked ? read_chunks(call, fault) : read_part(call, head->n_body, fault)))
        return false;
    if (call->body) call->body[call->n_body] = '\0';
    call->rq.body = (ds4_slice){ call->body ? call->body : "", call->n_body };
    return true;
}

static void free_body(ds4_http_call *call)
{
    free(call->body);
    ds4_purse_give(&call->purse, call->cap_body);
    call->body = NULL;
    call->n_body = call->cap_body = 0;
    call->rq.body = (ds4_slice){ "", 0 };
}

/* ---- answering -------------------------------------------------------------------------------- */

static const char *reason(int status)
{
    static const struct {
        int         status;
        const char *text;
    } list[] = {
        { 200, "OK" },
        { 204, "No Content" },
        { 304, "Not Modified" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 413, "Content Too Large" },
        { 415, "Unsupported Media Type" },
        { 417, "Expectation Failed" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 503, "Service Unavailable" },
        { 505, "HTTP Version Not Supported" },
        { 529, "Overloaded" },
    };

    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        if (list[i].status == status) return list[i].text;
    }
    return "Status";
}

static void add_date(ds4_str *out)
{
    static const char days[] = "SunMonTueWedThuFriSat",
                      months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const time_t now = time(NULL);
    struct tm    tm;

    gmtime_r(&now, &tm);
    ds4_str_addf(out, "Date: %.3s, %02d %.3s %d %02d:%02d:%02d GMT\r\n", days + 3 * tm.tm_wday,
                 tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                 tm.tm_sec);
}

static void add_head(const ds4_http_call *call, const ds4_http_answer *a, size_t n_body, bool keep,
                     ds4_str *out)
{
    const bool bare = a->status == 204 || a->status == 304;

    ds4_str_addf(out, "HTTP/1.1 %d %s\r\n", a->status, reason(a->status));
    add_date(out);
    if (!bare) ds4_str_addf(out, "Content-Type: %s\r\n", a->type ? a->type : "application/json");
    ds4_str_add(out, ds4_str_text(&a->headers), a->headers.n_bytes);
    if (a->read && call->head.minor > 0) {
        ds4_str_add_text(out, "Transfer-Encoding: chunked\r\n");
    } else if (!bare && !a->read) {
        ds4_str_addf(out, "Content-Length: %zu\r\n", n_body);
    }
    if (keep) {
        ds4_str_addf(out, "Connection: keep-alive\r\nKeep-Alive: timeout=%u\r\n\r\n",
                     call->conn->opt->idle_seconds);
    } else {
        ds4_str_add_text(out, "Connection: close\r\n\r\n");
    }
}

/* Read a source to its end. A chunk is its length, CR LF, the bytes, CR LF (RFC 9112, 7.1). */
static bool send_stream(ds4_http_call *call, ds4_http_answer *a)
{
    const uint64_t patience_ns = call->conn->opt->idle_seconds * second_ns;
    ds4_wire      *w = &call->conn->wire;
    const bool     framed = call->head.minor > 0;
    char           frame[FRAME_BYTES + 1], block[BLOCK_BYTES + 2];
    long           n;

    while ((n = a->read(a->ctx, block, BLOCK_BYTES)) > 0) {
        const int n_frame = framed ? snprintf(frame, sizeof frame, "%lx\r\n", (unsigned long)n) : 0;
        if (framed) memcpy(block + n, "\r\n", 2);
        if (!ds4_wire_send(w, frame, (size_t)n_frame, block, (size_t)n + (framed ? 2 : 0),
                           patience_ns)) {
            return false;
        }
    }
    return n == 0 && (!framed || ds4_wire_send(w, "0\r\n\r\n", 5, NULL, 0, patience_ns));
}

/* Send an answer, and free it. False when it did not get to its end. */
static bool send_answer(ds4_http_call *call, ds4_http_answer *a, bool keep)
{
    const uint64_t patience_ns = call->conn->opt->idle_seconds * second_ns;
    const bool     bare = !strcmp(call->rq.method, "HEAD") || a->status == 204 || a->status == 304;
    const char    *data = a->fixed ? a->fixed : ds4_str_text(&a->body);
    const size_t   n = a->fixed ? a->n_fixed : a->body.n_bytes;
    ds4_str        head = { 0 };
    bool           sent = false;

    if (a->status > 0 && !a->body.failed && !a->headers.failed) {
        add_head(call, a, n, keep, &head);
        call->streams = a->read != NULL;
        sent = !head.failed && ds4_wire_send(&call->conn->wire, head.data, head.n_bytes, data,
                                             bare || a->read ? 0 : n, patience_ns);
        if (sent && a->read && !bare) sent = send_stream(call, a);
    }
    if (a->free) a->free(a->ctx);
    ds4_str_clear(&head);
    ds4_str_clear(&a->headers);
    ds4_str_clear(&a->body);
    return sent;
}

/* ---- one request after the other ---------------------------------------------------------------- */

/* Let the handlers fill in an answer. Returns whether the connection may go on behind it: what was
 * not read of a request cannot be told from the next one. */
static bool answer(ds4_http_call *call, ds4_http_fault *fault, ds4_http_answer *a)
{
    const ds4_http_options *opt = call->conn->opt;
    const bool              no_body = call->head.n_body == 0 && !call->head.chunked;

    if (!fault->status && call->conn->crowded) {
        *fault = refused(503, "there are too many connections; try again");
    }
    if (!fault->status && opt->check(opt->ctx, &call->rq, a)) return no_body;
    if (!fault->status && read_body(call, fault)) {
        opt->handle(opt->ctx, &call->rq, a);
        /* A refused request gives its memory back before others look whether it has; an answer needs some. */
        if (a->read) ds4_purse_settle(&call->purse);
        else free_body(call);
        return true;
    }
    a->status = 0;
    if (fault->status) opt->refuse(opt->ctx, &call->rq, fault->status, fault->message, a);
    free_body(call);
    return false;
}

static void tell(const ds4_http_call *call, int status, bool whole, size_t n_received,
                 size_t n_sent)
{
    const ds4_http_options *opt = call->conn->opt;
    const ds4_wire         *w = &call->conn->wire;
    const ds4_http_outcome  o = { .status = status,
                                  .whole = whole,
                                  .n_received = w->n_received - (w->n - w->at) - n_received,
                                  .n_sent = w->n_sent - n_sent,
                                  .ns = ds4_now_ns() - call->begin_ns,
                                  .note = call->note };

    if (opt->done) opt->done(opt->ctx, &call->rq, &o);
}

/* Returns whether another request may follow. */
static bool serve_one(ds4_http_conn *c, ds4_http_call *call)
{
    const size_t n_received = c->wire.n_received - (c->wire.n - c->wire.at),
                 n_sent = c->wire.n_sent;
    ds4_http_answer a = { .status = 200 };
    ds4_http_fault  fault;

    const bool good = read_head(c, call, &fault);
    if (!good && !fault.status) return false;
    call->rq.method = call->head.method ? call->head.method : "";
    call->rq.path = call->head.path ? call->head.path : "";
    atomic_fetch_add(c->n_busy, 1);
    ds4_purse_open(&call->purse, c->opt->budget);
    const bool may = answer(call, &fault, &a);
    const bool keep =
        may && call->head.keep && !atomic_load(c->draining) && !(a.read && call->head.minor == 0);
    const int  status = a.status;
    if (a.reason[0]) ds4_http_note_text(call, "reason", a.reason);
    const bool whole = send_answer(call, &a, keep);
    free_body(call);
    ds4_purse_close(&call->purse);
    tell(call, status, whole, n_received, n_sent);
    atomic_fetch_sub(c->n_busy, 1);
    /* A client that was too slow is not waited for any longer. */
    if (whole && !keep && status != 408) {
        ds4_wire_linger(&c->wire, ds4_now_ns() + LINGER_SECONDS * second_ns);
    }
    return whole && keep;
}

void ds4_http_conn_serve(ds4_http_conn *c)
{
    ds4_wire *w = &c->wire;

    w->capacity = HEAD_BYTES + AHEAD_BYTES;
    w->bytes = malloc(w->capacity);
    ds4_http_call *call = malloc(sizeof *call);
    for (bool more = w->bytes && call; more;) {
        memset(call, 0, sizeof *call);
        call->conn = c;
        call->rq = (ds4_http_request){ .body = { "", 0 }, .client = c->client,
                                       .purse = &call->purse, .call = call };
        more = serve_one(c, call);
        memmove(w->bytes, w->bytes + w->at, w->n - w->at);
        w->n -= w->at;
        w->at = w->floor = 0;
    }
    free(call);
    free(w->bytes);
}
