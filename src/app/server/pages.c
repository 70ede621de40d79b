/* pages.c - models, health, numbers, tokens, and the web page's files. */
#include "app/server/server.h"

#include "app/server/web_assets.h"
#include "base/clock.h"
#include "base/sysmem.h"

#include <string.h>
#include <time.h>

static ds4_slice text_of(const char *text)
{
    return (ds4_slice){ text, strlen(text) };
}

/* ---- models --------------------------------------------------------------------------------- */

static void add_model(const ds4_server *s, const char *id, ds4_str *out)
{
    const ds4_model_info *info = ds4_engine_info(s->model.engine);
    const uint32_t most = s->opt.max_tokens < s->opt.n_ctx ? s->opt.max_tokens : s->opt.n_ctx;
    struct tm      tm;
    char           created[32];
    const time_t   start = (time_t)s->start_time;

    gmtime_r(&start, &tm);
    strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &tm);
    ds4_str_add_text(out, "{\"id\":");
    ds4_pyjson_add_string(out, text_of(id));
    ds4_str_addf(out,
                 ",\"object\":\"model\",\"type\":\"model\",\"created\":%ld,\"created_at\":\"%s\","
                 "\"owned_by\":\"ds4\",\"name\":",
                 s->start_time, created);
    ds4_pyjson_add_string(out, text_of(info->name[0] ? info->name : id));
    ds4_str_add_text(out, ",\"display_name\":");
    ds4_pyjson_add_string(out, text_of(info->name[0] ? info->name : id));
    ds4_str_addf(
        out,
        ",\"context_length\":%u,\"max_model_len\":%u,\"top_provider\":{"
        "\"context_length\":%u,\"max_completion_tokens\":%u,\"is_moderated\":false},"
        "\"supported_parameters\":[\"tools\",\"tool_choice\",\"max_tokens\",\"temperature\","
        "\"top_p\",\"top_k\",\"min_p\",\"stop\",\"seed\",\"stream\",\"logprobs\","
        "\"reasoning_effort\"]}",
        s->opt.n_ctx, s->opt.n_ctx, s->opt.n_ctx, most);
}

/* Any name is served, so any name is known. */
void ds4_page_models(ds4_server *s, const char *id, ds4_http_answer *a)
{
    const char *own = s->opt.model_id;

    if (id) {
        add_model(s, id, &a->body);
        return;
    }
    ds4_str_add_text(&a->body, "{\"object\":\"list\",\"data\":[");
    add_model(s, own, &a->body);
    ds4_str_add_text(&a->body, "],\"models\":[],\"has_more\":false,\"first_id\":");
    ds4_pyjson_add_string(&a->body, text_of(own));
    ds4_str_add_text(&a->body, ",\"last_id\":");
    ds4_pyjson_add_string(&a->body, text_of(own));
    ds4_str_add_char(&a->body, '}');
}

void ds4_page_health(ds4_server *s, ds4_http_answer *a)
{
    const bool          ready = atomic_load(&s->ready), draining = atomic_load(&s->draining);
    ds4_scheduler_stats n = { .broken = { .code = DS4_OK } };

    if (ready) ds4_scheduler_stats_get(s->scheduler, &n);
    const bool broken = n.broken.code != DS4_OK;
    a->status = !ready || draining || broken ? 503 : 200;
    ds4_str_addf(&a->body, "{\"status\":\"%s\"",
                 draining ? "shutting down"
                 : !ready ? "loading"
                 : broken ? "failing"
                          : "ok");
    if (broken) {
        ds4_str_add_text(&a->body, ",\"reason\":");
        ds4_pyjson_add_string(&a->body, (ds4_slice){ n.broken.text, strlen(n.broken.text) });
    }
    ds4_str_add_char(&a->body, '}');
}

/* ---- numbers for the dashboard ---------------------------------------------------------------- */

