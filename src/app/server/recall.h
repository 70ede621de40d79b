/* recall.h - the items behind response ids, for previous_response_id.
 *
 * Kept in memory; the oldest are forgotten when there are too many bytes. Any thread. */
#ifndef DS4_APP_SERVER_RECALL_H
#define DS4_APP_SERVER_RECALL_H

#include "app/server/arena.h"

typedef struct ds4_recall ds4_recall;

DS4_MUST_CHECK ds4_status ds4_recall_create(size_t max_bytes, ds4_recall **out, ds4_err *err);
void                      ds4_recall_free(ds4_recall *r);       /* NULL is fine */

/* Remember input and output items (JSON text without brackets) under an id. */
void ds4_recall_keep(ds4_recall *r, const char *id, ds4_slice input, ds4_slice output);

/* Fits ds4_recall_fn, with the ds4_recall as its context. */
bool ds4_recall_find(void *recall, ds4_slice id, ds4_arena *arena, ds4_slice *items);

#endif
