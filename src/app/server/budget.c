/* budget.c - see budget.h. */
#include "app/server/budget.h"

#include "base/clock.h"
#include "base/wait.h"

/* A request that must go notices it when it asks next or has been read, within a fraction of a second; only
 * one whose client sends slowly takes longer. */
static const uint64_t wait_ns = 2000000000;

void ds4_budget_init(ds4_budget *b, size_t n_most)
{
    *b = (ds4_budget){ .n_most = n_most };
    pthread_mutex_init(&b->lock, NULL);
    ds4_cond_init(&b->given);
}

void ds4_budget_clear(ds4_budget *b)
{
    pthread_cond_destroy(&b->given);
    pthread_mutex_destroy(&b->lock);
}

size_t ds4_budget_used(ds4_budget *b)
{
    pthread_mutex_lock(&b->lock);
    const size_t n = b->n_used;
    pthread_mutex_unlock(&b->lock);
    return n;
}

/* ---- with the lock ---------------------------------------------------------------------------- */

/* Take a purse out of the list of those that are being read. */
static void leave(ds4_purse *p)
{
    ds4_budget *b = p->budget;

    if (!p->reads) return;
    *(p->before ? &p->before->next : &b->first) = p->next;
    *(p->next ? &p->next->before : &b->last) = p->before;
    p->next = p->before = NULL;
    p->reads = false;
    pthread_cond_broadcast(&b->given);
}

static bool fits(const ds4_budget *b, size_t n)
{
    return n <= b->n_most && b->n_used <= b->n_most - n;
}

/* The last one that holds anything, or p itself when none came after it. */
static ds4_purse *last_behind(const ds4_budget *b, ds4_purse *p)
{
    ds4_purse *at = b->last;

    while (at != p && at->n_held == 0) at = at->before;
    return at;
}

static bool is_behind_another(const ds4_purse *p)
{
    for (const ds4_purse *at = p->before; at; at = at->before) {
        if (at->waits) return true;
    }
    return false;
}

/* Make those that came after p give back until n bytes fit. */
static bool make_room(ds4_purse *p, size_t n)
{
    ds4_budget    *b = p->budget;
    const uint64_t until = ds4_now_ns() + wait_ns;
    bool           ok = false;

    if (!p->reads) return false;
    b->n_waiting++;
    p->waits = true;
    while (!p->must_go && !(ok = fits(b, n) && !is_behind_another(p))) {
        ds4_purse *last = last_behind(b, p);
        if (!fits(b, n) && last == p) break;
        if (!fits(b, n)) {
            last->must_go = true;
            pthread_cond_broadcast(&b->given);  /* it may be waiting itself */
        }
        if (!ds4_cond_wait_until(&b->given, &b->lock, until)) break;
    }
    p->waits = false;
    b->n_waiting--;
    pthread_cond_broadcast(&b->given);          /* those behind it may go on */
    if (b->n_waiting == 0) {
        for (ds4_purse *at = b->first; at; at = at->next) at->must_go &= at == p;
    }
    return ok;
}

/* ---- purses ----------------------------------------------------------------------------------- */

void ds4_purse_open(ds4_purse *p, ds4_budget *b)
{
    *p = (ds4_purse){ .budget = b };
    if (!b) return;
    pthread_mutex_lock(&b->lock);
    p->before = b->last;
    *(b->last ? &b->last->next : &b->first) = p;
    b->last = p;
    p->reads = true;
    pthread_mutex_unlock(&b->lock);
}

void ds4_purse_close(ds4_purse *p)
{
    ds4_budget *b = p->budget;

    if (!b) return;
    pthread_mutex_lock(&b->lock);
    b->n_used -= p->n_held;
    leave(p);
    pthread_cond_broadcast(&b->given);
    pthread_mutex_unlock(&b->lock);
    *p = (ds4_purse){ .budget = NULL };
}

bool ds4_purse_take(ds4_purse *p, size_t n)
{
    ds4_budget *b = p ? p->budget : NULL;

    if (!b) return true;
    pthread_mutex_lock(&b->lock);
    p->too_large = n > b->n_most || p->n_held > b->n_most - n;
    const bool ok = !p->too_large && !p->must_go && (fits(b, n) || make_room(p, n));
    if (ok) {
        b->n_used += n;
        p->n_held += n;
    }
    pthread_mutex_unlock(&b->lock);
    return ok;
}

void ds4_purse_give(ds4_purse *p, size_t n)
{
    ds4_budget *b = p ? p->budget : NULL;

    if (!b || n == 0) return;
    pthread_mutex_lock(&b->lock);
    b->n_used -= n;
    p->n_held -= n;
    pthread_cond_broadcast(&b->given);
    pthread_mutex_unlock(&b->lock);
}

void ds4_purse_settle(ds4_purse *p)
{
    ds4_budget *b = p->budget;

    if (!b) return;
    pthread_mutex_lock(&b->lock);
    leave(p);
    pthread_mutex_unlock(&b->lock);
}
