/* route.c - who may ask what: paths, methods, keys, hosts and origins. */
#include "app/server/server.h"
#include "app/server/web_assets.h"

#include <string.h>
#include <strings.h>
#include <time.h>

/* ---- paths ---------------------------------------------------------------------------------- */

enum {
    PATH_BYTES = 512,  /* a longer one is no route */
    STATUS_LEFT = 499, /* in logs and counts: the client left before there was an answer */
};

/* The route that a path asks for. Bases that people configure are passed over: /v1, nothing,
 * /anthropic, and /v1 twice; so are slashes that are doubled or stand at the end. */
static const char *normal_path(const char *path, char out[PATH_BYTES])
{
    size_t n = 0;

    for (const char *in = path; *in && n + 1 < PATH_BYTES; in++) {
        if (*in != '/' || n == 0 || out[n - 1] != '/') out[n++] = *in;
    }
    while (n > 1 && out[n - 1] == '/') n--;
    out[n] = '\0';
    path = out;
    if (!strncmp(path, "/anthropic/", 11)) path += 10;
    while (!strncmp(path, "/v1/", 4)) path += 3;
    return strcmp(path, "/v1") ? path : "/";
}

typedef enum page {
    PAGE_NONE,
    PAGE_GENERATE,
    PAGE_COUNT,
    PAGE_MODELS,
    PAGE_HEALTH,
    PAGE_METRICS,
    PAGE_STATS,
    PAGE_TOKENIZE,
    PAGE_STORED,
    PAGE_ASSET,
} page;

typedef struct route {
    const char *path;
    page        page;
    bool        post; /* else GET and HEAD */
    bool        open; /* asks for no key */
} route;

static const route routes[] = {
    { "/chat/completions", PAGE_GENERATE, true, false },
    { "/completions", PAGE_GENERATE, true, false },
    { "/messages", PAGE_GENERATE, true, false },
    { "/responses", PAGE_GENERATE, true, false },
    { "/messages/count_tokens", PAGE_COUNT, true, false },
    { "/tokenize", PAGE_TOKENIZE, true, false },
    { "/models", PAGE_MODELS, false, false },
    { "/metrics", PAGE_METRICS, false, false },
    { "/ds4/stats", PAGE_STATS, false, false },
    { "/health", PAGE_HEALTH, false, true },
    { NULL, PAGE_NONE, false, false },
};

static route find_route(const char *path)
{
    char normal[PATH_BYTES];

    path = normal_path(path, normal);
    for (const route *r = routes; r->path; r++) {
        if (!strcmp(r->path, path)) return *r;
    }
    if (!strncmp(path, "/responses/", 11)) return (route){ "/responses/", PAGE_STORED, false, false };
    if (!strncmp(path, "/models/", 8)) return (route){ "/models/", PAGE_MODELS, false, false };
    if (ds4_web_asset_find(path)) return (route){ "", PAGE_ASSET, false, true };
    return (route){ "", PAGE_NONE, false, true };
}

/* ---- keys, hosts, origins ------------------------------------------------------------------- */

static bool has_key(const ds4_server *s, const ds4_http_request *rq)
{
    return s->opt.keys->n == 0 || ds4_key_of(s, rq);
}

/* The name of a Host header, without the port and brackets; http_head.c has looked at its form. */
static void host_name(const char *header, char out[256])
{
    const bool v6 = *header == '[';

    header += v6;
    snprintf(out, 256, "%.*s", (int)strcspn(header, v6 ? "]" : ":"), header);
}

/* A web page of somebody else can make its own name point here; it cannot make the browser
 * send another Host. With a key there is nothing to gain by that. */
static bool good_host(const ds4_server *s, const ds4_http_request *rq)
{
    const char *header = ds4_http_header(rq, "Host");
    char        name[256];

    if (s->opt.keys->n > 0 || !header) return true;
    host_name(header, name);
    for (uint32_t i = 0; i < s->opt.n_hosts; i++) {
        if (!strcasecmp(s->opt.hosts[i], name) || !strcmp(s->opt.hosts[i], "*")) return true;
    }
    return ds4_http_is_loopback(name) || !strcasecmp(name, s->opt.host);
}

/* The Origin header to answer to; NULL: none, or not one of those named. */
static const char *named_origin(const ds4_server *s, const ds4_http_request *rq)
{
    const char *origin = ds4_http_header(rq, "Origin");

    for (uint32_t i = 0; origin && i < s->opt.n_origins; i++) {
        if (!strcmp(s->opt.origins[i], origin) || !strcmp(s->opt.origins[i], "*")) return origin;
    }
    return NULL;
}

/* Does a header name the host and port of an origin? */
static bool is_host_of(const char *origin, const char *host)
{
    const size_t scheme = !strncmp(origin, "http://", 7)    ? 7
                          : !strncmp(origin, "https://", 8) ? 8
                                                            : 0;

    return host && scheme && !strcasecmp(origin + scheme, host);
}

