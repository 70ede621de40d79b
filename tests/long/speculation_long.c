/* speculation_long.c - ten thousand tokens and more of answers by the bundled model, with guesses and
 * without, alone and in company, greedy and drawn: not one may differ.
 *
 *     build/tests/long/speculation_long [MODEL] */
#include "base/clock.h"
#include "base/file.h"
#include "service/model_open.h"
#include "service/scheduler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_CTX = 2048, N_PROMPTS = 48, ANSWER = 280, AT_ONCE = 6, LEAST_TOKENS = 10000 };

static ds4_model model;
static ds4_str   filler;

static void stop(const ds4_err *err)
{
    printf("Bail out! %s\n", err->text);
    exit(1);
}

typedef struct asked {
    ds4_segments text;
    ds4_tokens   tokens;
    ds4_channel *channel;
    ds4_job     *job;
} asked;

/* Prompts of several kinds about pieces of a text: to copy, to go on, to change, to talk. */
static void write_prompt(uint32_t i, ds4_str *out)
{
    static const char *const wishes[] = { "Repeat this text exactly:\n\n", "Go on:\n\n",
                                          "Replace \"the\" by \"a\" in this text:\n\n",
                                          "What is this about?\n\n" };
    const size_t n = 200 + 37 * (i % 11), at = (size_t)i * 4096 % (filler.n_bytes - n);

    ds4_str_add_text(out, wishes[i % 4]);
    ds4_str_add(out, filler.data + at, n);
}

static ds4_token_bias never[2];         /* tokens that end an answer */

static void ask(ds4_scheduler *s, uint32_t i, float temperature, asked *a)
{
    ds4_str   prompt = { 0 };
    ds4_err   err = { .code = DS4_OK };

    write_prompt(i, &prompt);
    const ds4_message      m = { .role = DS4_ROLE_USER,
                                 .content = { ds4_str_text(&prompt), prompt.n_bytes } };
    const ds4_chat_options chat = { .protocol = model.protocol, .thinking = i % 3 == 0 };
    *a = (asked){ .job = NULL };
    if (ds4_chat_render(&m, 1, &chat, &a->text, &err) != DS4_OK) stop(&err);
    if (ds4_segments_encode(ds4_engine_vocab(model.engine), &a->text, &a->tokens, &err) != DS4_OK) stop(&err);
    if (ds4_channel_create(&a->channel, &err) != DS4_OK) stop(&err);
    const ds4_job_spec spec = { .text = &a->text, .tokens = &a->tokens,
                                .sampling = { .temperature = temperature, .top_p = 0.95f, .min_p = 0.02f },
                                .penalties = { .bias = never, .n_bias = 2 }, .seed = i + 1,
                                .max_tokens = ANSWER, .client = "", .out = a->channel };
    if (ds4_scheduler_submit(s, &spec, &a->job, &err) != DS4_OK) stop(&err);
    ds4_str_clear(&prompt);
}

static void wait_for(const asked *a)
{
    for (bool over = false; !over;) {
        ds4_event *e = ds4_channel_get(a->channel, 120000);
        if (!e) stop(&(ds4_err){ .text = "no event for two minutes" });
        over = e->kind == DS4_EVENT_END;
        free(e);
    }
    if (ds4_job_error(a->job)->code != DS4_OK) stop(ds4_job_error(a->job));
}

static void done(asked *a)
{
    ds4_job_free(a->job);
    ds4_channel_free(a->channel);
    ds4_tokens_clear(&a->tokens);
    ds4_segments_clear(&a->text);
}

/* ---- rounds --------------------------------------------------------------------------------------- */

/* How answers are given. */
typedef struct manner {
    const char   *name;
    ds4_speculate how;
    bool          always;
    uint32_t      n_slots;
} manner;

/* The tokens of all answers, [N_PROMPTS][ANSWER] and their numbers. */
typedef struct answers {
    int32_t  token[N_PROMPTS][ANSWER];
    uint32_t n[N_PROMPTS], n_all, n_guessed, n_agreed;
    double   seconds, work;             /* of the clock, and of all processors together */
} answers;

