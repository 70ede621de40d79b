/* turn_replay.h - what the model really sampled, for when clients send it back changed.
 *
 * Clients re-serialize tool calls, trim text and drop reasoning. A turn that is recognised,
 * by the id of one of its calls or by the visible conversation up to it, is given back as
 * it was sampled, so that it matches the session that holds it. It is recognised only
 * when its visible text and its calls are the same: knowing an id is not enough.
 *
 * Any thread may call everything here. */
#ifndef DS4_SERVICE_TURN_REPLAY_H
#define DS4_SERVICE_TURN_REPLAY_H

#include "text/chat.h"

typedef struct ds4_replay ds4_replay;

/* The turn unused for longest is forgotten first.
 *
 *   max_bytes    of remembered text
 *   max_handles  turns and ids of their calls
 */
DS4_MUST_CHECK ds4_status ds4_replay_create(size_t max_bytes, uint32_t max_handles, ds4_replay **out,
                                            ds4_err *err);

/* Remember turns across restarts: read what the file holds, and from now on append to it.
 * It holds answers in clear text and is readable for its owner only. What is damaged or cut
 * is passed over. When it has grown beyond twice max_bytes it is written anew.
 *
 * Returns DS4_OK; DS4_E_IO naming the file; DS4_E_NOMEM.                              */
DS4_MUST_CHECK ds4_status ds4_replay_open(ds4_replay *r, const char *path, ds4_err *err);

void                      ds4_replay_free(ds4_replay *r);       /* NULL is fine */

/* The key of a conversation up to and including a message, from the key up to the one
 * before (0 at the beginning). Only what clients send back counts: not the system text,
 * not reasoning, not white space around texts, not how arguments are spelled. */
uint64_t ds4_replay_key(uint64_t before, const ds4_message *m);

/* Remember an assistant turn as it was sampled. When memory is short it is not.
 *
 *   key   of the conversation up to and including it
 *   m     with reasoning, content, raw_calls, and calls with their ids; copied         */
void ds4_replay_keep(ds4_replay *r, uint64_t key, const ds4_message *m);

/* What was sampled for an assistant message.
 *
 *   out    receives reasoning, content and raw_calls, which point into *block
 *   block  the caller frees it
 *
 * Returns false when it is not known.                                                */
bool ds4_replay_find(ds4_replay *r, uint64_t key, const ds4_message *m, ds4_message *out,
                     void **block);

size_t ds4_replay_bytes(ds4_replay *r);

#endif
