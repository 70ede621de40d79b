/* generation.c - see generation.h. */
#include "service/generation.h"

#include "service/loop_watch.h"

#include <stdlib.h>
#include <string.h>

struct ds4_generation {
    ds4_generation_options opt;
    ds4_reply             *reply;
    ds4_chooser           *chooser;
    ds4_loop_watch         watch;
    ds4_loop_end           loop;                /* at the last token */
    bool                   loop_closed;         /* reasoning was closed because of a loop */
    bool                   single_closed;       /* the end of the block was forced after one call */
};

static ds4_status open_parts(ds4_generation *g, ds4_err *err)
{
    ds4_reply_options   how = g->opt.reply;
    ds4_chooser_options choose = g->opt.choose;

    choose.vocab = how.vocab;
    choose.n_vocab = how.n_vocab;
    choose.thinking = how.thinking;
    if (how.max_tokens == 0) how.max_tokens = 1;        /* ended before it: ds4_generation_next() */
    DS4_TRY(ds4_chooser_create(&choose, &g->chooser, err));
    how.choose = ds4_chooser_choose;
    how.choose_ctx = g->chooser;
    DS4_TRY(ds4_reply_create(&how, &g->reply, err));
    ds4_chooser_prescribe(g->chooser, g->opt.script, g->opt.n_script);
    return DS4_OK;
}

ds4_status ds4_generation_create(const ds4_generation_options *opt, ds4_generation **out, ds4_err *err)
{
    ds4_generation *g = calloc(1, sizeof *g);

    if (!g) return ds4_fail(err, DS4_E_NOMEM, "no memory for an answer");
    g->opt = *opt;
    const ds4_status st = open_parts(g, err);
    if (st != DS4_OK) {
        ds4_generation_free(g);
        return st;
    }
    *out = g;
    return DS4_OK;
}

void ds4_generation_free(ds4_generation *g)
{
    if (!g) return;
    ds4_reply_free(g->reply);
    ds4_chooser_free(g->chooser);
    free(g);
}

/* Repetition in the reasoning closes it once; anywhere else it ends the answer. Arguments
 * of calls may repeat themselves: files do. */
static ds4_status watch_loop(ds4_generation *g, int32_t *token, ds4_err *err)
{
    const ds4_dsml_state state = ds4_reply_get(g->reply)->state;

    if (!ds4_loop_watch_token(&g->watch, *token, g->opt.loop_tokens)) return DS4_OK;
    if (state == DS4_DSML_CALLS) return DS4_OK;
    if (state == DS4_DSML_THINK && !g->loop_closed
        && ds4_chooser_force(g->chooser, "</think>", NULL) == DS4_OK) {
        g->loop = DS4_LOOP_CLOSED;
        g->loop_closed = true;
        memset(&g->watch, 0, sizeof g->watch);
        return DS4_OK;
    }
    g->loop = DS4_LOOP_ENDED;
    *token = -1;
    return ds4_reply_end(g->reply, DS4_FINISH_LOOP, err);
}

static ds4_status only_one_call(ds4_generation *g, ds4_err *err)
{
    if (!g->opt.single_call || g->single_closed) return DS4_OK;
    if (ds4_reply_get(g->reply)->n_calls == 0) return DS4_OK;
    g->single_closed = true;
    return ds4_chooser_force(g->chooser, "\n</｜DSML｜tool_calls>", err);
}

ds4_status ds4_generation_next(ds4_generation *g, const float *logits, int32_t *token, ds4_err *err)
{
    g->loop = DS4_LOOP_NONE;
    *token = -1;
    if (g->opt.reply.max_tokens == 0) return ds4_reply_end(g->reply, DS4_FINISH_LENGTH, err);
    DS4_TRY(ds4_reply_sample(g->reply, logits, token, err));
    DS4_TRY(only_one_call(g, err));
    return *token < 0 ? DS4_OK : watch_loop(g, token, err);
}

uint32_t ds4_generation_left(const ds4_generation *g)
{
    const uint32_t n = ds4_reply_get(g->reply)->n_tokens;

    return n < g->opt.reply.max_tokens ? g->opt.reply.max_tokens - n : 0;
}

uint32_t ds4_generation_foretell(const ds4_generation *g, int32_t *tokens, uint32_t most)
{
    return ds4_chooser_foretell(g->chooser, tokens, most);
}

uint32_t ds4_generation_screen(ds4_generation *g, const int32_t *tokens, uint32_t n)
{
    return ds4_chooser_screen(g->chooser, tokens, n);
}

ds4_status ds4_generation_take(ds4_generation *g, const int32_t *tokens, uint32_t n_tokens, ds4_err *err)
{
    for (uint32_t i = 0; i < n_tokens; i++) {
        ds4_chooser_note(g->chooser, tokens[i]);
        DS4_TRY(ds4_reply_take(g->reply, tokens[i], err));
        (void)ds4_loop_watch_token(&g->watch, tokens[i], g->opt.loop_tokens);
    }
    return DS4_OK;
}

ds4_status ds4_generation_end(ds4_generation *g, ds4_finish why, ds4_err *err)
{
    return ds4_reply_end(g->reply, why, err);
}

const ds4_reply_result *ds4_generation_result(const ds4_generation *g)
{
    return ds4_reply_get(g->reply);
}

ds4_loop_end ds4_generation_loop(const ds4_generation *g)
{
    return g->loop;
}

void ds4_generation_score(const ds4_generation *g, const float *logits, int32_t id, ds4_event *out)
{
    ds4_chooser_score(g->chooser, logits, id, out);
}

bool ds4_generation_recorded(const ds4_generation *g, ds4_event *event)
{
    return ds4_chooser_recorded(g->chooser, event)
        && ds4_reply_get(g->reply)->state == DS4_DSML_CONTENT
        && !ds4_vocab_is_special(g->opt.reply.vocab, event->token.id);
}
