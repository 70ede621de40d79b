/* recall.h - stored responses: found for previous_response_id, shown, listed and deleted.
 *
 * A response is kept as what it added to the one before it, and belongs to the key that made it: for
 * everybody else it is unknown. Any thread. */
#ifndef DS4_APP_SERVER_RECALL_H
#define DS4_APP_SERVER_RECALL_H

#include "app/server/http.h"
#include "app/server/request.h"
#include "service/store/store_texts.h"

/* The owner of responses. Fits the context of ds4_recall_find(). */
typedef struct ds4_recall {
    ds4_texts *texts;
    ds4_kv_key owner;
} ds4_recall;

/* All items up to and including those of a response. Fits ds4_recall_fn, with a ds4_recall as its
 * context. False when it or one before it is not known. */
bool ds4_recall_find(void *recall, ds4_slice id, ds4_arena *arena, ds4_slice *items);

/* GET /v1/responses/ID: the response object. Returns false when it is not known. */
bool ds4_recall_show(const ds4_recall *r, ds4_slice id, ds4_str *out);

/* GET /v1/responses/ID/input_items. Parameters as they are in the query, NULL where they are missing.
 *
 * Returns DS4_OK; DS4_E_ARG naming a parameter; DS4_E_IO when the response is not known;
 * DS4_E_NOMEM.                                                                          */
DS4_MUST_CHECK ds4_status ds4_recall_list(const ds4_recall *r, ds4_slice id, const char *limit,
                                          const char *order, const char *after, ds4_str *out,
                                          ds4_err *err);

#endif
