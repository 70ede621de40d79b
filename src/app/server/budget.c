/* budget.c - see budget.h. */
#include "app/server/budget.h"

bool ds4_budget_take(ds4_budget *b, size_t n)
{
    if (!b) return true;
    size_t used = atomic_load(&b->n_used);
    do {
        if (n > b->n_most || used > b->n_most - n) return false;
    } while (!atomic_compare_exchange_weak(&b->n_used, &used, used + n));
    return true;
}

void ds4_budget_give(ds4_budget *b, size_t n)
{
    if (b) atomic_fetch_sub(&b->n_used, n);
}
