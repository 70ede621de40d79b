/* mcp_http.c - an MCP server at an address: streamable HTTP. The one file that sees libcurl.
 *
 * Each message is a POST. An answer is one JSON text, or a stream of events in which the server may ask and
 * tell before it answers; a stream that breaks before that is taken up again where it was. Redirections are
 * not followed, because the user's headers would go along. */
#include "agent/mcp_local.h"
#include "agent/mcp_sse.h"

#include "base/clock.h"

#ifdef DS4_HAVE_CURL
#include <curl/curl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_SESSION_ID = 1024, MAX_RESUMES = 8, RETRY_MS = 1000, MAX_RETRY_MS = 10000, POST_MS = 10000,
       CONNECT_MS = 15000, MAX_EXPLAINED = 200 };

typedef struct http_wire {
    mcp_wire       wire;
    CURL          *main, *aside;        /* of a request; of what is posted while one receives */
    char         **headers;             /* lent by the settings */
    const char    *url;                 /* likewise */
    char           version[32];         /* "" before both agreed */
    char           session[MAX_SESSION_ID + 1];
    size_t         max_bytes;
    bool           begun;               /* the session exists */
    char           why[CURL_ERROR_SIZE];
} http_wire;

/* One transfer. */
typedef struct transfer {
    http_wire *w;
    mcp_wait  *wait;                    /* NULL: nothing is received */
    CURL      *curl;
    ds4_str    body;                    /* of an answer that is no stream */
    ds4_sse    sse;
    bool       is_stream, too_long;
    char       id[MAX_SESSION_ID + 1];  /* of the last event, to go on from */
} transfer;

/* ---- what comes ------------------------------------------------------------------------------ */

static void take_event(void *ctx, const ds4_sse_event *event)
{
    transfer *t = ctx;

    if (event->id.n_bytes < sizeof t->id) {
        memcpy(t->id, event->id.data, event->id.n_bytes);
        t->id[event->id.n_bytes] = '\0';
    }
    if (event->data.n_bytes && !t->wait->over) t->w->wire.receive(t->w->wire.ctx, event->data);
}

/* Returns fewer bytes than it got to end the transfer. */
static size_t take_body(char *data, size_t one, size_t n, void *ctx)
{
    transfer *t = ctx;

    (void)one;
    if (!t->wait) return n;
    if (t->is_stream) {
        if (!ds4_sse_add(&t->sse, data, n, take_event, t)) t->too_long = true;
        return t->too_long || t->wait->over ? 0 : n;
    }
    if (t->body.n_bytes + n > t->w->max_bytes) t->too_long = true;
    else ds4_str_add(&t->body, data, n);
    return t->too_long || t->body.failed ? 0 : n;
}

/* The value of a header line, or NULL when it is another header. */
static const char *header_value(const char *line, size_t n, const char *name, size_t *n_value)
{
    const size_t n_name = strlen(name);

    if (n <= n_name || strncasecmp(line, name, n_name) != 0 || line[n_name] != ':') return NULL;
    size_t at = n_name + 1;
    while (at < n && (line[at] == ' ' || line[at] == '\t')) at++;
    while (n > at && strchr("\r\n \t", line[n - 1])) n--;
    *n_value = n - at;
    return line + at;
}

static bool is_token(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] < 0x21 || text[i] > 0x7e) return false;
    }
    return n > 0 && n <= MAX_SESSION_ID;
}

static size_t take_header(char *data, size_t one, size_t n, void *ctx)
{
    transfer   *t = ctx;
    size_t      n_value;
    const char *value = header_value(data, n, "mcp-session-id", &n_value);

    (void)one;
    if (value && !t->w->begun && is_token(value, n_value)) {
        memcpy(t->w->session, value, n_value);
        t->w->session[n_value] = '\0';
    }
    value = header_value(data, n, "content-type", &n_value);
    if (value) t->is_stream = n_value >= 17 && strncasecmp(value, "text/event-stream", 17) == 0;
    return n;
}

static int look_at_wait(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const transfer *t = ctx;
    ds4_status      st;

    (void)a, (void)b, (void)c, (void)d;
    return t->wait && !mcp_wait_on(t->wait, &st, NULL);
}

