/* inbox.c - see inbox.h. */
#include "agent/inbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BACK = 64 };

typedef struct node {
    struct node *next;
    ds4_request  request;
} node;

struct ds4_inbox {
    pthread_mutex_t lock;
    pthread_cond_t  came;
    node           *first;
    uint64_t        last_ticket;
    volatile int    stop;
    bool            quits, works, holds;
    struct {
        uint64_t ticket;
        bool     kept;
    } back[MAX_BACK];           /* [n_back] taken back, and the loop does not know yet */
    uint32_t        n_back;
    void          (*on_stop)(void *ctx);
    void           *on_stop_ctx;
};

ds4_inbox *ds4_inbox_create(void)
{
    ds4_inbox *b = calloc(1, sizeof *b);

    if (!b) return NULL;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->came, NULL);
    return b;
}

static void free_node(node *n)
{
    ds4_str_clear(&n->request.text);
    free(n);
}

void ds4_inbox_free(ds4_inbox *b)
{
    if (!b) return;
    while (b->first) {
        node *n = b->first;
        b->first = n->next;
        free_node(n);
    }
    pthread_cond_destroy(&b->came);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

/* ---- from any thread ------------------------------------------------------------------------ */

static uint64_t add(ds4_inbox *b, ds4_request_kind kind, ds4_slice text, bool kept)
{
    node *n = calloc(1, sizeof *n);

    if (!n) return 0;
    ds4_str_add(&n->request.text, text.data, text.n_bytes);
    if (n->request.text.failed) {
        free_node(n);
        return 0;
    }
    pthread_mutex_lock(&b->lock);
    const bool taken = !b->quits;
    uint64_t   ticket = 0;
    if (taken) {
        node **end = &b->first;
        while (*end) end = &(*end)->next;
        ticket = ++b->last_ticket;
        n->request.kind = kind;
        n->request.ticket = ticket;
        n->request.kept = kept;
        *end = n;
        if (kind == DS4_REQUEST_TEXT && !kept) b->holds = false;
        pthread_cond_signal(&b->came);
    }
    pthread_mutex_unlock(&b->lock);
    if (!taken) free_node(n);
    return ticket;
}

uint64_t ds4_inbox_add(ds4_inbox *b, ds4_request_kind kind, ds4_slice text)
{
    return add(b, kind, text, false);
}

bool ds4_inbox_restore(ds4_inbox *b, ds4_slice text)
{
    const bool added = add(b, DS4_REQUEST_TEXT, text, true) != 0;

    pthread_mutex_lock(&b->lock);
    b->holds = true;
    pthread_mutex_unlock(&b->lock);
    return added;
}

/* Unlink *at; the lock is held. */
static void unlink_node(node **at, ds4_request *out)
{
    node *n = *at;

    *at = n->next;
    *out = n->request;
    free(n);
}

bool ds4_inbox_take_back(ds4_inbox *b, ds4_str *text)
{
    node      **last = NULL;
    ds4_request r;

    pthread_mutex_lock(&b->lock);
    for (node **at = &b->first; *at && b->n_back < MAX_BACK; at = &(*at)->next) {
        if ((*at)->request.kind == DS4_REQUEST_TEXT) last = at;
    }
    if (last) {
        unlink_node(last, &r);
        b->back[b->n_back].ticket = r.ticket;
        b->back[b->n_back++].kept = r.kept;
        pthread_cond_signal(&b->came);
    }
    pthread_mutex_unlock(&b->lock);
    if (!last) return false;
    ds4_str_add(text, ds4_str_text(&r.text), r.text.n_bytes);
    ds4_str_clear(&r.text);
    return true;
}

static void stop(ds4_inbox *b)
{
    b->stop = 1;
    if (b->on_stop) b->on_stop(b->on_stop_ctx);
}

void ds4_inbox_interrupt(ds4_inbox *b, bool hold)
{
    pthread_mutex_lock(&b->lock);
    if (b->works) stop(b);
    b->holds = hold;
    pthread_cond_signal(&b->came);
    pthread_mutex_unlock(&b->lock);
}

void ds4_inbox_quit(ds4_inbox *b)
{
    pthread_mutex_lock(&b->lock);
    b->quits = true;
    stop(b);
    pthread_cond_signal(&b->came);
    pthread_mutex_unlock(&b->lock);
}

bool ds4_inbox_busy(ds4_inbox *b)
{
    pthread_mutex_lock(&b->lock);
    bool busy = b->works;
    for (node *n = b->first; n; n = n->next) busy |= n->request.kind == DS4_REQUEST_COMMAND || !b->holds;
    pthread_mutex_unlock(&b->lock);
    return busy;
}

/* ---- the loop ------------------------------------------------------------------------------- */

const volatile int *ds4_inbox_stop(const ds4_inbox *b)
{
    return &b->stop;
}

void ds4_inbox_on_stop(ds4_inbox *b, void (*fn)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&b->lock);
    b->on_stop = fn;
    b->on_stop_ctx = ctx;
    pthread_mutex_unlock(&b->lock);
}

