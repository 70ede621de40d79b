/* metrics_page.c - /metrics: what there is to know of the running server, for Prometheus. */
#include "app/server/exposition.h"
#include "app/server/server.h"
#include "base/clock.h"
#include "base/sysmem.h"

#include <dirent.h>
#include <string.h>
#include <sys/resource.h>

/* ---- requests ---------------------------------------------------------------------------------- */

static unsigned long long of_api(const ds4_metrics *m, int api)
{
    unsigned long long n = 0;

    for (int i = 0; i < DS4_METRICS_STATUSES; i++) n += atomic_load(&m->n_status[api][i]);
    return n;
}

static unsigned long long of_class(const ds4_metrics *m, int class)
{
    unsigned long long n = 0;

    for (int api = 0; api <= DS4_API_OTHER; api++) {
        for (int i = class * 100; i < class * 100 + 100; i++)
            n += atomic_load(&m->n_status[api][i]);
    }
    return n;
}

static void add_requests(const ds4_metrics *m, ds4_str *out)
{
    char labels[64];

    ds4_expose_family(out, "ds4_requests_total", "counter", "Requests, whatever became of them");
    for (int api = 0; api <= DS4_API_OTHER; api++) {
        snprintf(labels, sizeof labels, "api=\"%s\"", ds4_api_name(api));
        ds4_expose(out, "ds4_requests_total", labels, (double)of_api(m, api));
    }
    ds4_expose_family(out, "ds4_responses_total", "counter",
                      "Answers by the class of their status");
    for (int class = 2; class < 6; class ++) {
        snprintf(labels, sizeof labels, "status=\"%dxx\"", class);
        ds4_expose(out, "ds4_responses_total", labels, (double)of_class(m, class));
    }
    ds4_expose_family(out, "ds4_http_responses_total", "counter",
                      "Answers by API and status; 499 where the client left before there was one");
    for (int api = 0; api <= DS4_API_OTHER; api++) {
        for (int i = 0; i < DS4_METRICS_STATUSES; i++) {
            const unsigned long long n = atomic_load(&m->n_status[api][i]);
            if (n == 0) continue;
            snprintf(labels, sizeof labels, "api=\"%s\",code=\"%d\"", ds4_api_name(api), i);
            ds4_expose(out, "ds4_http_responses_total", labels, (double)n);
        }
    }
}

static void add_answers(const ds4_metrics *m, ds4_str *out)
{
    static const char *const names[DS4_METRICS_FINISHES] = {
        [DS4_FINISH_NONE] = "failed",         [DS4_FINISH_END] = "end",
        [DS4_FINISH_CALLS] = "calls",         [DS4_FINISH_STOP] = "stop",
        [DS4_FINISH_LENGTH] = "length",       [DS4_FINISH_CONTEXT] = "context",
        [DS4_FINISH_CANCELLED] = "cancelled", [DS4_FINISH_LOOP] = "loop",
    };
    char labels[64];

    ds4_expose_family(out, "ds4_answers_total", "counter", "Answers by how they ended");
    for (int i = 0; i < DS4_METRICS_FINISHES; i++) {
        snprintf(labels, sizeof labels, "finish=\"%s\"", names[i]);
        ds4_expose(out, "ds4_answers_total", labels, (double)atomic_load(&m->n_finish[i]));
    }
    ds4_expose_histogram(out, "ds4_time_to_first_token_seconds",
                         "From the request to the first token of its answer", NULL,
                         &m->first_token);
    ds4_expose_histogram(out, "ds4_between_tokens_seconds",
                         "From one token of an answer to the next", NULL, &m->between_tokens);
    ds4_expose_histogram(out, "ds4_queue_seconds", "Time of a request in line", NULL, &m->queue);
    ds4_expose_histogram(out, "ds4_prompt_seconds", "Time for reading the prompt of a request",
                         NULL, &m->prefill);
    ds4_expose_histogram(out, "ds4_answer_seconds", "Time for sampling an answer", NULL,
                         &m->decode);
    ds4_expose_histogram(out, "ds4_request_seconds", "From the request to the end of its answer",
                         NULL, &m->whole);
    ds4_expose_histogram(out, "ds4_request_prompt_tokens", "Tokens of a prompt", NULL,
                         &m->prompt_tokens);
    ds4_expose_histogram(out, "ds4_request_generated_tokens", "Tokens of an answer", NULL,
                         &m->generated_tokens);
}

