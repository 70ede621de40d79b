/* cli_shared.c - see cli.h: what the modes of ds4 share. */
#include "app/cli/cli.h"

#include "base/file.h"
#include "base/sysmem.h"

#include <string.h>

int ds4_cli_prompt(const ds4_cli *cli, bool exact, ds4_str *out)
{
    const bool  is_stdin = cli->prompt && strcmp(cli->prompt, "-") == 0;
    const char *path = is_stdin ? "-" : cli->prompt_file;
    ds4_err     err = { .code = DS4_OK };

    if (!path) {
        ds4_str_add_text(out, cli->prompt);
        return DS4_EXIT_OK;
    }
    if (ds4_file_read(path, DS4_CLI_MAX_FILE, out, &err) != DS4_OK) {
        return ds4_app_failed(DS4_CLI_NAME, &err);
    }
    if (!exact && out->n_bytes > 0 && out->data[out->n_bytes - 1] == '\n') {
        ds4_str_truncate(out, out->n_bytes - 1);
        if (out->n_bytes > 0 && out->data[out->n_bytes - 1] == '\r') {
            ds4_str_truncate(out, out->n_bytes - 1);
        }
    }
    return DS4_EXIT_OK;
}

uint32_t ds4_cli_ctx(const ds4_cli *cli, const ds4_model *model)
{
    const uint32_t made_for = ds4_engine_info(model->engine)->max_context;

    if (cli->n_ctx == 0) return made_for > 0 && made_for < DS4_CLI_CTX ? made_for : DS4_CLI_CTX;
    if (made_for > 0 && cli->n_ctx > made_for) {
        ds4_app_say(
            DS4_CLI_NAME,
            "the model was made for %u tokens of context; beyond them, up to the %u asked for, "
            "answers may get worse",
            made_for, cli->n_ctx);
    }
    return cli->n_ctx;
}

void ds4_cli_render_raw(const ds4_model *model, ds4_slice text, ds4_segments *out)
{
    const ds4_vocab *vocab = ds4_engine_vocab(model->engine);
    const ds4_slice  bos = ds4_vocab_token_bytes(vocab, ds4_vocab_specials(vocab)->bos);

    if (bos.n_bytes > 0 && text.n_bytes >= bos.n_bytes &&
        !memcmp(text.data, bos.data, bos.n_bytes)) {
        ds4_segments_add(out, true, text.data, text.n_bytes);
    } else {
        ds4_chat_render_raw(text, out);
    }
}

ds4_speculation_options ds4_cli_speculation(const ds4_cli *cli)
{
    return (ds4_speculation_options){ .how = (ds4_speculate)cli->speculate };
}

void ds4_cli_set_think(ds4_turn *turn, ds4_think_mode mode)
{
    turn->chat.thinking = mode != DS4_THINK_OFF;
    turn->chat.effort = mode == DS4_THINK_MAX ? DS4_EFFORT_MAX : DS4_EFFORT_DEFAULT;
}

void ds4_cli_turn(const ds4_cli *cli, const ds4_model *model, ds4_slice *stops, ds4_rng *rng,
                  ds4_turn *turn)
{
    *turn = (ds4_turn){ .sampling = ds4_model_sampling(model),
                        .rng = rng,
                        .max_tokens = cli->max_tokens,
                        .loop_tokens = cli->loop_tokens,
                        .choose = { .thinking_budget = cli->think_budget,
                                    .grammar = cli->grammar, .grammar_ends = true },
                        .stops = stops,
                        .n_stops = cli->stops.n };
    if (cli->temperature.given) turn->sampling.temperature = cli->temperature.value;
    if (cli->top_p.given) turn->sampling.top_p = cli->top_p.value;
    if (cli->min_p.given) turn->sampling.min_p = cli->min_p.value;
    turn->sampling.top_k = cli->top_k;
    for (uint32_t i = 0; i < cli->stops.n; i++) {
        stops[i] = (ds4_slice){ cli->stops.item[i], strlen(cli->stops.item[i]) };
    }
    ds4_rng_seed(rng, cli->seed.value);
    ds4_cli_set_think(turn, (ds4_think_mode)cli->think);
}

void ds4_cli_say_end(const ds4_conversation *c)
{
    if (ds4_conversation_result(c)->finish != DS4_FINISH_LOOP) return;
    ds4_app_say(DS4_CLI_NAME, "the answer repeated itself and was ended (--loop-tokens)");
}

static double per_second(uint32_t n, uint64_t ns)
{
    return ns > 0 ? n * 1e9 / (double)ns : 0;
}

void ds4_cli_print_stats(const ds4_conversation *c, const ds4_model *model)
{
    const ds4_turn_stats   *s = ds4_conversation_stats(c);
    const ds4_reply_result *r = ds4_conversation_result(c);

    ds4_app_say(
        DS4_CLI_NAME,
        "prefill: %.2f t/s, generation: %.2f t/s (prompt %u tokens, %u of them cached; answer %u "
        "tokens, %u of them reasoning; first token after %.2f s; context %u of %u)",
        per_second(s->n_prompt - s->n_cached, s->prefill_ns),
        per_second(s->n_generated, s->generate_ns), s->n_prompt, s->n_cached, s->n_generated,
        r->n_reasoning_tokens, (double)s->first_token_ns / 1e9, ds4_conversation_pos(c),
        ds4_conversation_capacity(c));
    if (s->n_guessed > 0) {
        ds4_app_say(DS4_CLI_NAME, "guesses: %u tokens of %u came true (%.0f %%)", s->n_agreed, s->n_guessed,
                    100.0 * s->n_agreed / s->n_guessed);
    }
    ds4_app_say_experts(DS4_CLI_NAME, model->engine);
    ds4_app_say_memory(DS4_CLI_NAME, model->engine, ds4_sysmem_peak());
}