/* Does the request come from a page that this server gave out itself, or from no page at all?
 *
 * A proxy may have replaced Host. What tells then is Sec-Fetch-Site, which browsers write and pages
 * cannot, or X-Forwarded-Host: a page elsewhere would have to ask first before it sends that, and
 * is told no. Browsers leave the first away where neither TLS nor this machine makes a page
 * trustworthy. */
static bool own_origin(const ds4_http_request *rq)
{
    const char *origin = ds4_http_header(rq, "Origin");
    const char *site = ds4_http_header(rq, "Sec-Fetch-Site");
    const char *mode = ds4_http_header(rq, "Sec-Fetch-Mode");

    if (site && !strcasecmp(site, "same-origin")) return true;
    if (!origin)
        return !site || !strcasecmp(site, "none") || (mode && !strcasecmp(mode, "navigate"));
    return is_host_of(origin, ds4_http_header(rq, "Host")) ||
           is_host_of(origin, ds4_http_header(rq, "X-Forwarded-Host"));
}

static void add_cors(const ds4_server *s, const ds4_http_request *rq, ds4_http_answer *a)
{
    const char *origin = named_origin(s, rq);

    if (!origin) return;
    ds4_http_add_header(a, "Access-Control-Allow-Origin", origin);
    ds4_http_add_header(a, "Access-Control-Expose-Headers",
                        "x-request-id, request-id, retry-after, x-should-retry");
    ds4_http_add_header(a, "Vary", "Origin");
}

/* Answer the question of a browser before it sends a request of another page. A page that was named may send
 * all the headers it wants to: SDKs add to theirs with every version. */
