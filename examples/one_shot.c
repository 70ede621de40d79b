/* one_shot.c - a question, the whole answer: the shortest complete use of the library.
 *
 *   one_shot MODEL.gguf "What is 2 + 3?"                                             */
#include <ds4.h>

#include <stdio.h>
#include <stdlib.h>

enum { MAX_PROMPT = 4096, MAX_ANSWER = 256 };

/* An answer needs these at hand; all of it is freed by answer(). */
typedef struct room {
    ds4_session   *session;
    float         *logits;      /* [n_vocab] */
    ds4_candidate *scratch;     /* [n_vocab] */
} room;

static ds4_status generate(ds4_engine *e, const room *r, const ds4_chat *chat, ds4_err *err)
{
    const ds4_vocab   *vocab = ds4_engine_vocab(e);
    const uint32_t     n_vocab = ds4_engine_info(e)->n_vocab;
    const ds4_sampling greedy = { .temperature = 0 };
    ds4_rng            rng;
    int32_t            prompt[MAX_PROMPT], answer[MAX_ANSWER];
    char               text[16 * MAX_ANSWER];
    uint32_t           n_prompt, n = 0;

    ds4_rng_seed(&rng, 1);
    ds4_status st = ds4_chat_prompt(e, chat, prompt, MAX_PROMPT, &n_prompt, err);
    if (st != DS4_OK) return st;

    const ds4_prefill prefill = { .tokens = prompt, .n_tokens = n_prompt, .logits = r->logits };
    st = ds4_session_prefill(r->session, &prefill, err);

    while (st == DS4_OK && n < MAX_ANSWER) {
        answer[n] = ds4_sample(r->logits, n_vocab, &greedy, &rng, r->scratch);
        if (ds4_token_is_end(vocab, answer[n])) break;
        const ds4_work work = { .session = r->session, .tokens = &answer[n], .n_tokens = 1,
                                .logits = r->logits };
        st = ds4_engine_step(e, &work, 1, err);
        n++;
    }
    if (st != DS4_OK) return st;
    ds4_detokenize(vocab, answer, n, text, sizeof text);
    printf("%s\n", text);
    return DS4_OK;
}

static ds4_status answer(ds4_engine *e, const char *question, ds4_err *err)
{
    const ds4_chat_turn turns[] = { { DS4_SYSTEM, "You are a helpful assistant" },
                                    { DS4_USER, question } };
    const ds4_chat      chat = { .turns = turns, .n_turns = 2 };
    const uint32_t      n_vocab = ds4_engine_info(e)->n_vocab;
    room                r = { .logits = malloc(n_vocab * sizeof *r.logits),
                              .scratch = malloc(n_vocab * sizeof *r.scratch) };
    ds4_status          st = DS4_E_NOMEM;

    if (r.logits && r.scratch) {
        st = ds4_session_create(e, MAX_PROMPT + MAX_ANSWER, &r.session, err);
        if (st == DS4_OK) st = generate(e, &r, &chat, err);
    }
    ds4_session_free(r.session);
    free(r.scratch);
    free(r.logits);
    return st;
}

int main(int argc, char **argv)
{
    ds4_engine *e = NULL;
    ds4_err     err = { .text = "out of memory" };

    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL.gguf QUESTION\n", argv[0]);
        return 2;
    }
    const ds4_engine_options options = { .model_path = argv[1] };
    ds4_status               st = ds4_engine_open(&e, &options, &err);
    if (st == DS4_OK) st = answer(e, argv[2], &err);
    if (st != DS4_OK) fprintf(stderr, "%s\n", err.text);
    ds4_engine_close(e);
    return st == DS4_OK ? 0 : 1;
}