static void add_slots(const ds4_scheduler_stats *n, ds4_str *out)
{
    ds4_str_add_text(out, ",\"slots\":[");
    for (uint32_t i = 0; i < n->n_slots; i++) {
        const ds4_slot_stats *slot = &n->slot[i];
        ds4_str_addf(out,
                     "%s{\"id\":%u,\"state\":\"%s\",\"pos\":%u,\"context\":%u,\"prompt\":%u,"
                     "\"generated\":%u,\"cached\":%u}",
                     i ? "," : "", i,
                     slot->reading     ? "prefill"
                     : slot->answering ? "decode"
                                       : "idle",
                     slot->n_tokens, n->n_ctx, slot->n_prompt, slot->n_generated, slot->n_cached);
    }
    ds4_str_add_char(out, ']');
}

typedef unsigned long long count;

static void add_memory(const ds4_server *s, const ds4_scheduler_stats *n, ds4_str *out)
{
    const ds4_plan *plan = ds4_engine_plan(s->model.engine);
    uint64_t        n_held = 0;

    for (uint32_t i = 0; i < n->n_slots; i++) n_held += n->slot[i].n_tokens;
    ds4_str_addf(out,
                 ",\"memory\":{\"kv_bytes\":%llu,\"kv_max_bytes\":%llu,\"process_bytes\":%llu,"
                 "\"machine_bytes\":%llu}",
                 (count)(n_held * plan->per_token_kv + n->kept_bytes),
                 (count)(plan->per_token_kv * n->n_ctx * n->n_slots), (count)ds4_sysmem_used(),
                 (count)ds4_sysmem_get().total_bytes);
}

static void add_disk(const ds4_scheduler_stats *n, ds4_str *out)
{
    if (n->disk_max_bytes == 0) return;
    ds4_str_addf(out,
                 ",\"disk\":{\"bytes\":%llu,\"max_bytes\":%llu,\"entries\":%llu,\"hits\":%llu,"
                 "\"misses\":%llu}",
                 (count)n->disk_bytes, (count)n->disk_max_bytes, (count)n->n_disk, (count)n->n_hits,
                 (count)n->n_misses);
}

/* Numbers that the dashboard plots; see web/README.md. */
void ds4_page_stats(ds4_server *s, ds4_http_answer *a)
{
    const ds4_model_info *info = ds4_engine_info(s->model.engine);
    ds4_scheduler_stats   n;
    ds4_str              *out = &a->body;
    uint32_t              held = 0, reading = 0, answering = 0;

    ds4_scheduler_stats_get(s->scheduler, &n);
    for (uint32_t i = 0; i < n.n_slots; i++) {
        held += n.slot[i].n_tokens > 0;
        reading += n.slot[i].reading;
        answering += n.slot[i].answering;
    }
    ds4_str_addf(out, "{\"version\":\"%s\",\"uptime_s\":%.3f,\"model\":{\"id\":", DS4_VERSION,
                 (double)(ds4_now_ns() - s->start_ns) / 1e9);
    ds4_pyjson_add_string(out, text_of(s->opt.model_id));
    ds4_str_add_text(out, ",\"name\":");
    ds4_pyjson_add_string(out, text_of(info->name));
    ds4_str_addf(out, ",\"context\":%u,\"file_bytes\":%llu,\"backend\":\"cpu\",\"threads\":%u}",
                 n.n_ctx, (count)info->file_bytes, ds4_engine_threads(s->model.engine));
    ds4_str_addf(
        out, ",\"sessions\":{\"max\":%u,\"held\":%u,\"prefill\":%u,\"decode\":%u,\"queued\":%u}",
        n.n_slots, held, reading, answering, n.n_waiting);
    ds4_str_addf(
        out, ",\"tokens\":{\"prompt\":%llu,\"cached\":%llu,\"prefilled\":%llu,\"generated\":%llu}",
        (count)n.n_prompt_tokens, (count)n.n_cached_tokens, (count)n.n_prefilled_tokens,
        (count)n.n_generated_tokens);
    ds4_str_addf(
        out, ",\"requests\":{\"total\":%llu,\"failed\":%llu,\"cancelled\":%llu,\"rejected\":%llu}",
        (count)n.n_jobs, (count)n.n_failed, (count)n.n_cancelled, (count)n.n_refused);
    ds4_str_addf(out, ",\"speed\":{\"prefill_tps\":%.3f,\"decode_tps\":%.3f}", n.prefill_speed,
                 n.decode_speed);
    ds4_str_addf(out, ",\"drafts\":{\"steps\":%llu,\"tokens\":%llu,\"accepted\":%llu}",
                 (count)n.speculation.n_steps, (count)n.speculation.n_guessed,
                 (count)n.speculation.n_agreed);
    add_memory(s, &n, out);
    add_disk(&n, out);
    add_slots(&n, out);
    ds4_str_add_char(out, '}');
}