/* ---- single numbers ---------------------------------------------------------------------------- */

typedef struct number {
    const char *name, *type, *help;
    double      value;
} number;

static void add_numbers(const number *list, size_t n, ds4_str *out)
{
    for (size_t i = 0; i < n; i++) {
        ds4_expose_one(out, list[i].name, list[i].type, list[i].help, NULL, list[i].value);
    }
}

static void add_work(const ds4_scheduler_stats *n, ds4_str *out)
{
    const number list[] = {
        { "ds4_jobs_running", "gauge", "Answers being given", n->n_running },
        { "ds4_jobs_waiting", "gauge", "Requests in line", n->n_waiting },
        { "ds4_slots", "gauge", "Sessions", n->n_slots },
        { "ds4_context_tokens", "gauge", "Tokens of context of each session", n->n_ctx },
        { "ds4_jobs_total", "counter", "Requests taken", (double)n->n_jobs },
        { "ds4_jobs_refused_total", "counter", "Requests refused because the line was full",
          (double)n->n_refused },
        { "ds4_jobs_cancelled_total", "counter", "Requests whose client left",
          (double)n->n_cancelled },
        { "ds4_jobs_failed_total", "counter", "Requests that failed", (double)n->n_failed },
        { "ds4_loops_total", "counter", "Endless repetitions that were stopped",
          (double)n->n_loops },
        { "ds4_prompt_tokens_total", "counter", "Tokens of prompts", (double)n->n_prompt_tokens },
        { "ds4_cached_tokens_total", "counter", "Tokens of prompts that a session held already",
          (double)n->n_cached_tokens },
        { "ds4_prefilled_tokens_total", "counter", "Tokens of prompts that were evaluated",
          (double)n->n_prefilled_tokens },
        { "ds4_generated_tokens_total", "counter", "Tokens sampled",
          (double)n->n_generated_tokens },
        { "ds4_prefill_seconds_total", "counter", "Time spent on prompts",
          (double)n->prefill_ns / 1e9 },
        { "ds4_decode_seconds_total", "counter", "Time spent on answers",
          (double)n->decode_ns / 1e9 },
        { "ds4_between_steps_seconds_total", "counter",
          "Time of the worker from one step to the next", (double)n->between_ns / 1e9 },
        { "ds4_steps_total", "counter", "Steps of the engine", (double)n->n_steps },
        { "ds4_draft_steps_total", "counter", "Steps with guessed tokens",
          (double)n->speculation.n_steps },
        { "ds4_draft_paused_steps_total", "counter", "Steps without them because they did not pay",
          (double)n->speculation.n_paused },
        { "ds4_drafted_tokens_total", "counter", "Tokens that were guessed and evaluated",
          (double)n->speculation.n_guessed },
        { "ds4_draft_accepted_tokens_total", "counter", "Of these: the answer's",
          (double)n->speculation.n_agreed },
        { "ds4_draft_computed_total", "counter", "Guesses that the model's drafter computed",
          (double)n->speculation.n_computed },
        { "ds4_draft_computed_seconds_total", "counter", "Processors' time of these",
          (double)n->speculation.computed_ns / 1e9 },
    };

    add_numbers(list, sizeof list / sizeof *list, out);
}

