/* inbox.h - what a front asks of the loop, from any thread: messages and commands in their order. */
#ifndef DS4_AGENT_INBOX_H
#define DS4_AGENT_INBOX_H

#include "base/str.h"

#include <stdint.h>

typedef enum ds4_request_kind {
    DS4_REQUEST_TEXT,           /* a message of the user */
    DS4_REQUEST_COMMAND,
} ds4_request_kind;

typedef struct ds4_request {
    ds4_request_kind kind;
    uint64_t         ticket;
    ds4_str          text;      /* the taker clears it */
    bool             kept;      /* the loop wrote it down */
} ds4_request;

typedef struct ds4_inbox ds4_inbox;

ds4_inbox *ds4_inbox_create(void);              /* NULL without memory */
void       ds4_inbox_free(ds4_inbox *b);        /* NULL is fine */

/* Any thread. Returns the ticket; 0 without memory or after ds4_inbox_quit(). */
uint64_t ds4_inbox_add(ds4_inbox *b, ds4_request_kind kind, ds4_slice text);

/* Any thread: take the last message back, appended to *text. False: none waits. */
bool ds4_inbox_take_back(ds4_inbox *b, ds4_str *text);

/* Any thread. stop: what runs is to end; hold: messages wait until another one comes. */
void ds4_inbox_interrupt(ds4_inbox *b, bool hold);
void ds4_inbox_quit(ds4_inbox *b);
bool ds4_inbox_busy(ds4_inbox *b);              /* something waits or is worked on */

/* ---- for the loop ---- */

/* The flag that ends what runs; see ds4_inbox_calm(). */
const volatile int *ds4_inbox_stop(const ds4_inbox *b);

/* Called when an interrupt comes, on the thread that interrupts: stops what does not look at the flag. */
void ds4_inbox_on_stop(ds4_inbox *b, void (*fn)(void *ctx), void *ctx);

/* Wait for the next request and take it, with ticket 0 when there is only ds4_inbox_taken_back(). False:
 * quit. The one before is done with. */
bool ds4_inbox_wait(ds4_inbox *b, ds4_request *out);

/* The interrupt was seen: the flag is 0 again. */
void ds4_inbox_calm(ds4_inbox *b);

uint32_t ds4_inbox_n_texts(ds4_inbox *b);       /* messages that wait and are not held */

/* Take the first command of which `may` says that it may run now; false: none. */
bool ds4_inbox_take_command(ds4_inbox *b, bool (*may)(ds4_slice line), ds4_request *out);

/* Visit messages that were not written down yet; they count as written then. fn is called while the inbox
 * is locked. */
void ds4_inbox_keep(ds4_inbox *b, void (*fn)(void *ctx, ds4_slice text), void *ctx);

/* Messages that were written down go with the user to another session: they are to be written there. Returns
 * how many. */
uint32_t ds4_inbox_unkeep(ds4_inbox *b);

/* Messages that wait since the last process. Returns false without memory. */
bool ds4_inbox_restore(ds4_inbox *b, ds4_slice text);

/* The next message that was taken back and not told of. */
bool ds4_inbox_taken_back(ds4_inbox *b, uint64_t *ticket, bool *kept);

/* Append the text of the last message that waits; returns how many do. */
uint32_t ds4_inbox_last(ds4_inbox *b, ds4_str *text);

#endif
