/* show_plan.c - ds4 --plan: what a model takes in memory, before anything is loaded. */
#include "app/cli/cli.h"

#include <stdio.h>

static void line(const char *what, uint64_t n_bytes, const char *why)
{
    printf("  %-18s %12.1f MiB%s%s\n", what, (double)n_bytes / (1 << 20), *why ? "  " : "", why);
}

static void print_plan(const char *path, const ds4_plan *p)
{
    char sessions[64];

    snprintf(sessions, sizeof sessions, "%u session%s of %u tokens, %llu bytes a token", p->n_sessions,
             p->n_sessions == 1 ? "" : "s", p->n_ctx, (unsigned long long)p->per_token_kv);
    ds4_app_print(stdout, path);
    printf("\n");
    line("weights", p->dense, "read for every token, resident:");
    line("  attention", p->attention, "");
    line("  compressors", p->compressors, "of KV rows, and the indexer");
    line("  shared experts", p->shared_experts, "");
    line("  head", p->head, "");
    line("  other", p->other, "routers, hyper-connections, norms");
    if (p->draft) line("  drafter", p->draft, "guesses the next tokens");
    if (p->stream) {
        line("expert cache", p->expert_cache, "room for experts read from disk");
    } else {
        line("routed experts", p->experts, "resident");
    }
    line("KV", p->kv, sessions);
    line("scratch", p->scratch, "activations and working memory");
    line("tables", p->tables, "vocabulary, directory, operations");
    line("in memory", p->total, p->file_in_memory ? "" : p->fits ? "fits" : "does not fit");
    if (p->file_in_memory) {
        line("not there yet", p->taken, p->fits ? "fits; the file lies in memory" : "does not fit");
    }
    line("may be used", p->budget, "");
    if (p->device.total) {
        printf("Of it on the device\n");
        line("weights", p->device.weights, "");
        line("routed experts", p->device.experts, p->device.experts ? "" : "in the machine's memory");
        line("KV", p->device.kv, "");
        line("scratch", p->device.scratch, "");
        line("together", p->device.total, p->device.total <= p->device.budget ? "fits" : "does not fit");
        line("may be used", p->device.budget, "");
    }
    if (p->embedding || p->stream || p->kv_on_disk) printf("On disk only\n");
    if (p->embedding) line("embedding", p->embedding, "rows are read as tokens need them");
    if (p->stream) line("routed experts", p->experts, "streamed");
    if (p->kv_on_disk) line("KV rows", p->kv_on_disk, "fetched as tokens choose them");
    printf("Machine\n");
    line("memory", p->machine, "");
    line("free", p->free, "");
    if (!p->fits) printf("%s\n", p->advice);
}

int ds4_cli_plan(const ds4_cli *cli)
{
    ds4_app_model want = cli->model;
    ds4_str       path = { 0 };
    ds4_err       err = { .code = DS4_OK };
    ds4_plan      plan;

    int code = ds4_app_find(&want, &path);
    if (code == DS4_EXIT_OK) {
        if (!want.n_ctx) want.n_ctx = cli->n_ctx;
        ds4_app_kv_model(&cli->kv, &want);
        const ds4_engine_options opt = ds4_app_engine_options(&want, ds4_str_text(&path));
        const ds4_status         st = ds4_plan_make(&opt, &plan, &err);
        if (st == DS4_OK) {
            print_plan(ds4_str_text(&path), &plan);
            code = plan.fits ? DS4_EXIT_OK : DS4_EXIT_FAILURE;
        } else {
            ds4_app_say(DS4_CLI_NAME, "%s", err.text);
            code = DS4_EXIT_WRONG;
        }
    }
    ds4_str_clear(&path);
    return code;
}
