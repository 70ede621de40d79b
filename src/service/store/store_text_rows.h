/* store_text_rows.h - responses and turns as rows of an index, in a file or in memory.
 *
 * A row's size is what it takes, roughly. The caller makes room and begins and ends transactions.
 * All functions return DS4_OK; DS4_E_FORMAT; DS4_E_IO; DS4_E_NOMEM, as those of store_index.h. */
#ifndef DS4_SERVICE_STORE_TEXT_ROWS_H
#define DS4_SERVICE_STORE_TEXT_ROWS_H

#include "service/store/store_index.h"

/* A stored response: JSON text. The whole of it is head, output, rest. */
typedef struct ds4_text_response {
    ds4_slice id, before;               /* before: the id of the one it goes on from; "" for none */
    ds4_slice input, output;            /* its own items, without brackets */
    ds4_slice head, rest;
} ds4_text_response;

/* The sampled text of a turn. */
typedef struct ds4_text_turn {
    ds4_slice reasoning, content, calls;
    ds4_slice tokens;                   /* little endian, 4 bytes each */
} ds4_text_turn;

/* A row's place in the order of use. 0: by the clock; a use within an hour of the last one is then not
 * written, because it would cost a write for every reading. */
typedef int64_t ds4_text_time;

uint64_t ds4_text_response_size(const ds4_text_response *r);
uint64_t ds4_text_turn_size(const ds4_text_turn *t, uint32_t n_keys);

DS4_MUST_CHECK ds4_status ds4_text_add_response(ds4_index *ix, const ds4_kv_key *owner,
                                                const ds4_text_response *r, ds4_text_time used, ds4_err *err);

/* Rows are lent for the call of fn; *found says whether it was made. whole: with head and rest. */
typedef void ds4_text_response_fn(void *ctx, const ds4_text_response *r);
DS4_MUST_CHECK ds4_status ds4_text_get_response(ds4_index *ix, const ds4_kv_key *owner,
                                                ds4_slice id, bool whole, ds4_text_response_fn *fn,
                                                void *ctx, bool *found, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_text_drop_response(ds4_index *ix, const ds4_kv_key *owner, ds4_slice id,
                                                 bool *was_there, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_text_use_response(ds4_index *ix, ds4_slice id, ds4_text_time used,
                                                ds4_err *err);

/* Copy responses as far as they can be read. *n counts them, also on failure. */
DS4_MUST_CHECK ds4_status ds4_text_copy_responses(ds4_index *from, ds4_index *to, uint32_t *n, ds4_err *err);

/* keys: [n_keys] by which the turn is found; what they named before is forgotten. */
DS4_MUST_CHECK ds4_status ds4_text_add_turn(ds4_index *ix, const ds4_kv_key *keys, uint32_t n_keys,
                                            const ds4_text_turn *t, ds4_text_time used, ds4_err *err);
typedef void ds4_text_turn_fn(void *ctx, const ds4_text_turn *t);
DS4_MUST_CHECK ds4_status ds4_text_get_turn(ds4_index *ix, const ds4_kv_key *key,
                                            ds4_text_turn_fn *fn, void *ctx, bool *found,
                                            ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_text_use_turn(ds4_index *ix, const ds4_kv_key *key,
                                            ds4_text_time used, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_text_drop_turn(ds4_index *ix, const ds4_kv_key *key, ds4_err *err);

typedef struct ds4_text_sums {
    uint64_t n_bytes;                   /* sizes of all rows */
    uint64_t n_handles;                 /* keys of turns */
} ds4_text_sums;
DS4_MUST_CHECK ds4_status ds4_text_sum(ds4_index *ix, ds4_text_sums *out, ds4_err *err);

/* Drop what was not used for longest until so many bytes have gone, or nothing is left. */
DS4_MUST_CHECK ds4_status ds4_text_shrink(ds4_index *ix, uint64_t enough, uint64_t *freed, ds4_err *err);

#endif
