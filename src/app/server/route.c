/* route.c - who may ask what: paths, methods, keys, hosts and origins. */
#include "app/server/server.h"
#include "app/server/web_assets.h"
#include "base/sha256.h"

#include <string.h>
#include <strings.h>

/* ---- paths ---------------------------------------------------------------------------------- */

/* Bases that people configure: /v1, nothing, /anthropic, and /v1 twice. */
static const char *normal_path(const char *path)
{
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
    path = normal_path(path);
    for (const route *r = routes; r->path; r++) {
        if (!strcmp(r->path, path)) return *r;
    }
    if (!strncmp(path, "/responses/", 11)) return (route){ path, PAGE_STORED, false, false };
    if (!strncmp(path, "/models/", 8)) return (route){ path, PAGE_MODELS, false, false };
    if (ds4_web_asset_find(path)) return (route){ path, PAGE_ASSET, false, true };
    return (route){ path, PAGE_NONE, false, true };
}

/* ---- keys, hosts, origins ------------------------------------------------------------------- */

/* The key that a request shows, or NULL. */
static const char *key_of(const ds4_server *s, const ds4_http_request *rq)
{
    const char *bearer = ds4_http_header(rq, "Authorization");
    const char *key = ds4_http_header(rq, "x-api-key");

    if (key && ds4_keys_have(s->opt.keys, key)) return key;
    if (!bearer || strncasecmp(bearer, "Bearer ", 7) != 0) return NULL;
    return ds4_keys_have(s->opt.keys, bearer + 7) ? bearer + 7 : NULL;
}

static bool has_key(const ds4_server *s, const ds4_http_request *rq)
{
    return s->opt.keys->n == 0 || key_of(s, rq);
}

ds4_kv_key ds4_owner_of(const ds4_server *s, const ds4_http_request *rq)
{
    const char *key = s->opt.keys->n > 0 ? key_of(s, rq) : NULL;
    uint8_t     sum[DS4_SHA256_BYTES];
    ds4_kv_key  owner = { { 0 } };

    if (!key) return owner;
    ds4_sha256(key, strlen(key), sum);
    memcpy(owner.b, sum, sizeof owner.b);
    return owner;
}

/* The name of a Host header, without the port and brackets. */
static void host_name(const char *header, char out[256])
{
    size_t n;

    if (*header == '[') {
        header++;
        n = strcspn(header, "]");
    } else {
        n = strcspn(header, ":");
    }
    snprintf(out, 256, "%.*s", (int)(n < 255 ? n : 255), header);
}

/* A web page of somebody else can make its own name point here; it cannot make the browser
 * send another Host. With a key there is nothing to gain by that. */
static bool good_host(const ds4_server *s, const ds4_http_request *rq)
{
    const char *header = ds4_http_header(rq, "Host");
    char        name[256];

    if (s->opt.keys->n > 0 || !header) return true;
    host_name(header, name);
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

/* Pages that this server gave out itself. */
static bool own_origin(const ds4_http_request *rq)
{
    const char *origin = ds4_http_header(rq, "Origin");
    const char *host = ds4_http_header(rq, "Host");

    if (!origin || !host) return !origin;
    if (!strncmp(origin, "http://", 7)) return !strcasecmp(origin + 7, host);
    if (!strncmp(origin, "https://", 8)) return !strcasecmp(origin + 8, host);
    return false;
}

static void add_cors(const ds4_server *s, const ds4_http_request *rq, ds4_http_answer *a)
{
    const char *origin = named_origin(s, rq);

    if (!origin) return;
    ds4_http_add_header(a, "Access-Control-Allow-Origin", origin);
    ds4_http_add_header(a, "Vary", "Origin");
}

static void preflight(ds4_http_answer *a)
{
    a->status = 204;
    ds4_http_add_header(a, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    ds4_http_add_header(a, "Access-Control-Allow-Headers",
                        "authorization, content-type, x-api-key, "
                        "anthropic-version, anthropic-beta, x-session-id");
    ds4_http_add_header(a, "Access-Control-Max-Age", "600");
}

/* ---- the two looks at a request ------------------------------------------------------------- */

static bool deny(const ds4_http_request *rq, int status, const char *message, const char *code,
                 ds4_http_answer *a)
{
    ds4_refuse_with(ds4_api_of(rq->path),
                    &(ds4_problem){ .status = status, .message = message, .code = code }, a);
    return true;
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

static bool refuse_head(ds4_server *s, const ds4_http_request *rq, ds4_http_answer *a)
{
    const route r = find_route(rq->path);
    char        text[160];

    add_cors(s, rq, a);
    if (!good_host(s, rq)) {
        return deny(rq, 403, "this Host is not served; use 127.0.0.1 or localhost, or set a key",
                    "host_not_allowed", a);
    }
    if (!strcmp(rq->method, "OPTIONS")) {
        preflight(a);
        return true;
    }
    if (!own_origin(rq) && !named_origin(s, rq)) {
        return deny(rq, 403, "this Origin is not allowed; name it with --cors-origin",
                    "origin_not_allowed", a);
    }
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
    return false;
}

static void count(ds4_server *s, const route *r, const ds4_http_request *rq, int status)
{
    atomic_fetch_add(&s->n_requests[r->page == PAGE_GENERATE ? ds4_api_of(rq->path) : DS4_API_OTHER], 1);
    if (status > 0) atomic_fetch_add(&s->n_statuses[status / 100 % DS4_N_STATUS_CLASSES], 1);
}

bool ds4_route_check(void *server, const ds4_http_request *rq, ds4_http_answer *a)
{
    ds4_server *s = server;

    if (!refuse_head(s, rq, a)) return false;
    const route r = find_route(rq->path);
    count(s, &r, rq, a->status);
    if (a->status >= 400) {
        ds4_server_say("refused", "status=%d client=%s method=%.16s path=%.200s", a->status, rq->client,
                       rq->method, rq->path);
    }
    return true;
}

/* Browsers send other types without asking first; programs always send this one. */
static bool wrong_type(const ds4_http_request *rq)
{
    const char *type = ds4_http_header(rq, "Content-Type");

    if (!ds4_http_header(rq, "Origin")) return false;
    return !type || strncasecmp(type, "application/json", 16) != 0;
}

static void dispatch(ds4_server *s, const route *r, const ds4_http_request *rq, ds4_http_answer *a)
{
    const char *path = normal_path(rq->path);

    switch (r->page) {
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

void ds4_route_handle(void *server, const ds4_http_request *rq, ds4_http_answer *a)
{
    ds4_server *s = server;
    const route r = find_route(rq->path);

    add_cors(s, rq, a);
    if (r.post && wrong_type(rq)) {
        deny(rq, 415, "the Content-Type must be application/json", "unsupported_media_type", a);
    } else {
        dispatch(s, &r, rq, a);
    }
    count(s, &r, rq, a->status);
}

void ds4_route_too_large(void *server, const ds4_http_request *rq, ds4_http_answer *a)
{
    (void)server;
    deny(rq, 413, "the request is larger than this server takes", "request_too_large", a);
}