/* ---- one transfer ---------------------------------------------------------------------------- */

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
    ds4_str line = { 0 };

    ds4_str_addf(&line, "%s: %s", name, value);
    struct curl_slist *more = line.failed ? NULL : curl_slist_append(list, line.data);
    ds4_str_clear(&line);
    return more ? more : list;
}

static struct curl_slist *all_headers(const http_wire *w, const char *last_id)
{
    struct curl_slist *list = NULL;

    for (char **h = w->headers; *h; h++) {
        struct curl_slist *more = curl_slist_append(list, *h);
        if (more) list = more;
    }
    list = add_header(list, "Accept", last_id ? "text/event-stream" : "application/json, text/event-stream");
    list = add_header(list, "Content-Type", "application/json");
    list = add_header(list, "Expect", "");
    if (*w->version) list = add_header(list, "MCP-Protocol-Version", w->version);
    if (*w->session) list = add_header(list, "Mcp-Session-Id", w->session);
    if (last_id) list = add_header(list, "Last-Event-ID", last_id);
    return list;
}

/* Run a transfer.
 *
 *   method    "POST" with a message, "GET" to go on behind last_id, "DELETE"
 *   status    receives the HTTP status, 0 when there was none
 *
 * Returns false when it did not come to its end; w->why says why.                          */
static bool run(transfer *t, const char *method, ds4_slice message, const char *last_id, long *status)
{
    http_wire         *w = t->w;
    CURL              *c = t->curl;
    struct curl_slist *headers = all_headers(w, last_id);

    curl_easy_reset(c);
    *w->why = '\0';
    curl_easy_setopt(c, CURLOPT_URL, w->url);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    if (!t->wait) curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)POST_MS);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, w->why);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "ds4-agent/" DS4_VERSION);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, look_at_wait);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    if (strcmp(method, "POST") == 0) {
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)message.n_bytes);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, message.data);
    } else {
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
    }
    const CURLcode code = curl_easy_perform(c);
    if (code != CURLE_OK && !*w->why) strncpy(w->why, curl_easy_strerror(code), sizeof w->why - 1);
    *status = 0;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, status);
    curl_slist_free_all(headers);
    return code == CURLE_OK;
}

static void say_why(http_wire *w, const transfer *t, long status)
{
    size_t n = 0;

    snprintf(w->why, sizeof w->why, "HTTP status %ld%s ", status,
             status == 401 || status == 403 ? ", it wants a key in \"headers\"" :
             status >= 300 && status < 400 ? ", a redirection, which is not followed" : "");
    n = strlen(w->why);
    const char *text = ds4_str_text(&t->body);
    for (size_t i = 0; i < MAX_EXPLAINED && text[i] && n + 1 < sizeof w->why; i++) {
        w->why[n++] = text[i] >= ' ' && text[i] < 0x7f ? text[i] : ' ';
    }
    while (n > 0 && w->why[n - 1] == ' ') n--;
    w->why[n] = '\0';
}

/* ---- the wire -------------------------------------------------------------------------------- */

/* A stream ended before the answer: ask for the rest of it as long as the server gives it. */
static ds4_status resume(transfer *t, ds4_err *err)
{
    ds4_status st = DS4_OK;
    long       status;

    for (int i = 0; mcp_wait_on(t->wait, &st, err); i++) {
        if (!*t->id || i == MAX_RESUMES) return ds4_fail(err, DS4_E_IO, "its stream ended before the answer");
        uint32_t       ms = t->sse.retry_ms ? t->sse.retry_ms : i ? RETRY_MS : 0;
        const uint64_t from = ds4_now_ns() + (uint64_t)(ms > MAX_RETRY_MS ? MAX_RETRY_MS : ms) * 1000000;
        while (ds4_now_ns() < from && mcp_wait_on(t->wait, &st, err)) poll(NULL, 0, DS4_MCP_POLL_MS);
        if (st != DS4_OK) return st;
        const size_t max_bytes = t->sse.max_bytes;
        const uint32_t retry_ms = t->sse.retry_ms;
        ds4_sse_clear(&t->sse);
        t->sse.max_bytes = max_bytes;
        t->sse.retry_ms = retry_ms;
        char id[sizeof t->id];
        memcpy(id, t->id, sizeof id);
        t->is_stream = false;
        run(t, "GET", (ds4_slice){ 0 }, id, &status);
        if (t->too_long)
            return ds4_fail(err, DS4_E_LIMIT, "it sent a message of more than %zu bytes", max_bytes);
        if (status >= 400)
            return ds4_fail(err, DS4_E_IO, "its stream ended, and HTTP status %ld to go on", status);
    }
    return st;
}

