/* history.c - see history.h. */
#include "service/history.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_MESSAGES = 1 << 24 };

/* The next copied bytes go here. The block was measured before, so it never ends early. */
typedef struct pen {
    char *at;
} pen;

static ds4_slice copy_slice(pen *p, ds4_slice s)
{
    if (s.n_bytes == 0) return (ds4_slice){ NULL, 0 };
    memcpy(p->at, s.data, s.n_bytes);
    const ds4_slice copy = { p->at, s.n_bytes };
    p->at += s.n_bytes;
    return copy;
}

static size_t text_bytes(const ds4_message *m)
{
    size_t n = m->content.n_bytes + m->reasoning.n_bytes + m->raw_calls.n_bytes +
               m->call_id.n_bytes + m->schema.n_bytes;

    for (uint32_t i = 0; i < m->n_parts; i++) n += m->parts[i].text.n_bytes;
    for (uint32_t i = 0; i < m->n_tools; i++) n += m->tools[i].n_bytes;
    for (uint32_t i = 0; i < m->n_calls; i++) {
        n += m->calls[i].id.n_bytes + m->calls[i].name.n_bytes + m->calls[i].arguments.n_bytes;
    }
    return n;
}

/* The arrays come first in the block, so that they are aligned; all sizes are those of
 * memory that exists already, so their sum cannot wrap. */
static void *copy_message(const ds4_message *m, ds4_message *out)
{
    const size_t calls_bytes = m->n_calls * sizeof *m->calls;
    const size_t parts_bytes = m->n_parts * sizeof *m->parts;
    const size_t tools_bytes = m->n_tools * sizeof *m->tools;
    char        *block = malloc(calls_bytes + parts_bytes + tools_bytes + text_bytes(m) + 1);

    if (!block) return NULL;
    ds4_call  *calls = (ds4_call *)(void *)block;
    ds4_part  *parts = (ds4_part *)(void *)(block + calls_bytes);
    ds4_slice *tools = (ds4_slice *)(void *)(block + calls_bytes + parts_bytes);
    pen        p = { block + calls_bytes + parts_bytes + tools_bytes };

    *out = *m;
    out->content = copy_slice(&p, m->content);
    out->reasoning = copy_slice(&p, m->reasoning);
    out->raw_calls = copy_slice(&p, m->raw_calls);
    out->call_id = copy_slice(&p, m->call_id);
    out->schema = copy_slice(&p, m->schema);
    for (uint32_t i = 0; i < m->n_calls; i++) {
        calls[i].id = copy_slice(&p, m->calls[i].id);
        calls[i].name = copy_slice(&p, m->calls[i].name);
        calls[i].arguments = copy_slice(&p, m->calls[i].arguments);
    }
    for (uint32_t i = 0; i < m->n_parts; i++) {
        parts[i].is_text = m->parts[i].is_text;
        parts[i].text = copy_slice(&p, m->parts[i].text);
    }
    for (uint32_t i = 0; i < m->n_tools; i++) tools[i] = copy_slice(&p, m->tools[i]);
    out->calls = m->n_calls ? calls : NULL;
    out->parts = m->n_parts ? parts : NULL;
    out->tools = m->n_tools ? tools : NULL;
    return block;
}

static bool grow(ds4_history *h)
{
    if (h->n < h->capacity) return true;
    const uint32_t capacity = h->capacity ? 2 * h->capacity : 16;
    void *messages = realloc(h->messages, capacity * sizeof *h->messages);
    if (!messages) return false;
    h->messages = messages;
    void *owned = realloc(h->owned, capacity * sizeof *h->owned);
    if (!owned) return false;
    h->owned = owned;
    h->capacity = capacity;
    return true;
}

ds4_status ds4_history_add(ds4_history *h, const ds4_message *m, ds4_err *err)
{
    if (h->n >= MAX_MESSAGES) {
        return ds4_fail(err, DS4_E_LIMIT, "the conversation already has %d messages", MAX_MESSAGES);
    }
    if (!grow(h)) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for message %u of the conversation", h->n + 1);
    }
    void *block = copy_message(m, &h->messages[h->n]);
    if (!block) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for message %u of the conversation", h->n + 1);
    }
    h->owned[h->n++] = block;
    return DS4_OK;
}

ds4_status ds4_history_add_text(ds4_history *h, ds4_role role, ds4_slice text, ds4_err *err)
{
    const ds4_message m = { .role = role, .content = text };
    return ds4_history_add(h, &m, err);
}

void ds4_history_truncate(ds4_history *h, uint32_t n)
{
    while (h->n > n) free(h->owned[--h->n]);
}

void ds4_history_clear(ds4_history *h)
{
    ds4_history_truncate(h, 0);
    free(h->messages);
    free(h->owned);
    *h = (ds4_history){ 0 };
}
