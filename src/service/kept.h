/* kept.h - positions of conversations kept in memory, within a budget.
 *
 * A position serves every prompt that begins with its tokens, whichever conversation it
 * was of. When the budget is used up, one that has a longer one behind it goes first (a
 * place midway through a prompt before the end of a turn, the end of a system prompt last), then the
 * one unused for longest. */
#ifndef DS4_SERVICE_KEPT_H
#define DS4_SERVICE_KEPT_H

#include "engine/snapshot.h"
#include "service/store/store_hash.h"

/* The reason for which it is kept. */
typedef enum ds4_kept_kind {
    DS4_KEPT_ANCHOR,            /* the end of system prompt and tools */
    DS4_KEPT_TURN,              /* the end of a turn, or a prompt without its last tokens */
    DS4_KEPT_MIDWAY,            /* a place midway through a long prompt */
    DS4_KEPT_TRAIL,             /* behind the token that is being sampled; the next replaces it */
} ds4_kept_kind;

typedef struct ds4_kept ds4_kept;

/*   max_bytes   of tails, tokens, and blocks that no session holds any more              */
DS4_MUST_CHECK ds4_status ds4_kept_create(ds4_engine *e, uint64_t max_bytes, ds4_kept **out,
                                          ds4_err *err);
void                      ds4_kept_free(ds4_kept *k);           /* NULL is fine */

/* Keep and find for this reader from now on: what was kept for another one is not found. Zero, as at
 * the beginning: for all. Clearing is for everybody. */
void ds4_kept_set_reader(ds4_kept *k, const ds4_kv_key *reader);

/* Keep where a session is. An empty session has no position; when memory is short nothing
 * is kept. */
void ds4_kept_add(ds4_kept *k, ds4_session *s, ds4_kept_kind kind);

/* Keep a snapshot, which is handed over. */
void ds4_kept_give(ds4_kept *k, ds4_snapshot *p, ds4_kept_kind kind);

/* The longest position of at most max_pos tokens that is a beginning of the given; lent
 * until the next change. NULL: none. `use` counts as a use. */
const ds4_snapshot *ds4_kept_find(ds4_kept *k, const int32_t *tokens, uint32_t n_tokens,
                                  uint32_t max_pos, bool use);

/* Find likewise among positions at multiples of `multiple`, which have small tails. */
const ds4_snapshot *ds4_kept_find_even(ds4_kept *k, const int32_t *tokens, uint32_t n_tokens,
                                       uint32_t multiple);

/* Tokens that the given and some position begin with alike. */
uint32_t ds4_kept_common(const ds4_kept *k, const int32_t *tokens, uint32_t n_tokens);

/* The position of a reader that was used last before *used, and that no longer one goes on from; NULL: none
 * is left. *used is UINT64_MAX at first, and receives when it was used, for the next call. Lent until the
 * next change. */
const ds4_snapshot *ds4_kept_before(const ds4_kept *k, const ds4_kv_key *reader, uint64_t *used);

void     ds4_kept_clear(ds4_kept *k);
uint32_t ds4_kept_n(const ds4_kept *k);
uint64_t ds4_kept_bytes(const ds4_kept *k);             /* now */
const ds4_snapshot *ds4_kept_at(const ds4_kept *k, uint32_t i);         /* i < n */

#endif