static void add_kept(ds4_server *s, const ds4_scheduler_stats *n, ds4_str *out)
{
    uint64_t     n_disk_failures;
    const bool   storing = ds4_resume_stores(s->resume, &n_disk_failures);
    const number list[] = {
        { "ds4_resumed_total", "counter", "Requests whose prompt began like a known one",
          (double)n->n_hits },
        { "ds4_new_total", "counter", "Requests whose prompt began like no other",
          (double)n->n_misses },
        { "ds4_kept_bytes", "gauge", "Positions kept in memory", (double)n->kept_bytes },
        { "ds4_disk_storing", "gauge",
          "Whether what is kept can be written: 0 without a folder, and from a failure until it "
          "works again",
          storing },
        { "ds4_disk_failures_total", "counter", "Times that writing to the folder failed",
          (double)n_disk_failures },
        { "ds4_disk_bytes", "gauge", "What is kept on disk", (double)n->disk_bytes },
        { "ds4_disk_max_bytes", "gauge", "Most that it may take", (double)n->disk_max_bytes },
        { "ds4_disk_positions", "gauge", "Positions kept on disk", (double)n->n_disk },
        { "ds4_replayed_turns_total", "counter", "Turns recognised and given back as sampled",
          (double)atomic_load(&s->n_replayed) },
        { "ds4_turn_bytes", "gauge", "Earlier turns and responses in memory",
          (double)ds4_texts_bytes(s->texts) },
    };

    add_numbers(list, sizeof list / sizeof *list, out);
}

static void add_server(ds4_server *s, ds4_str *out)
{
    const number list[] = {
        { "ds4_connections_total", "counter", "Connections",
          (double)ds4_http_connections(s->http) },
        { "ds4_connections", "gauge", "Connections that are open", (double)ds4_http_open(s->http) },
        { "ds4_request_memory_bytes", "gauge", "Memory that requests take at the moment",
          (double)ds4_budget_used(&s->budget) },
        { "ds4_request_memory_max_bytes", "gauge", "Most that they may take",
          (double)s->budget.n_most },
        { "ds4_memory_bytes", "gauge", "Memory in use by this process", (double)ds4_sysmem_used() },
        { "ds4_uptime_seconds", "gauge", "Time since the start",
          (double)(ds4_now_ns() - s->start_ns) / 1e9 },
    };
    ds4_str labels = { 0 };

    ds4_expose_label(&labels, "version", DS4_VERSION);
    ds4_expose_label(&labels, "model", s->opt.model_id);
    ds4_expose_label(&labels, "file", ds4_engine_info(s->model.engine)->path);
    ds4_expose_one(out, "ds4_build_info", "gauge", "1, with the version and the model as labels",
                   ds4_str_text(&labels), 1);
    ds4_str_clear(&labels);
    add_numbers(list, sizeof list / sizeof *list, out);
}

/* ---- the process ------------------------------------------------------------------------------- */

/* Open files, -1 where the system does not list them. */
static double count_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int  n = -1; /* its own */

    if (!dir) return -1;
    for (const struct dirent *e; (e = readdir(dir));) n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* The names that all Prometheus clients have for a process. */
static void add_process(const ds4_server *s, ds4_str *out)
{
    struct rusage used = { 0 };
    struct rlimit files = { 0 };
    const double  n_files = count_files();

    getrusage(RUSAGE_SELF, &used);
    getrlimit(RLIMIT_NOFILE, &files);
    const number list[] = {
        { "process_cpu_seconds_total", "counter", "Time of processors",
          seconds(used.ru_utime) + seconds(used.ru_stime) },
        { "process_resident_memory_bytes", "gauge", "Memory in use", (double)ds4_sysmem_used() },
        { "process_start_time_seconds", "gauge", "Start, in seconds since 1970",
          (double)s->start_time },
        { "process_max_fds", "gauge", "Most open files", (double)files.rlim_cur },
    };
    add_numbers(list, sizeof list / sizeof *list, out);
    if (n_files >= 0) ds4_expose_one(out, "process_open_fds", "gauge", "Open files", NULL, n_files);
}

/* ---- other names ------------------------------------------------------------------------------- */

static double kv_usage(const ds4_scheduler_stats *n)
{
    double held = 0;

    for (uint32_t i = 0; i < n->n_slots; i++) held += n->slot[i].n_tokens;
    return held / ((double)n->n_ctx * n->n_slots);
}