/* ---- tokens --------------------------------------------------------------------------------- */

static void add_tokens(const ds4_server *s, const ds4_tokens *t, ds4_str *out)
{
    ds4_str_addf(out, "{\"count\":%u,\"tokens\":[", t->n);
    for (uint32_t i = 0; i < t->n; i++) ds4_str_addf(out, "%s%d", i ? "," : "", t->ids[i]);
    ds4_str_add_text(out, "],\"pieces\":[");
    for (uint32_t i = 0; i < t->n; i++) {
        if (i) ds4_str_add_char(out, ',');
        ds4_pyjson_add_string(out, ds4_vocab_token_bytes(s->vocab, t->ids[i]));
    }
    ds4_str_add_text(out, "]}");
}

/* {"content": TEXT} as plain text, or a body of /v1/chat/completions as it would be
 * rendered. */
void ds4_page_tokenize(ds4_server *s, const ds4_http_request *rq, ds4_http_answer *a)
{
    const ds4_request_defaults defaults = { .protocol = s->model.protocol,
                                            .sampling = { .top_p = 1 } };
    ds4_request                request = { .api = DS4_API_CHAT, .arena.purse = rq->purse };
    ds4_segments               text = { 0 };
    ds4_tokens                 tokens = { 0 };
    ds4_err                    err = { .code = DS4_OK };
    ds4_slice                  value;
    ds4_str                    content = { 0 };
    ds4_status                 st = DS4_OK;

    if (ds4_pyjson_get(rq->body, "content", &value) && ds4_pyjson_kind(value) == DS4_JSON_STRING) {
        st = ds4_pyjson_decode_string(value, &content, &err);
        ds4_segments_foreign(&text, (ds4_slice){ ds4_str_text(&content), content.n_bytes });
    } else {
        st = ds4_request_read(&request, rq->body, &defaults, NULL, NULL, &err);
        if (st == DS4_OK) st = ds4_request_render(&request, &text, &err);
    }
    if (st == DS4_OK) st = ds4_segments_encode(s->vocab, &text, &tokens, &err);
    if (st == DS4_OK) {
        add_tokens(s, &tokens, &a->body);
    } else {
        ds4_refuse_with(DS4_API_OTHER,
                        &(ds4_problem){ .status = request.arena.over ? 503 : ds4_http_status_of(st),
                                        .message = err.text,
                                        .param = request.refusal.param },
                        a);
    }
    ds4_tokens_clear(&tokens);
    ds4_segments_clear(&text);
    ds4_str_clear(&content);
    ds4_request_clear(&request);
}

/* ---- the web page --------------------------------------------------------------------------- */

void ds4_page_asset(const ds4_http_request *rq, const char *path, ds4_http_answer *a)
{
    const ds4_web_asset *asset = ds4_web_asset_find(path);
    const char          *known = ds4_http_header(rq, "If-None-Match");

    if (!asset) return;
    a->type = asset->type;
    ds4_http_add_header(a, "ETag", asset->etag);
    ds4_http_add_header(a, "Cache-Control", DS4_WEB_CACHE);
    ds4_http_add_header(a, "Content-Security-Policy", DS4_WEB_CSP);
    ds4_http_add_header(a, "X-Content-Type-Options", DS4_WEB_NOSNIFF);
    ds4_http_add_header(a, "Referrer-Policy", DS4_WEB_REFERRER);
    if (known && strstr(known, asset->etag)) {
        a->status = 304;
        return;
    }
    a->fixed = (const char *)asset->bytes;
    a->n_fixed = asset->n_bytes;
}
