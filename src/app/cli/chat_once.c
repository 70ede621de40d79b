/* chat_once.c - ds4 with a prompt: one answer, streamed or as JSON. */
#include "app/cli/cli.h"
#include "app/cli/show.h"
#include "text/pyjson.h"

#include <stdio.h>
#include <string.h>

static void add_calls(ds4_str *out, const ds4_reply_result *r)
{
    ds4_str_add_text(out, "[");
    for (uint32_t i = 0; i < r->n_calls; i++) {
        ds4_str_add_text(out, i ? ", {\"name\": " : "{\"name\": ");
        ds4_pyjson_add_string(out, r->calls[i].name);
        ds4_str_add_text(out, ", \"arguments\": ");
        ds4_str_add(out, r->calls[i].arguments.data, r->calls[i].arguments.n_bytes);
        ds4_str_add_text(out, "}");
    }
    ds4_str_add_text(out, "]");
}

static int print_json(const ds4_cli *cli, const ds4_model *model, const ds4_conversation *c)
{
    const ds4_reply_result *r = ds4_conversation_result(c);
    const ds4_turn_stats   *s = ds4_conversation_stats(c);
    const char             *path = ds4_engine_info(model->engine)->path;
    ds4_str                 out = { 0 };

    ds4_str_add_text(&out, "{\"model\": ");
    ds4_pyjson_add_string(&out, (ds4_slice){ path, strlen(path) });
    ds4_str_add_text(&out, ", \"text\": ");
    ds4_pyjson_add_string(&out, r->content);
    ds4_str_add_text(&out, ", \"reasoning\": ");
    ds4_pyjson_add_string(&out, r->reasoning);
    ds4_str_add_text(&out, ", \"tool_calls\": ");
    add_calls(&out, r);
    ds4_str_addf(&out,
                 ", \"finish_reason\": \"%s\", \"seed\": %llu, \"usage\": {\"prompt_tokens\": %u, "
                 "\"cached_tokens\": %u, \"completion_tokens\": %u, \"reasoning_tokens\": %u}",
                 ds4_finish_name(r->finish), (unsigned long long)cli->seed.value, s->n_prompt,
                 s->n_cached, r->n_tokens, r->n_reasoning_tokens);
    ds4_str_addf(
        &out,
        ", \"times\": {\"prefill_s\": %.6f, \"first_token_s\": %.6f, \"generation_s\": %.6f}}\n",
        (double)s->prefill_ns / 1e9, (double)s->first_token_ns / 1e9, (double)s->generate_ns / 1e9);
    const bool failed = out.failed;
    if (!failed) fwrite(out.data, 1, out.n_bytes, stdout);
    ds4_str_clear(&out);
    if (failed) ds4_app_say(DS4_CLI_NAME, "no memory for the JSON of the answer");
    return failed ? DS4_EXIT_FAILURE : DS4_EXIT_OK;
}

/* Put the prompt where the mode wants it, and answer. */
static ds4_status ask(const ds4_cli *cli, const ds4_model *model, ds4_conversation *c,
                      ds4_slice prompt, const ds4_turn *turn, ds4_err *err)
{
    if (cli->raw) {
        ds4_segments text = { 0 };
        ds4_cli_render_raw(model, prompt, &text);
        const ds4_status st = ds4_conversation_complete(c, &text, turn, err);
        ds4_segments_clear(&text);
        return st;
    }
    ds4_history *history = ds4_conversation_history(c);
    if (*cli->system) {
        DS4_TRY(ds4_history_add_text(history, DS4_ROLE_SYSTEM,
                                     (ds4_slice){ cli->system, strlen(cli->system) }, err));
    }
    DS4_TRY(ds4_history_add_text(history, DS4_ROLE_USER, prompt, err));
    return ds4_conversation_reply(c, turn, err);
}

static int answer(const ds4_cli *cli, const ds4_model *model, ds4_conversation *c, ds4_slice prompt)
{
    ds4_slice stops[DS4_OPTION_MAX_TEXTS];
    ds4_rng   rng;
    ds4_turn  turn;
    ds4_show  show;
    ds4_err   err = { .code = DS4_OK };

    ds4_cli_turn(cli, model, stops, &rng, &turn);
    ds4_show_begin(&show, cli->json);
    turn.cancel = ds4_interrupt_catch(true);
    turn.progress = ds4_show_progress;
    turn.piece = ds4_show_piece;
    turn.ctx = &show;

    const ds4_status st = ask(cli, model, c, prompt, &turn, &err);
    ds4_term_progress_end();
    ds4_show_end(&show);
    if (st != DS4_OK) return ds4_app_failed(DS4_CLI_NAME, &err);

    ds4_cli_say_end(c);
    const bool cancelled = ds4_conversation_result(c)->finish == DS4_FINISH_CANCELLED;
    int        code = cancelled ? DS4_EXIT_INTERRUPTED : DS4_EXIT_OK;
    if (cli->json && print_json(cli, model, c) != DS4_EXIT_OK) code = DS4_EXIT_FAILURE;
    if (cli->stats) ds4_cli_print_stats(c, model);
    return code;
}

int ds4_cli_once(const ds4_cli *cli, ds4_model *model)
{
    ds4_conversation *c = NULL;
    ds4_resume       *resume = NULL;
    ds4_str           prompt = { 0 };
    ds4_err           err = { .code = DS4_OK };
    int               code = ds4_cli_prompt(cli, cli->raw, &prompt);

    if (code == DS4_EXIT_OK) code = ds4_app_kv_open(DS4_CLI_NAME, &cli->kv, model->engine, &resume);
    if (code == DS4_EXIT_OK && ds4_conversation_create(model->engine, ds4_cli_ctx(cli, model),
                                                       model->protocol, &c, &err) != DS4_OK) {
        code = ds4_app_failed(DS4_CLI_NAME, &err);
    }
    const ds4_speculation_options speculation = ds4_cli_speculation(cli);
    if (code == DS4_EXIT_OK && ds4_conversation_speculate(c, &speculation, &err) != DS4_OK) {
        code = ds4_app_failed(DS4_CLI_NAME, &err);
    }
    if (code == DS4_EXIT_OK) {
        ds4_conversation_use(c, resume);
        code = answer(cli, model, c, (ds4_slice){ ds4_str_text(&prompt), prompt.n_bytes });
    }
    ds4_conversation_free(c);
    ds4_resume_free(resume);
    ds4_str_clear(&prompt);
    return code;
}
