/* two_sessions.c - two conversations that advance in the same steps. The weights are read
 * once for both, so that two answers take little longer than one; and each is, bit for
 * bit, what it would be alone.
 *
 *   two_sessions MODEL.gguf "First question" "Second question"                        */
#include <ds4.h>

#include <stdio.h>
#include <stdlib.h>

enum { N = 2, N_CTX = 2048, MAX_PROMPT = 1024, MAX_ANSWER = 200 };

typedef struct talk {
    ds4_session *session;
    int32_t      prompt[MAX_PROMPT], answer[MAX_ANSWER];
    uint32_t     n_prompt, n_done, n_answer;
    float       *logits;        /* [n_vocab] of the last token in the session */
    bool         over;
} talk;

static ds4_status begin(ds4_engine *e, const char *question, talk *t, ds4_err *err)
{
    const ds4_chat_turn turn = { DS4_USER, question };
    const ds4_chat      chat = { .turns = &turn, .n_turns = 1 };
    const ds4_status    st = ds4_chat_prompt(e, &chat, t->prompt, MAX_PROMPT, &t->n_prompt, err);

    t->logits = malloc(ds4_engine_info(e)->n_vocab * sizeof *t->logits);
    if (st != DS4_OK || !t->logits) return st != DS4_OK ? st : DS4_E_NOMEM;
    return ds4_session_create(e, N_CTX, &t->session, err);
}

/* A talk wants this of the next step: a piece of its prompt, or its next token. A step
 * takes any mix of both. */
static ds4_work next(const ds4_engine *e, talk *t, ds4_candidate *scratch)
{
    const uint32_t     n_vocab = ds4_engine_info(e)->n_vocab;
    const uint32_t     most = ds4_engine_max_batch(e) / N, left = t->n_prompt - t->n_done;
    const ds4_sampling greedy = { .temperature = 0 };
    ds4_work           work = { .session = t->session };

    if (left > 0) {
        work.tokens = t->prompt + t->n_done;
        work.n_tokens = left < most ? left : most;
        work.logits = work.n_tokens == left ? t->logits : NULL;
        t->n_done += work.n_tokens;
        return work;
    }
    const int32_t token = ds4_sample(t->logits, n_vocab, &greedy, NULL, scratch);
    t->over = t->n_answer == MAX_ANSWER || ds4_token_is_end(ds4_engine_vocab(e), token);
    if (t->over) return work;
    t->answer[t->n_answer] = token;
    work.tokens = &t->answer[t->n_answer++];
    work.n_tokens = 1;
    work.logits = t->logits;
    return work;
}

static ds4_status run(ds4_engine *e, talk *talks, ds4_candidate *scratch, ds4_err *err)
{
    char text[16 * MAX_ANSWER];

    for (;;) {
        ds4_work work[N];
        uint32_t n_work = 0;
        for (int i = 0; i < N; i++) {
            if (talks[i].over) continue;
            work[n_work] = next(e, &talks[i], scratch);
            n_work += !talks[i].over;
        }
        if (n_work == 0) break;
        const ds4_status st = ds4_engine_step(e, work, n_work, err);
        if (st != DS4_OK) return st;
    }
    for (int i = 0; i < N; i++) {
        ds4_detokenize(ds4_engine_vocab(e), talks[i].answer, talks[i].n_answer, text, sizeof text);
        printf("%d: %s\n", i + 1, text);
    }
    return DS4_OK;
}

int main(int argc, char **argv)
{
    static talk    talks[N];
    ds4_engine    *e = NULL;
    ds4_candidate *scratch = NULL;
    ds4_err        err = { .text = "out of memory" };

    if (argc != 2 + N) {
        fprintf(stderr, "usage: %s MODEL.gguf QUESTION QUESTION\n", argv[0]);
        return 2;
    }
    const ds4_engine_options options = { .model_path = argv[1], .plan_ctx = N_CTX, .plan_sessions = N };
    ds4_status               st = ds4_engine_open(&e, &options, &err);
    if (st == DS4_OK) scratch = malloc(ds4_engine_info(e)->n_vocab * sizeof *scratch);
    if (st == DS4_OK && !scratch) st = DS4_E_NOMEM;
    for (int i = 0; i < N && st == DS4_OK; i++) st = begin(e, argv[2 + i], &talks[i], &err);
    if (st == DS4_OK) st = run(e, talks, scratch, &err);
    if (st != DS4_OK) fprintf(stderr, "%s\n", err.text);
    for (int i = 0; i < N; i++) {
        ds4_session_free(talks[i].session);
        free(talks[i].logits);
    }
    free(scratch);
    ds4_engine_close(e);
    return st == DS4_OK ? 0 : 1;
}