/* The first request that may be worked on; the lock is held. */
static node **next_one(ds4_inbox *b)
{
    for (node **at = &b->first; *at; at = &(*at)->next) {
        if ((*at)->request.kind == DS4_REQUEST_COMMAND || !b->holds) return at;
    }
    return NULL;
}

bool ds4_inbox_wait(ds4_inbox *b, ds4_request *out)
{
    node **at;

    pthread_mutex_lock(&b->lock);
    b->works = false;
    while (!(at = next_one(b)) && !b->quits && b->n_back == 0) pthread_cond_wait(&b->came, &b->lock);
    const bool goes_on = !b->quits;
    *out = (ds4_request){ 0 };
    if (goes_on && at) {
        unlink_node(at, out);
        b->works = true;
        b->stop = 0;
    }
    pthread_mutex_unlock(&b->lock);
    return goes_on;
}

void ds4_inbox_calm(ds4_inbox *b)
{
    pthread_mutex_lock(&b->lock);
    if (!b->quits) b->stop = 0;
    pthread_mutex_unlock(&b->lock);
}

uint32_t ds4_inbox_n_texts(ds4_inbox *b)
{
    uint32_t n = 0;

    pthread_mutex_lock(&b->lock);
    for (node *at = b->first; at; at = at->next) n += !b->holds && at->request.kind == DS4_REQUEST_TEXT;
    pthread_mutex_unlock(&b->lock);
    return n;
}

bool ds4_inbox_take_command(ds4_inbox *b, bool (*may)(ds4_slice line), ds4_request *out)
{
    bool taken = false;

    pthread_mutex_lock(&b->lock);
    for (node **at = &b->first; *at && !taken; at = &(*at)->next) {
        const ds4_str *text = &(*at)->request.text;
        if ((*at)->request.kind != DS4_REQUEST_COMMAND) continue;
        if (!may((ds4_slice){ ds4_str_text(text), text->n_bytes })) break;      /* they keep their order */
        unlink_node(at, out);
        taken = true;
        break;
    }
    pthread_mutex_unlock(&b->lock);
    return taken;
}

void ds4_inbox_keep(ds4_inbox *b, void (*fn)(void *ctx, ds4_slice text), void *ctx)
{
    pthread_mutex_lock(&b->lock);
    for (node *n = b->first; n; n = n->next) {
        if (n->request.kept || n->request.kind != DS4_REQUEST_TEXT) continue;
        fn(ctx, (ds4_slice){ ds4_str_text(&n->request.text), n->request.text.n_bytes });
        n->request.kept = true;
    }
    pthread_mutex_unlock(&b->lock);
}

uint32_t ds4_inbox_last(ds4_inbox *b, ds4_str *text)
{
    const node *last = NULL;
    uint32_t    n = 0;

    pthread_mutex_lock(&b->lock);
    for (node *at = b->first; at; at = at->next) {
        if (at->request.kind != DS4_REQUEST_TEXT) continue;
        last = at;
        n++;
    }
    if (last) ds4_str_add(text, ds4_str_text(&last->request.text), last->request.text.n_bytes);
    pthread_mutex_unlock(&b->lock);
    return n;
}

bool ds4_inbox_taken_back(ds4_inbox *b, uint64_t *ticket, bool *kept)
{
    pthread_mutex_lock(&b->lock);
    const bool any = b->n_back > 0;
    if (any) {
        *ticket = b->back[0].ticket;
        *kept = b->back[0].kept;
        memmove(&b->back[0], &b->back[1], --b->n_back * sizeof b->back[0]);
    }
    pthread_mutex_unlock(&b->lock);
    return any;
}

uint32_t ds4_inbox_unkeep(ds4_inbox *b)
{
    uint32_t n = 0;

    pthread_mutex_lock(&b->lock);
    for (node *at = b->first; at; at = at->next) {
        n += at->request.kept;
        at->request.kept = false;
    }
    pthread_mutex_unlock(&b->lock);
    return n;
}
