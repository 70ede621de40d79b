/* store_texts.h - texts that outlive a request: stored responses, and turns as they were sampled.
 *
 * With a folder they lie in the store's index, shared with all that use the folder, inside its budget.
 * Without one, or while the disk fails, they lie in memory under a budget of their own. Everything
 * belongs to an owner and is found by nobody else.
 *
 * A response is on the disk when ds4_texts_keep_response() returns true. Turns are known at once
 * and follow within moments: a thread writes what has come together in one transaction.
 *
 * Any thread may call everything here. */
#ifndef DS4_SERVICE_STORE_TEXTS_H
#define DS4_SERVICE_STORE_TEXTS_H

#include "service/store/store_text_rows.h"

typedef struct ds4_texts ds4_texts;

typedef struct ds4_texts_options {
    const char *dir;                    /* NULL: in memory only */
    uint64_t    dir_bytes;              /* as in ds4_store_options */
    uint64_t    mem_bytes;              /* of texts in memory */
    uint32_t    max_keys;               /* of turns in memory; 0: as many as the bytes allow */
    uint32_t    retry_ms;               /* as in ds4_store_options */
} ds4_texts_options;

/* Returns DS4_OK, also where the disk fails for now; as ds4_store_open() for a folder that must not be
 * used; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_texts_open(ds4_texts **out, const ds4_texts_options *opt, ds4_err *err);
void                      ds4_texts_close(ds4_texts *t);        /* writes what waits; NULL is fine */

/* Keep a response under its id. Returns whether it is kept as the options promise: on the disk when
 * there is a folder. One that is not may still be found until the program ends. */
bool ds4_texts_keep_response(ds4_texts *t, const ds4_kv_key *owner, const ds4_text_response *r);

/* Returns whether there is one; then fn was called with it, its bytes lent for the call. */
bool ds4_texts_get_response(ds4_texts *t, const ds4_kv_key *owner, ds4_slice id, bool whole,
                            ds4_text_response_fn *fn, void *ctx);

/* Forget a response, and the turn that has `turn` among its keys (NULL: none): what is deleted is
 * overwritten. Returns whether there was one; DS4_E_IO when the disk still has it. */
DS4_MUST_CHECK ds4_status ds4_texts_drop_response(ds4_texts *t, const ds4_kv_key *owner, ds4_slice id,
                                                  const ds4_kv_key *turn, bool *was_there, ds4_err *err);

/* Keep a turn, and find it by one of its keys; fn as above. */
void ds4_texts_keep_turn(ds4_texts *t, const ds4_kv_key *keys, uint32_t n_keys, const ds4_text_turn *turn);
bool ds4_texts_get_turn(ds4_texts *t, const ds4_kv_key *key, ds4_text_turn_fn *fn, void *ctx);

uint64_t ds4_texts_bytes(ds4_texts *t);         /* of what lies in memory */
void     ds4_texts_settle(ds4_texts *t);   /* for tests: wait until what waits is written or has failed */

#endif
