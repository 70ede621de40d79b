/* budget.h - memory that all requests together may take: bodies, what is read out of them, and
 * prompts. Each of them asks before it allocates, so that many large requests at once do not take the
 * machine down.
 *
 * A request's memory is its purse. When memory is short while requests are being read, those that came
 * first get it: the one that came last is refused and gives back what it holds, and those before it
 * wait for that. So of any number of large requests at once some are served and never none. A request
 * that has been read (ds4_purse_settle) keeps what it holds for its answer, and nobody waits for it. */
#ifndef DS4_APP_SERVER_BUDGET_H
#define DS4_APP_SERVER_BUDGET_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct ds4_purse ds4_purse;

typedef struct ds4_budget {
    size_t          n_most;
    size_t          n_used;     /* with the lock */
    pthread_mutex_t lock;
    pthread_cond_t  given;
    ds4_purse      *first, *last;       /* of requests that are being read, in the order they came */
    unsigned        n_waiting;
} ds4_budget;

/* Belongs to the thread of its request; zeroed is empty, without a budget everything is granted. */
struct ds4_purse {
    ds4_budget *budget;
    size_t      n_held;
    bool        reads;          /* it is in the budget's list */
    bool        waits, must_go; /* to go: the next time it asks; both with the lock */
    bool        too_large;      /* it was refused, and would be with the budget all for itself */
    ds4_purse  *next, *before;
};

void   ds4_budget_init(ds4_budget *b, size_t n_most);
void   ds4_budget_clear(ds4_budget *b); /* all purses are closed */
size_t ds4_budget_used(ds4_budget *b);

/* b may be NULL. The purse must stay where it is until it is closed. */
void ds4_purse_open(ds4_purse *p, ds4_budget *b);
void ds4_purse_close(ds4_purse *p);     /* gives back what it holds; closing twice is fine */

/* Take n bytes; false when that is too much. May wait for a second or two while others give back. Without a
 * purse everything is granted. */
bool ds4_purse_take(ds4_purse *p, size_t n);
void ds4_purse_give(ds4_purse *p, size_t n);

/* The request has been read. */
void ds4_purse_settle(ds4_purse *p);

#endif
