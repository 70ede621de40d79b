/* recall.h - the items behind response ids, for previous_response_id.
 *
 * A response is kept as what it added to the one before it. The oldest are forgotten when
 * there are too many bytes. Any thread. */
#ifndef DS4_APP_SERVER_RECALL_H
#define DS4_APP_SERVER_RECALL_H

#include "app/server/arena.h"

typedef struct ds4_recall ds4_recall;

DS4_MUST_CHECK ds4_status ds4_recall_create(size_t max_bytes, ds4_recall **out, ds4_err *err);
void                      ds4_recall_free(ds4_recall *r);       /* NULL is fine */

/* Know what the file holds, and from now on append to it: responses outlive the program. See
 * record_log.h. Returns as ds4_record_log_open(). */
DS4_MUST_CHECK ds4_status ds4_recall_open(ds4_recall *r, const char *path, ds4_err *err);

/* Remember a response.
 *
 *   before   the id of the one it goes on from; "" for none
 *   input    its own items, JSON text without brackets
 *   output   the same
 */
void ds4_recall_keep(ds4_recall *r, const char *id, ds4_slice before, ds4_slice input, ds4_slice output);

/* All items up to and including those of a response. Fits ds4_recall_fn, with the
 * ds4_recall as its context. False when it or one before it is not known. */
bool ds4_recall_find(void *recall, ds4_slice id, ds4_arena *arena, ds4_slice *items);

size_t ds4_recall_bytes(ds4_recall *r);

#endif
