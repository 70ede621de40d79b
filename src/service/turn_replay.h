/* turn_replay.h - what the model really sampled, for when clients send it back changed.
 *
 * Clients re-serialize tool calls, trim text and drop reasoning. A turn that is recognised,
 * by the id of one of its calls or by the visible conversation up to it, is given back as
 * it was sampled, text and tokens, so that it matches the session that holds it and is read alike by
 * a server that does not. It is recognised only when its visible text and its calls are the same:
 * knowing an id is not enough. And only by whom it belongs to, with the model that sampled it.
 *
 * The turns lie in a ds4_texts. Any thread may call everything here. */
#ifndef DS4_SERVICE_TURN_REPLAY_H
#define DS4_SERVICE_TURN_REPLAY_H

#include "service/store/store_texts.h"
#include "text/chat.h"

/* The owner of the turns. */
typedef struct ds4_replay_scope {
    ds4_kv_key owner;
    ds4_kv_key model[2];        /* [n_models] names that the model has had; turns are kept under the first */
    uint32_t   n_models;
} ds4_replay_scope;

/* The key of a conversation up to and including a message, from the key up to the one
 * before (0 at the beginning). Only what clients send back counts: not the system text,
 * not reasoning, not white space around texts, not how arguments are spelled. */
uint64_t ds4_replay_key(uint64_t before, const ds4_message *m);

/* Remember an assistant turn as it was sampled. When memory is short it is not.
 *
 *   key       of the conversation up to and including it
 *   m         with reasoning, content, raw_calls, and calls with their ids; copied
 *   tokens    [n_tokens] that were sampled
 *   response  id of a response with which the turn is forgotten, see ds4_replay_of_response(); "" for none */
void ds4_replay_keep(ds4_texts *t, const ds4_replay_scope *scope, uint64_t key, const ds4_message *m,
                     const int32_t *tokens, uint32_t n_tokens, ds4_slice response);

/* The sampled tokens. */
typedef struct ds4_replayed {
    ds4_slice reasoning, content, raw_calls;    /* point into *block */
    int32_t  *tokens;                           /* [n_tokens], as well */
    uint32_t  n_tokens;
    void     *block;                            /* the caller frees it */
} ds4_replayed;

/* Find the sampled text of an assistant message. Returns false when it is not known. */
bool ds4_replay_find(ds4_texts *t, const ds4_replay_scope *scope, uint64_t key, const ds4_message *m,
                     ds4_replayed *out);

/* The key of the turn that belongs to a response. */
ds4_kv_key ds4_replay_of_response(const ds4_kv_key *owner, ds4_slice id);

#endif
