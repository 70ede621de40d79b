/* budget.h - memory that all requests together may take: bodies, what is read out of them, and
 * prompts. Each of them asks before it allocates, so that many large requests at once are
 * refused and do not take the machine down. */
#ifndef DS4_APP_SERVER_BUDGET_H
#define DS4_APP_SERVER_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct ds4_budget {
    atomic_size_t n_used;
    size_t        n_most;
} ds4_budget;

/* Take n bytes; false when that would be too many. Without a budget everything is granted. */
bool ds4_budget_take(ds4_budget *b, size_t n);
void ds4_budget_give(ds4_budget *b, size_t n);

#endif