static ds4_status after_transfer(transfer *t, bool whole, long status, ds4_err *err)
{
    http_wire *w = t->w;
    ds4_status st;

    if (t->too_long)
        return ds4_fail(err, DS4_E_LIMIT, "it sent a message of more than %zu bytes", w->max_bytes);
    if (status == 404 && w->begun && *w->session) {
        w->wire.forgot_us = true;
        return ds4_fail(err, DS4_E_IO, "the server ended the session");
    }
    if (status >= 300) {
        say_why(w, t, status);
        return ds4_fail(err, DS4_E_IO, "%s", w->why);
    }
    if (!t->is_stream && t->body.n_bytes)
        w->wire.receive(w->wire.ctx, (ds4_slice){ t->body.data, t->body.n_bytes });
    if (!mcp_wait_on(t->wait, &st, err)) return st;
    if (t->is_stream) return resume(t, err);
    return whole ? ds4_fail(err, DS4_E_IO, "HTTP status %ld without an answer", status)
                 : ds4_fail(err, DS4_E_IO, "%s", w->why);
}

static ds4_status exchange(mcp_wire *wire, ds4_slice message, mcp_wait *wait, ds4_err *err)
{
    http_wire *w = (http_wire *)wire;
    transfer   t = { .w = w, .wait = wait, .curl = w->main, .sse = { .max_bytes = w->max_bytes } };
    long       status;

    const bool       whole = run(&t, "POST", message, NULL, &status);
    const ds4_status st = after_transfer(&t, whole, status, err);
    ds4_str_clear(&t.body);
    ds4_sse_clear(&t.sse);
    return st;
}

static void aside(http_wire *w, const char *method, ds4_slice message)
{
    transfer t = { .w = w, .curl = w->aside };
    char     why[CURL_ERROR_SIZE];
    long     status;

    memcpy(why, w->why, sizeof why);
    run(&t, method, message, NULL, &status);
    memcpy(w->why, why, sizeof why);
}

static void post(mcp_wire *wire, ds4_slice message)
{
    aside((http_wire *)wire, "POST", message);
}

static bool look(mcp_wire *wire)
{
    (void)wire;
    return true;
}

static void agreed(mcp_wire *wire, const char *version)
{
    http_wire *w = (http_wire *)wire;

    strncpy(w->version, version, sizeof w->version - 1);
    w->begun = true;
}

static void explain(mcp_wire *wire, ds4_str *out)
{
    (void)wire;
    (void)out;                          /* the error says everything */
}

static void close_wire(mcp_wire *wire)
{
    http_wire *w = (http_wire *)wire;

    if (*w->session && !w->wire.forgot_us) aside(w, "DELETE", (ds4_slice){ 0 });
    curl_easy_cleanup(w->main);
    curl_easy_cleanup(w->aside);
    free(w);
}

static const mcp_wire_ops http_ops = { exchange, post, look, agreed, close_wire, explain };

ds4_status mcp_http_open(const mcp_settings *s, size_t max_bytes, mcp_wire **out, ds4_err *err)
{
    http_wire *w = calloc(1, sizeof *w);

    if (w) {
        w->main = curl_easy_init();
        w->aside = curl_easy_init();
    }
    if (!w || !w->main || !w->aside) {
        if (w) curl_easy_cleanup(w->main);
        if (w) curl_easy_cleanup(w->aside);
        free(w);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a server");
    }
    w->wire.ops = &http_ops;
    w->headers = s->headers;
    w->url = s->url;
    w->max_bytes = max_bytes;
    *out = &w->wire;
    return DS4_OK;
}

#else

ds4_status mcp_http_open(const mcp_settings *s, size_t max_bytes, mcp_wire **out, ds4_err *err)
{
    (void)max_bytes;
    (void)out;
    return ds4_fail(err, DS4_E_UNSUPPORTED, "this build has no libcurl, which %s needs", s->url);
}

#endif