static void add_vllm_success(const ds4_metrics *m, const char *model, ds4_str *out)
{
    static const struct {
        const char *reason;
        ds4_finish  finish[3]; /* ended by DS4_FINISH_NONE, which is no success */
    } reasons[] = {
        { "stop", { DS4_FINISH_END, DS4_FINISH_CALLS, DS4_FINISH_STOP } },
        { "length", { DS4_FINISH_LENGTH, DS4_FINISH_CONTEXT, DS4_FINISH_LOOP } },
        { "abort", { DS4_FINISH_CANCELLED } },
    };
    ds4_str labels = { 0 };

    ds4_expose_family(out, "vllm:request_success_total", "counter", "Answers by how they ended");
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        unsigned long long n = 0;
        for (int k = 0; k < 3 && reasons[i].finish[k] != DS4_FINISH_NONE; k++) {
            n += atomic_load(&m->n_finish[reasons[i].finish[k]]);
        }
        ds4_str_truncate(&labels, 0);
        ds4_str_add_text(&labels, model);
        ds4_expose_label(&labels, "finished_reason", reasons[i].reason);
        ds4_expose(out, "vllm:request_success_total", ds4_str_text(&labels), (double)n);
    }
    ds4_str_clear(&labels);
}

/* The names under which vLLM gives the same numbers: gateways and dashboards look for them.
 * Source: docs.vllm.ai, "Production Metrics" and "Metrics". */
static void add_vllm(const ds4_server *s, const ds4_scheduler_stats *n, ds4_str *out)
{
    const ds4_metrics *m = &s->metrics;
    const number       list[] = {
              { "vllm:num_requests_running", "gauge", "Answers being given", n->n_running },
              { "vllm:num_requests_waiting", "gauge", "Requests in line", n->n_waiting },
              { "vllm:kv_cache_usage_perc", "gauge", "Part of the sessions' contexts in use, 1 is all",
                kv_usage(n) },
              { "vllm:gpu_cache_usage_perc", "gauge", "The same under its older name", kv_usage(n) },
              { "vllm:prefix_cache_queries_total", "counter", "Tokens of prompts",
                (double)n->n_prompt_tokens },
              { "vllm:prefix_cache_hits_total", "counter", "Tokens of prompts that were known",
                (double)n->n_cached_tokens },
              { "vllm:prompt_tokens_total", "counter", "Tokens of prompts", (double)n->n_prompt_tokens },
              { "vllm:generation_tokens_total", "counter", "Tokens sampled",
                (double)n->n_generated_tokens },
    };
    const struct {
        const char          *name, *help;
        const ds4_histogram *h;
    } spread[] = {
        { "vllm:time_to_first_token_seconds", "From the request to the first token",
          &m->first_token },
        { "vllm:inter_token_latency_seconds", "From one token to the next", &m->between_tokens },
        { "vllm:time_per_output_token_seconds", "The same under its older name",
          &m->between_tokens },
        { "vllm:e2e_request_latency_seconds", "From the request to the end of its answer",
          &m->whole },
        { "vllm:request_queue_time_seconds", "Time in line", &m->queue },
        { "vllm:request_prefill_time_seconds", "Time for reading the prompt", &m->prefill },
        { "vllm:request_decode_time_seconds", "Time for sampling the answer", &m->decode },
        { "vllm:request_prompt_tokens", "Tokens of a prompt", &m->prompt_tokens },
        { "vllm:request_generation_tokens", "Tokens of an answer", &m->generated_tokens },
    };
    ds4_str model = { 0 };

    ds4_expose_label(&model, "model_name", s->opt.model_id);
    ds4_expose_label(&model, "engine", "0");
    const char *labels = ds4_str_text(&model);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        ds4_expose_one(out, list[i].name, list[i].type, list[i].help, labels, list[i].value);
    }
    for (size_t i = 0; i < sizeof spread / sizeof *spread; i++) {
        ds4_expose_histogram(out, spread[i].name, spread[i].help, labels, spread[i].h);
    }
    add_vllm_success(m, labels, out);
    ds4_str_clear(&model);
}

void ds4_page_metrics(ds4_server *s, ds4_http_answer *a)
{
    ds4_scheduler_stats n;
    ds4_str            *out = &a->body;

    ds4_scheduler_stats_get(s->scheduler, &n);
    a->type = "text/plain; version=0.0.4; charset=utf-8";
    add_requests(&s->metrics, out);
    add_answers(&s->metrics, out);
    add_work(&n, out);
    add_kept(s, &n, out);
    add_server(s, out);
    add_process(s, out);
    if (s->opt.vllm_metrics) add_vllm(s, &n, out);
}