static void preflight(const ds4_http_request *rq, ds4_http_answer *a)
{
    const char *headers = ds4_http_header(rq, "Access-Control-Request-Headers");

    a->status = 204;
    ds4_http_add_header(a, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    if (headers) ds4_http_add_header(a, "Access-Control-Allow-Headers", headers);
    if (ds4_http_header(rq, "Access-Control-Request-Private-Network")) {
        ds4_http_add_header(a, "Access-Control-Allow-Private-Network", "true");
    }
    ds4_http_add_header(a, "Access-Control-Max-Age", "600");
}

/* ---- looking at a request ------------------------------------------------------------------ */

static bool deny(const ds4_http_request *rq, int status, const char *message, const char *code,
                 ds4_http_answer *a)
{
    ds4_refuse_with(ds4_api_of(rq->path),
                    &(ds4_problem){ .status = status, .message = message, .code = code }, a);
    return true;
}

/* Pages for those who watch the server: they are answered to the end. */
static bool is_watching(page p)
{
    return p == PAGE_HEALTH || p == PAGE_METRICS || p == PAGE_STATS;
}

static bool is_get(const ds4_http_request *rq)
{
    return !strcmp(rq->method, "GET") || !strcmp(rq->method, "HEAD");
}

static bool takes(const route *r, const ds4_http_request *rq)
{
    if (r->post) return !strcmp(rq->method, "POST");
    return is_get(rq) || (r->page == PAGE_STORED && !strcmp(rq->method, "DELETE"));
}

/* Browsers send other types without asking first; programs always send this one. */
static bool wrong_type(const ds4_http_request *rq)
{
    const char *type = ds4_http_header(rq, "Content-Type");

    if (!ds4_http_header(rq, "Origin")) return false;
    return !type || strncasecmp(type, "application/json", 16) != 0;
}

/* Refuse requests of other places; true when it was answered. Whoever has a key is no page that
 * came by, and what asks for none is public. */
static bool refuse_place(const ds4_server *s, const route *r, const ds4_http_request *rq,
                         ds4_http_answer *a)
{
    const bool asks = !strcmp(rq->method, "OPTIONS");
    const bool named = named_origin(s, rq) != NULL;
    const bool is_free = !asks && (r->open || (s->opt.keys->n > 0 && has_key(s, rq)));

    if (!good_host(s, rq)) {
        return deny(rq, 403,
                    "this Host is not served; use 127.0.0.1 or localhost, name it with "
                    "--allow-host, or set a key",
                    "host_not_allowed", a);
    }
    if (!named && !is_free && !own_origin(rq)) {
        return deny(rq, 403, "this Origin is not allowed; name it with --cors-origin",
                    "origin_not_allowed", a);
    }
    if (!asks) return false;
    a->status = 204;
    if (named) preflight(rq, a);
    return true;
}

/* A small model is open within moments, and a program that starts a server asks at once: it waits
 * rather than to be told to come again. */
static bool is_ready_soon(const ds4_server *s)
{
    const struct timespec nap = { 0, 10000000 };

    for (int i = 0; i < 200 && !atomic_load(&s->ready); i++) nanosleep(&nap, NULL);
    return atomic_load(&s->ready);
}

/* Refuse what the state of the server makes impossible; true when it was answered. */
static bool refuse_state(const ds4_server *s, const route *r, const ds4_http_request *rq,
                         ds4_http_answer *a)
{
    if (r->page == PAGE_ASSET || r->page == PAGE_HEALTH) return false;
    if (!is_ready_soon(s)) return deny(rq, 503, "the model is being loaded", NULL, a);
    if (!is_watching(r->page) && atomic_load(&s->draining)) {
        return deny(rq, 503, "the server is shutting down", NULL, a);
    }
    return false;
}

bool ds4_route_check(void *server, const ds4_http_request *rq, ds4_http_answer *a)
{
    ds4_server *s = server;
    const route r = find_route(rq->path);
    char        text[160];

    add_cors(s, rq, a);
    if (refuse_place(s, &r, rq, a)) return true;
    if (r.page == PAGE_NONE) {
        snprintf(text, sizeof text, "unknown endpoint: %.8s %.100s", rq->method, rq->path);
        return deny(rq, 404, text, "not_found", a);
    }
    if (!takes(&r, rq)) {
        const bool stored = r.page == PAGE_STORED;
        ds4_http_add_header(a, "Allow", r.post   ? "POST, OPTIONS"
                                        : stored ? "GET, HEAD, DELETE, OPTIONS"
                                                 : "GET, HEAD, OPTIONS");
        snprintf(text, sizeof text, "%.100s takes %s only", rq->path,
                 r.post ? "POST" : stored ? "GET and DELETE" : "GET");
        return deny(rq, 405, text, "method_not_allowed", a);
    }
    if (!r.open && !has_key(s, rq)) {
        return deny(rq, 401, "the API key is missing or wrong", "invalid_api_key", a);
    }
    if (r.post && wrong_type(rq)) {
        return deny(rq, 415, "the Content-Type must be application/json", "unsupported_media_type",
                    a);
    }
    return refuse_state(s, &r, rq, a);
}

void ds4_route_handle(void *server, const ds4_http_request *rq, ds4_http_answer *a)
{
    ds4_server *s = server;
    const route r = find_route(rq->path);
    char        normal[PATH_BYTES];
    const char *path = normal_path(rq->path, normal);

    add_cors(s, rq, a);
    switch (r.page) {
    case PAGE_GENERATE: ds4_generate(s, ds4_api_of(path), rq, a); break;
    case PAGE_COUNT: ds4_count_tokens(s, rq, a); break;
    case PAGE_MODELS: ds4_page_models(s, path[7] == '/' ? path + 8 : NULL, a); break;
    case PAGE_HEALTH: ds4_page_health(s, a); break;
    case PAGE_METRICS: ds4_page_metrics(s, a); break;
    case PAGE_STATS: ds4_page_stats(s, a); break;
    case PAGE_TOKENIZE: ds4_page_tokenize(s, rq, a); break;
    case PAGE_STORED: ds4_page_stored(s, rq, path, a); break;
    case PAGE_ASSET: ds4_page_asset(rq, path, a); break;
    case PAGE_NONE: break;
    }
}

void ds4_route_refuse(void *server, const ds4_http_request *rq, int status, const char *message,
                      ds4_http_answer *a)
{
    add_cors(server, rq, a);
    deny(rq, status, message, status == 413 ? "request_too_large" : NULL, a);
}

/* ---- the end of a request --------------------------------------------------------------------- */

/* Ordinary requests are told of at the level that is usual; what asks again and again is of no
 * interest while all is well, and a client that leaves has its reasons. */
static ds4_log_level level_of(const ds4_http_request *rq, int status)
{
    if (status >= 500) return DS4_LOG_ERROR;
    if (status >= 400 && status != STATUS_LEFT) return DS4_LOG_WARN;
    return status < 300 && is_watching(find_route(rq->path).page) ? DS4_LOG_DEBUG : DS4_LOG_INFO;
}

void ds4_route_done(void *server, const ds4_http_request *rq, const ds4_http_outcome *o)
{
    ds4_server   *s = server;
    const ds4_api api =
        find_route(rq->path).page == PAGE_GENERATE ? ds4_api_of(rq->path) : DS4_API_OTHER;
    const int status = o->status ? o->status : STATUS_LEFT;
    char      path[200];
    size_t    n = 0;

    for (; rq->path[n] && n + 1 < sizeof path; n++)
        path[n] = strchr("\" =", rq->path[n]) ? '?' : rq->path[n];
    path[n] = '\0';
    ds4_metrics_request(&s->metrics, api, status);
    ds4_server_log(level_of(rq, status), ds4_api_name(api),
                   "status=%d%s client=%s method=%.16s path=%s ms=%.1f received=%zu sent=%zu%s%s",
                   status, o->whole ? "" : " broken=true", rq->client,
                   *rq->method ? rq->method : "-", *path ? path : "-", (double)o->ns / 1e6,
                   o->n_received, o->n_sent, *o->note ? " " : "", o->note);
}