static void answer_all(const manner *m, float temperature, answers *out)
{
    const ds4_scheduler_options opt = { .engine = model.engine, .n_ctx = N_CTX, .n_slots = m->n_slots,
                                        .max_waiting = N_PROMPTS,
                                        .speculation = { .how = m->how, .always = m->always } };
    static asked   a[N_PROMPTS];
    ds4_scheduler *s = NULL;
    ds4_err        err = { .code = DS4_OK };
    const uint64_t begin = ds4_now_ns(), begin_cpu = ds4_cpu_ns();

    *out = (answers){ .n_all = 0 };
    if (ds4_scheduler_create(&opt, &s, &err) != DS4_OK) stop(&err);
    for (uint32_t i = 0; i < N_PROMPTS; i++) ask(s, i, temperature, &a[i]);
    for (uint32_t i = 0; i < N_PROMPTS; i++) {
        wait_for(&a[i]);
        const ds4_reply_result *r = ds4_job_result(a[i].job);
        out->n[i] = r->n_tokens;
        memcpy(out->token[i], r->tokens, r->n_tokens * sizeof *r->tokens);
        out->n_all += r->n_tokens;
        out->n_guessed += ds4_job_stats_get(a[i].job)->n_guessed;
        out->n_agreed += ds4_job_stats_get(a[i].job)->n_agreed;
        done(&a[i]);
    }
    ds4_scheduler_free(s);
    out->seconds = (double)(ds4_now_ns() - begin) / 1e9;
    out->work = (double)(ds4_cpu_ns() - begin_cpu) / 1e9;
}

/* Returns whether all are as they were without guesses, and some were guessed. */
static bool compare(const answers *plain, const answers *with)
{
    uint32_t n_other = 0;

    for (uint32_t i = 0; i < N_PROMPTS; i++) {
        n_other += plain->n[i] != with->n[i]
                || memcmp(plain->token[i], with->token[i], plain->n[i] * sizeof(int32_t)) != 0;
    }
    printf("# %u tokens in %.1f s (work %.1f s), %u guessed, %u right, %u of %d answers differ\n",
           with->n_all, with->seconds, with->work, with->n_guessed, with->n_agreed, n_other, N_PROMPTS);
    return n_other == 0 && with->n_guessed > 0 && with->n_agreed > 0;
}

static int run(void)
{
    static const manner manners[] = {
        { "alone", DS4_SPECULATE_AUTO, false, 1 },
        { "alone, every guess", DS4_SPECULATE_SUFFIX, true, 1 },
        { "in company", DS4_SPECULATE_AUTO, false, AT_ONCE },
        { "in company, every guess", DS4_SPECULATE_SUFFIX, true, AT_ONCE },
    };
    static const manner without = { "without", DS4_SPECULATE_OFF, false, 1 };
    static answers      plain, with;
    int                 n = 0, failed = 0;

    for (int drawn = 0; drawn < 2; drawn++) {
        const float temperature = drawn ? 0.8f : 0.0f;
        answer_all(&without, temperature, &plain);
        printf("# temperature %.1f: %u tokens without guesses in %.1f s (work %.1f s)\n", (double)temperature,
               plain.n_all, plain.seconds, plain.work);
        if (plain.n_all < LEAST_TOKENS || plain.n_guessed > 0) failed = 1;
        for (size_t i = 0; i < sizeof manners / sizeof *manners; i++) {
            answer_all(&manners[i], temperature, &with);
            const bool good = compare(&plain, &with);
            printf("%sok %d - %s, temperature %.1f\n", good ? "" : "not ", ++n, manners[i].name,
                   (double)temperature);
            failed |= !good;
        }
    }
    printf("1..%d\n", n);
    return failed;
}

int main(int argc, char **argv)
{
    const ds4_engine_options opt = { .model_path = argc > 1 ? argv[1] : "models/ds4-mini.gguf",
                                     .n_threads = 2 };
    ds4_err                  err = { .code = DS4_OK };

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (ds4_model_open(&opt, &model, &err) != DS4_OK) stop(&err);
    if (ds4_file_read("models/eval/filler.txt", 1 << 22, &filler, &err) != DS4_OK) stop(&err);
    const ds4_specials *specials = ds4_vocab_specials(ds4_engine_vocab(model.engine));
    never[0] = (ds4_token_bias){ specials->eos, -1000 };
    never[1] = (ds4_token_bias){ specials->eot, -1000 };
    const int failed = run();
    ds4_str_clear(&filler);
    ds4_model_close(&model);
    return failed;
}
