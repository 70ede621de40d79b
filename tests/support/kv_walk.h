/* kv_walk.h - texts with known logits, for tests that leave conversations and come back.
 *
 * Each text was evaluated in one piece. A session that follows a text must give the same
 * logits to the bit, whatever was saved, restored, forked or evicted on its way. */
#ifndef DS4_TESTS_KV_WALK_H
#define DS4_TESTS_KV_WALK_H

#include "ds4.h"

enum { KV_TEXTS = 4, KV_TOKENS = 1100, KV_CTX = 1280, KV_BATCH = 160 };

typedef struct kv_texts {
    char     model_path[256];
    bool     own_model;                 /* the file is removed at the end */
    uint32_t n_vocab;
    int32_t  text[KV_TEXTS][KV_TOKENS];
    float   *expected[KV_TEXTS];        /* [KV_TOKENS][n_vocab] */
} kv_texts;

/* Texts that part from the first at 255, 512 and 771, over a tiny random model, or over the
 * model named. Aborts on failure. */
void kv_texts_make(kv_texts *t, const char *model_path);
void kv_texts_free(kv_texts *t);

ds4_engine *kv_open(const kv_texts *t);

/* The same with KV rows in a folder, of which kv_mem_bytes may be in memory. */
ds4_engine *kv_open_within(const kv_texts *t, const char *kv_dir, uint64_t kv_mem_bytes, uint32_t n_threads);

/* Where a step from pos should end: a boundary that matters, or a random place. */
uint32_t kv_step(ds4_rng *rng, uint32_t pos);

/* Extend a session along a text; fails the test when a logit differs. logits [KV_BATCH][n_vocab] */
void kv_extend(const kv_texts *t, ds4_engine *e, ds4_session *s, int which, uint32_t to, float *logits);

/* A text that agrees with the first pos tokens of another; at random among those that do. */
int kv_other(const kv_texts *t, ds4_rng *rng, int which, uint32_t pos);

#endif
