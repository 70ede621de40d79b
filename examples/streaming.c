/* streaming.c - an answer shown as it comes, sampled as the model file advises, with its
 * reasoning in grey; Ctrl-C ends it and leaves nothing behind.
 *
 *   streaming MODEL.gguf "Who are you?" [SEED]                                        */
#include <ds4.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PROMPT = 8192, MAX_ANSWER = 2048 };

/* Signal handlers may touch nothing else of the library. */
static ds4_cancel cancel;

static void on_interrupt(int number)
{
    (void)number;
    cancel.stop = 1;
}

static void on_progress(void *ctx, uint32_t n_done, uint32_t n_total)
{
    (void)ctx;
    if (n_total > 256) fprintf(stderr, "\rreading %u of %u tokens", n_done, n_total);
    if (n_total > 256 && n_done == n_total) fprintf(stderr, "\r\033[K");
}

/* Bytes go out as they are: a terminal waits for the rest of a character by itself. */
static void show(const ds4_vocab *vocab, int32_t token, bool *thinking)
{
    size_t      n_bytes;
    const char *bytes = ds4_token_bytes(vocab, token, &n_bytes);

    if (*thinking && n_bytes == 8 && memcmp(bytes, "</think>", 8) == 0) {
        *thinking = false;
        printf("\033[0m\n\n");
    } else {
        fwrite(bytes, 1, n_bytes, stdout);
    }
    fflush(stdout);
}

static ds4_status stream(ds4_engine *e, ds4_session *s, const char *question, uint64_t seed,
                         ds4_err *err)
{
    static float         logits[1 << 18];           /* enough for any vocabulary of this family */
    static ds4_candidate scratch[1 << 18];
    static int32_t       prompt[MAX_PROMPT];
    const ds4_model_info *info = ds4_engine_info(e);
    const ds4_vocab      *vocab = ds4_engine_vocab(e);
    const ds4_sampling    how = { info->temperature, info->top_p, info->min_p, 0 };
    const ds4_chat_turn   turn = { DS4_USER, question };
    const ds4_chat        chat = { .turns = &turn, .n_turns = 1, .thinking = true };
    bool                  thinking = true;
    uint32_t              n_prompt;
    ds4_rng               rng;

    if (info->n_vocab > 1 << 18) return DS4_E_LIMIT;
    ds4_rng_seed(&rng, seed);
    ds4_status st = ds4_chat_prompt(e, &chat, prompt, MAX_PROMPT, &n_prompt, err);
    if (st != DS4_OK) return st;
    const ds4_prefill prefill = { .tokens = prompt, .n_tokens = n_prompt, .logits = logits,
                                  .cancel = &cancel, .progress = on_progress };
    st = ds4_session_prefill(s, &prefill, err);

    printf("\033[90m");
    for (int n = 0; st == DS4_OK && n < MAX_ANSWER && !cancel.stop; n++) {
        const int32_t token = ds4_sample(logits, info->n_vocab, &how, &rng, scratch);
        if (token < 0 || ds4_token_is_end(vocab, token)) break;
        show(vocab, token, &thinking);
        const ds4_work work = { .session = s, .tokens = &token, .n_tokens = 1, .logits = logits };
        st = ds4_engine_step(e, &work, 1, err);
    }
    printf("\033[0m\n");
    return st;
}

int main(int argc, char **argv)
{
    ds4_engine  *e = NULL;
    ds4_session *s = NULL;
    ds4_err      err = { .text = "the vocabulary is too large" };

    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: %s MODEL.gguf QUESTION [SEED]\n", argv[0]);
        return 2;
    }
    signal(SIGINT, on_interrupt);
    const ds4_engine_options options = { .model_path = argv[1] };
    ds4_status               st = ds4_engine_open(&e, &options, &err);
    if (st == DS4_OK) st = ds4_session_create(e, MAX_PROMPT + MAX_ANSWER, &s, &err);
    if (st == DS4_OK) st = stream(e, s, argv[2], argc > 3 ? strtoull(argv[3], NULL, 10) : 1, &err);
    if (st != DS4_OK) fprintf(stderr, "%s\n", err.text);
    ds4_session_free(s);
    ds4_engine_close(e);
    return st == DS4_OK ? 0 : 1;
}
