/* kv_dir.h - a store's folder in tests: made, copied, looked at, removed; and positions put
 * into it and taken out of it with a look at their logits. */
#ifndef DS4_TESTS_KV_DIR_H
#define DS4_TESTS_KV_DIR_H

#include "service/store/store.h"
#include "support/kv_walk.h"

typedef void kv_file_fn(void *ctx, const char *path, const char *name);

void     kv_dir_name(char dir[256], const char *name);      /* nothing is there afterwards */
void     kv_dir_each(const char *dir, kv_file_fn *fn, void *ctx);
void     kv_dir_remove(const char *dir);
void     kv_dir_copy(const char *from, const char *to);     /* replaces what was there */
uint64_t kv_dir_bytes(const char *dir);
uint32_t kv_dir_count(const char *dir, const char *end);    /* names that end so; "": all */

ds4_store *kv_store_open(const char *dir, ds4_engine *e, uint64_t max_bytes);

/* A position of a text, evaluated. */
ds4_snapshot *kv_position(const kv_texts *t, ds4_engine *e, int which, uint32_t pos);

/* The longest stored beginning of a text, at most max_pos tokens, in a session; what is
 * damaged is passed over. 0: none, and the session is empty. */
uint32_t kv_restore(const kv_texts *t, ds4_store *s, ds4_session *session, int which, uint32_t max_pos,
                    const ds4_snapshot *base);

/* The same in a new session, and the next few logits are looked at. */
uint32_t kv_probe(const kv_texts *t, ds4_store *s, ds4_engine *e, int which, uint32_t max_pos);

#endif
