/* app.c - see app.h: exit codes, messages, opening a model. */
#include "app/common/app.h"

#include "app/common/program_dir.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sysmem.h"
#include "format/gguf_text.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

enum { SHOWN_BYTES = 4096 };            /* of a text from outside */

void ds4_app_print(FILE *file, const char *text)
{
    ds4_str clean = { 0 };

    ds4_text_clean((ds4_slice){ text, strlen(text) }, SHOWN_BYTES, &clean);
    fputs(ds4_str_text(&clean), file);
    ds4_str_clear(&clean);
}

/* A program has one place for its messages. */
static ds4_app_say_fn *say_otherwise;

void ds4_app_say_with(ds4_app_say_fn *say)
{
    say_otherwise = say;
}

void ds4_app_say(const char *program, const char *fmt, ...)
{
    char    text[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (say_otherwise) {
        say_otherwise(text);
        return;
    }
    fprintf(stderr, "%s: ", program);
    ds4_app_print(stderr, text);
    fputc('\n', stderr);
}

int ds4_app_failed(const char *program, const ds4_err *err)
{
    if (err->code == DS4_E_CANCELLED) {
        ds4_app_say(program, "interrupted");
        return DS4_EXIT_INTERRUPTED;
    }
    ds4_app_say(program, "%s", err->text);
    return DS4_EXIT_FAILURE;
}

static void log_line(void *ctx, ds4_log_level level, const char *subject, const char *text)
{
    (void)level;
    ds4_app_say(ctx, "%s: %s", subject, text);
}

void ds4_app_begin(const char *program)
{
    ds4_err err = { .code = DS4_OK };

    ds4_log_to(log_line, (void *)(uintptr_t)program, DS4_LOG_WARN);
    ds4_interrupt_quit(program);
    signal(SIGXFSZ, SIG_IGN);           /* a file that may not grow is an error of the write */
    if (ds4_faults_catch(&err) != DS4_OK) ds4_app_say(program, "%s", err.text);
}

int ds4_app_find(const ds4_app_model *want, ds4_str *path)
{
    ds4_str dir = { 0 };
    ds4_err err = { .code = DS4_OK };

    if (want->path) {
        ds4_str_add_text(path, want->path);
        return DS4_EXIT_OK;
    }
    ds4_program_dir(want->argv0, &dir);
    const ds4_status st = ds4_model_find(ds4_str_text(&dir), path, &err);
    ds4_str_clear(&dir);
    if (st != DS4_OK) {
        ds4_app_say(want->program, "%s", err.text);
        return DS4_EXIT_WRONG;
    }
    ds4_app_say(want->program, "using the model %s", ds4_str_text(path));
    return DS4_EXIT_OK;
}

const char *const ds4_experts_names[] = { "auto", "resident", "stream", "host", NULL };

ds4_engine_options ds4_app_engine_options(const ds4_app_model *want, const char *path)
{
    return (ds4_engine_options){
        .model_path = path,
        .dspark_path = want->dspark,
        .backend = want->backend,
        .device = want->device,
        .device_mem_bytes = want->device_mem_bytes,
        .n_threads = want->n_threads,
        .max_batch = want->max_batch,
        .exact = want->exact,
        .experts = (ds4_experts)want->experts,
        .expert_cache_bytes = want->expert_cache_bytes,
        .mem_bytes = want->mem_bytes,
        .kv_mem_bytes = want->kv_mem_bytes,
        .kv_dir = want->kv_dir,
        .steering_path = want->steering_path,
        .plan_ctx = want->n_ctx,
        .plan_sessions = want->n_sessions,
    };
}

void ds4_app_show_devices(void)
{
    const double gib = 1.0 / (1 << 30);
    ds4_device   d;

    for (uint32_t i = 0; ds4_device_get(i, &d); i++) {
        printf("%s %u  %.1f of %.1f GiB free%s, computes as ", d.backend, d.index, (double)d.mem_free * gib,
               (double)d.mem_total * gib, d.unified ? " (the machine's memory)" : "");
        ds4_app_print(stdout, d.family);
        printf("%s", *d.name ? ", " : "");
        ds4_app_print(stdout, d.name);
        printf("\n");
    }
}

/* The plan in one line, for the start of a program. */
static void say_plan(const char *program, const ds4_plan *p)
{
    const double mib = 1.0 / (1 << 20);

    ds4_app_say(program,
                "memory: %.0f of %.0f MiB (weights %.0f, experts %.0f%s, KV of %u tokens %.0f, "
                "scratch %.0f%s)",
                (double)p->taken * mib, (double)p->budget * mib, (double)p->dense * mib,
                (double)(p->stream ? p->expert_cache : p->experts) * mib,
                p->stream ? " cached, streamed" : "", p->n_ctx, (double)p->kv * mib,
                (double)(p->scratch + p->tables) * mib,
                p->file_in_memory && !p->stream ? "; the file lies in memory already" : "");
    if (p->device.total == 0) return;
    ds4_app_say(program, "device: %.0f of %.0f MiB (weights %.0f, experts %.0f, KV %.0f, scratch %.0f)",
                (double)p->device.total * mib, (double)p->device.budget * mib,
                (double)p->device.weights * mib, (double)p->device.experts * mib, (double)p->device.kv * mib,
                (double)p->device.scratch * mib);
}

void ds4_app_say_memory(const char *program, const ds4_engine *engine, uint64_t most_bytes)
{
    const double mib = 1.0 / (1 << 20);

    if (most_bytes == 0) return;
    ds4_app_say(program, "memory: at most %.0f MiB were in use, %.0f were planned", (double)most_bytes * mib,
                (double)ds4_engine_plan(engine)->total * mib);
}

void ds4_app_say_experts(const char *program, ds4_engine *engine)
{
    ds4_expert_stats s;

    if (!ds4_engine_expert_stats(engine, &s)) return;
    const double needed = (double)(s.n_hits + s.n_prefetched + s.n_misses);
    const double percent = needed > 0 ? 100.0 / needed : 0.0;
    ds4_app_say(program,
                "experts: %.1f %% were in memory, %.1f %% read ahead, %.1f %% waited for;"
                " cache %.2f GB, %u of %u experts; read %.2f GB at %.2f GB/s (%s%s), %.2f GB of it"
                " needed",
                (double)s.n_hits * percent, (double)s.n_prefetched * percent,
                (double)s.n_misses * percent, (double)s.cache_bytes / 1e9, s.n_entries, s.n_experts,
                (double)s.bytes_read / 1e9,
                s.busy_ns ? (double)s.bytes_read / (double)s.busy_ns : 0.0, s.method,
                s.is_direct ? ", direct" : "", (double)s.bytes_needed / 1e9);
}

/* The terminal shows progress after a moment. ctx is when the opening began, in nanoseconds. */
static void show_loading(void *ctx, uint64_t n_done, uint64_t n_total)
{
    const uint64_t moment = 500000000, begun = *(const uint64_t *)ctx;

    if (ds4_now_ns() - begun < moment) return;
    ds4_term_progress("loading the model: %.1f of %.1f GB (%u %%)", (double)n_done / 1e9,
                      (double)n_total / 1e9, (uint32_t)(100.0 * (double)n_done / (double)n_total));
}

/* Steer as the options say, before anything is computed. */
static ds4_status steer(const ds4_app_model *want, ds4_engine *engine, ds4_err *err)
{
    const ds4_option_f32 *ffn = &want->steering_ffn, *attn = &want->steering_attn;
    const ds4_steering    to = { .attn = attn->given ? attn->value : 0, .ffn = ffn->given ? ffn->value : 1 };

    if (!want->steering_path && (ffn->given || attn->given)) {
        return ds4_fail(err, DS4_E_ARG, "%s needs --dir-steering-file",
                        ffn->given ? "--dir-steering-ffn" : "--dir-steering-attn");
    }
    if (!want->steering_path) return DS4_OK;
    DS4_TRY(ds4_engine_steer(engine, to, err));
    ds4_app_say(want->program, "steered by %s: %g (experts) and %g (attention)", want->steering_path,
                (double)to.ffn, (double)to.attn);
    return DS4_OK;
}

int ds4_app_open(const ds4_app_model *want, ds4_model *out)
{
    ds4_str path = { 0 };
    ds4_err err = { .code = DS4_OK };
    int     code = ds4_app_find(want, &path);

    if (code == DS4_EXIT_OK) {
        ds4_engine_options opt = ds4_app_engine_options(want, ds4_str_text(&path));
        uint64_t           begun = ds4_now_ns();
        opt.loading = (ds4_loading){ show_loading, &begun };
        ds4_status st = ds4_model_open(&opt, out, &err);
        ds4_term_progress_end();
        if (st == DS4_OK && (st = steer(want, out->engine, &err)) != DS4_OK) ds4_model_close(out);
        if (st != DS4_OK) {
            ds4_app_say(want->program, "%s", err.text);
            const bool bad_file = st == DS4_E_IO || st == DS4_E_FORMAT || st == DS4_E_UNSUPPORTED;
            code = bad_file || st == DS4_E_ARG ? DS4_EXIT_WRONG : DS4_EXIT_FAILURE;
        } else {
            const char *unused = ds4_engine_info(out->engine)->unused;
            say_plan(want->program, ds4_engine_plan(out->engine));
            if (*unused) ds4_app_say(want->program, "tensors that text does not need: %s", unused);
        }
    }
    ds4_str_clear(&path);
    return code;
}

bool ds4_app_flush(const char *program)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return true;
    ds4_app_say(program, "cannot write to standard output: %s", strerror(errno));
    return false;
}
