/* kv_walk.c - see kv_walk.h. */
#include "testing.h"

#include "base/rng.h"
#include "format/dtype.h"
#include "support/kv_walk.h"
#include "support/tiny_model.h"

static const uint32_t parts_at[KV_TEXTS] = { 0, 255, 512, 771 };

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

static void evaluate(kv_texts *t, int which)
{
    const ds4_engine_options opt = { .model_path = t->model_path, .n_threads = 1,
                                     .max_batch = KV_TOKENS };
    ds4_engine              *e;
    ds4_session             *s;
    ds4_err                  err = { 0 };

    check(ds4_engine_open(&e, &opt, &err), &err);
    t->n_vocab = ds4_engine_info(e)->n_vocab;
    t->expected[which] = malloc(sizeof(float) * KV_TOKENS * t->n_vocab);
    check(ds4_session_create(e, KV_CTX, &s, &err), &err);
    const ds4_work work = { .session = s, .tokens = t->text[which], .n_tokens = KV_TOKENS,
                            .logits = t->expected[which], .all_logits = true };
    check(ds4_engine_step(e, &work, 1, &err), &err);
    ds4_session_free(s);
    ds4_engine_close(e);
}

void kv_texts_make(kv_texts *t, const char *model_path)
{
    const tiny_model tiny = { .seed = 9, .dense = DS4_Q8_0, .gate_up = DS4_MXFP4, .down = DS4_MXFP4,
                              .precise = DS4_F16, .n_embd = 64 };
    ds4_rng          rng;

    memset(t, 0, sizeof *t);
    t->own_model = !model_path;
    if (model_path) {
        snprintf(t->model_path, sizeof t->model_path, "%s", model_path);
    } else {
        test_temp_path(t->model_path, "kv_walk.gguf");
        tiny_model_write(&tiny, t->model_path);
    }
    ds4_rng_seed(&rng, 1);
    for (int i = 0; i < KV_TEXTS; i++) {
        memcpy(t->text[i], t->text[0], parts_at[i] * sizeof(int32_t));
        for (uint32_t j = parts_at[i]; j < KV_TOKENS; j++) {
            t->text[i][j] = (int32_t)(ds4_rng_next(&rng) % 256);
        }
        evaluate(t, i);
    }
}

void kv_texts_free(kv_texts *t)
{
    for (int i = 0; i < KV_TEXTS; i++) free(t->expected[i]);
    if (t->own_model) unlink(t->model_path);
}

ds4_engine *kv_open(const kv_texts *t)
{
    return kv_open_within(t, NULL, 0, 1);
}

ds4_engine *kv_open_within(const kv_texts *t, const char *kv_dir, uint64_t kv_mem_bytes,
                           uint32_t n_threads)
{
    const ds4_engine_options opt = { .model_path = t->model_path, .n_threads = n_threads,
                                     .max_batch = KV_BATCH, .kv_dir = kv_dir,
                                     .kv_mem_bytes = kv_mem_bytes };
    ds4_engine              *e;
    ds4_err                  err = { 0 };

    check(ds4_engine_open(&e, &opt, &err), &err);
    return e;
}

uint32_t kv_step(ds4_rng *rng, uint32_t pos)
{
    static const uint32_t edges[] = { 3,   4,   5,   127, 128,  129,  255, 256,
                                      257, 511, 512, 513, 1023, 1024, 1025 };
    const uint32_t        most = ds4_rng_next(rng) % 2 ? KV_BATCH : 6;
    uint32_t              to = pos + 1 + (uint32_t)(ds4_rng_next(rng) % most);

    if (ds4_rng_next(rng) % 3 == 0) {
        const uint32_t edge = edges[ds4_rng_next(rng) % (sizeof edges / sizeof edges[0])];
        if (edge > pos && edge - pos <= KV_BATCH) to = edge;
    }
    if (to - pos > KV_BATCH) to = pos + KV_BATCH;
    return to > KV_TOKENS ? KV_TOKENS : to;
}

void kv_extend(const kv_texts *t, ds4_engine *e, ds4_session *s, int which, uint32_t to, float *logits)
{
    const uint32_t pos = ds4_session_pos(s);
    ds4_err        err = { 0 };

    if (to <= pos) return;
    const ds4_work work = { .session = s, .tokens = t->text[which] + pos, .n_tokens = to - pos,
                            .logits = logits, .all_logits = true };
    check(ds4_engine_step(e, &work, 1, &err), &err);
    if (memcmp(logits, t->expected[which] + (size_t)pos * t->n_vocab,
               sizeof(float) * (to - pos) * t->n_vocab) != 0) {
        fail_msg("text %d: positions %u..%u differ from a run in one piece", which, pos, to - 1);
    }
}

int kv_other(const kv_texts *t, ds4_rng *rng, int which, uint32_t pos)
{
    const int other = (int)(ds4_rng_next(rng) % KV_TEXTS);
    return memcmp(t->text[other], t->text[which], pos * sizeof(int32_t)) == 0 ? other : which;
}
