/* save_restore.c - a long beginning is read once; from a snapshot of it several questions are
 * asked, each as if the session had never heard the others.
 *
 *   save_restore MODEL.gguf "System text" "Question" ["Question" ...]                 */
#include <ds4.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_CTX = 4096, MAX_PROMPT = 2048, MAX_ANSWER = 100 };

typedef struct asker {
    ds4_engine    *engine;
    ds4_session   *session;
    ds4_snapshot  *beginning;   /* what all questions share */
    const char    *system;
    float         *logits;
    ds4_candidate *scratch;
} asker;

static ds4_status prompt_of(const asker *a, const char *question, int32_t *tokens, uint32_t *n, ds4_err *err)
{
    const ds4_chat_turn turns[] = { { DS4_SYSTEM, a->system }, { DS4_USER, question } };
    const ds4_chat      chat = { .turns = turns, .n_turns = 2 };

    return ds4_chat_prompt(a->engine, &chat, tokens, MAX_PROMPT, n, err);
}

/* Read the part that all prompts have in common: where those of two questions part. */
static ds4_status read_beginning(asker *a, ds4_err *err)
{
    int32_t  one[MAX_PROMPT], other[MAX_PROMPT];
    uint32_t n_one, n_other, n = 0;

    ds4_status st = prompt_of(a, "1", one, &n_one, err);
    if (st == DS4_OK) st = prompt_of(a, "?", other, &n_other, err);
    if (st != DS4_OK) return st;
    while (n < n_one && n < n_other && one[n] == other[n]) n++;

    const ds4_prefill prefill = { .tokens = one, .n_tokens = n };
    st = ds4_session_prefill(a->session, &prefill, err);
    if (st == DS4_OK) st = ds4_session_snapshot(a->session, &a->beginning, err);
    return st;
}

static ds4_status ask(asker *a, const char *question, ds4_err *err)
{
    const ds4_vocab   *vocab = ds4_engine_vocab(a->engine);
    const uint32_t     n_vocab = ds4_engine_info(a->engine)->n_vocab;
    const uint32_t     n_known = ds4_snapshot_pos(a->beginning);
    const ds4_sampling greedy = { .temperature = 0 };
    int32_t            prompt[MAX_PROMPT], answer[MAX_ANSWER];
    char               text[16 * MAX_ANSWER];
    uint32_t           n_prompt, n = 0;

    ds4_status st = prompt_of(a, question, prompt, &n_prompt, err);
    if (st == DS4_OK) st = ds4_session_restore(a->session, a->beginning, err);
    if (st != DS4_OK) return st;
    const ds4_prefill prefill = { .tokens = prompt + n_known, .n_tokens = n_prompt - n_known,
                                  .logits = a->logits };
    st = ds4_session_prefill(a->session, &prefill, err);
    while (st == DS4_OK && n < MAX_ANSWER) {
        answer[n] = ds4_sample(a->logits, n_vocab, &greedy, NULL, a->scratch);
        if (ds4_token_is_end(vocab, answer[n])) break;
        const ds4_work work = { .session = a->session, .tokens = &answer[n++], .n_tokens = 1,
                                .logits = a->logits };
        st = ds4_engine_step(a->engine, &work, 1, err);
    }
    ds4_detokenize(vocab, answer, n, text, sizeof text);
    if (st == DS4_OK) printf("%s\n  %u tokens known, %u read\n", text, n_known, n_prompt - n_known);
    return st;
}

static ds4_status ask_all(asker *a, char **questions, int n_questions, ds4_err *err)
{
    const uint32_t n_vocab = ds4_engine_info(a->engine)->n_vocab;

    a->logits = malloc(n_vocab * sizeof *a->logits);
    a->scratch = malloc(n_vocab * sizeof *a->scratch);
    if (!a->logits || !a->scratch) return DS4_E_NOMEM;
    ds4_status st = ds4_session_create(a->engine, N_CTX, &a->session, err);
    if (st == DS4_OK) st = read_beginning(a, err);
    for (int i = 0; i < n_questions && st == DS4_OK; i++) st = ask(a, questions[i], err);
    return st;
}

int main(int argc, char **argv)
{
    asker   a = { 0 };
    ds4_err err = { .text = "out of memory" };

    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL.gguf SYSTEM QUESTION...\n", argv[0]);
        return 2;
    }
    a.system = argv[2];
    const ds4_engine_options options = { .model_path = argv[1] };
    ds4_status               st = ds4_engine_open(&a.engine, &options, &err);
    if (st == DS4_OK) st = ask_all(&a, argv + 3, argc - 3, &err);
    if (st != DS4_OK) fprintf(stderr, "%s\n", err.text);
    free(a.scratch);
    free(a.logits);
    ds4_snapshot_free(a.beginning);
    ds4_session_free(a.session);
    ds4_engine_close(a.engine);
    return st == DS4_OK ? 0 : 1;
}
