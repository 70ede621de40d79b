/* history.h - the messages of a conversation, owned.
 *
 * chat.h renders messages that somebody else keeps; here they are kept. Zeroed is empty.
 * Not for use by two threads at a time. */
#ifndef DS4_SERVICE_HISTORY_H
#define DS4_SERVICE_HISTORY_H

#include "text/chat.h"

typedef struct ds4_history {
    ds4_message *messages;      /* [n] fit for ds4_chat_render(); what they point at is owned */
    void       **owned;         /* [n] one block of memory behind each message */
    uint32_t     n, capacity;
} ds4_history;

/* Append a copy of a message and of everything it points at.
 *
 *   h   unchanged on failure
 *
 * Returns DS4_OK; DS4_E_NOMEM; DS4_E_LIMIT for more than 2^24 messages.              */
DS4_MUST_CHECK ds4_status ds4_history_add(ds4_history *h, const ds4_message *m, ds4_err *err);

/* Add a message that is only text. */
DS4_MUST_CHECK ds4_status ds4_history_add_text(ds4_history *h, ds4_role role, ds4_slice text,
                                               ds4_err *err);

void ds4_history_truncate(ds4_history *h, uint32_t n);  /* keeps the first n */
void ds4_history_clear(ds4_history *h);                 /* frees; usable again */

#endif
