/* mini_context.c - see mini_case.h: the long text of a recall case. */
#include "app/eval/mini_case.h"

#include "text/bpe.h"

#include <stdlib.h>
#include <string.h>

typedef struct paragraphs {
    ds4_slice *item;                /* [n] */
    uint32_t   n, capacity;
    bool       failed;
} paragraphs;

static void add_paragraph(paragraphs *p, ds4_slice text)
{
    if (p->n == p->capacity) {
        const uint32_t capacity = p->capacity ? 2 * p->capacity : 256;
        void *item = realloc(p->item, capacity * sizeof *p->item);
        if (!item) {
            p->failed = true;
            return;
        }
        p->item = item;
        p->capacity = capacity;
    }
    p->item[p->n++] = text;
}

/* Paragraphs are parted by blank lines. */
static paragraphs split(ds4_slice text)
{
    paragraphs p = { 0 };

    for (size_t at = 0; at < text.n_bytes;) {
        const char  *end = memmem(text.data + at, text.n_bytes - at, "\n\n", 2);
        const size_t n = end ? (size_t)(end - text.data) - at : text.n_bytes - at;
        ds4_slice    one = { text.data + at, n };
        at += n + (end ? 2 : 0);
        while (one.n_bytes > 0 && *one.data == '\n') {
            one = (ds4_slice){ one.data + 1, one.n_bytes - 1 };
        }
        while (one.n_bytes > 0 && one.data[one.n_bytes - 1] == '\n') one.n_bytes--;
        if (one.n_bytes > 0) add_paragraph(&p, one);
    }
    return p;
}

static ds4_status count(const ds4_vocab *v, ds4_slice text, uint32_t *n, ds4_err *err)
{
    ds4_tokens ids = { 0 };
    const ds4_status st = ds4_vocab_encode(v, text.data, text.n_bytes, 0, &ids, err);

    *n = ids.n;
    ds4_tokens_clear(&ids);
    return st;
}

/* The message: n paragraphs from `first` on, going round, with the fact put in at the
 * boundary nearest to its depth, measured in bytes; then the question. */
static void write_message(const paragraphs *p, uint32_t first, uint32_t n, const ds4_case *c,
                          ds4_slice question, ds4_str *out)
{
    uint64_t total = 0, before = 0;
    bool     placed = false;

    for (uint32_t i = 0; i < n; i++) total += p->item[(first + i) % p->n].n_bytes + 2;
    const double want = c->context_depth * (double)total;
    for (uint32_t i = 0; i <= n; i++) {
        const uint64_t next = i < n ? p->item[(first + i) % p->n].n_bytes + 2 : 0;
        const double   here = (double)before, after = (double)(before + next);
        if (!placed && (i == n || here >= want || want - here <= after - want)) {
            ds4_str_add(out, ds4_str_text(&c->context_fact), c->context_fact.n_bytes);
            ds4_str_add_text(out, "\n\n");
            placed = true;
        }
        if (i == n) break;
        ds4_str_add(out, p->item[(first + i) % p->n].data, p->item[(first + i) % p->n].n_bytes);
        ds4_str_add_text(out, "\n\n");
        before += next;
    }
    ds4_str_add(out, question.data, question.n_bytes);
}

static uint32_t find_first(const paragraphs *p, ds4_slice filler, uint64_t offset)
{
    const uint64_t at = offset % filler.n_bytes;

    for (uint32_t i = 0; i < p->n; i++) {
        if ((uint64_t)(p->item[i].data - filler.data) >= at) return i;
    }
    return 0;
}

/* Take as many paragraphs as the message may have: their tokens one by one give
 * a first guess, which is then made smaller until the whole message fits. */
static ds4_status build(const ds4_case *c, const ds4_vocab *v, const paragraphs *p, uint32_t first,
                        ds4_slice question, ds4_str *out, ds4_err *err)
{
    uint32_t n = 0, tokens = 0, one = 0;

    DS4_TRY(count(v, question, &tokens, err));
    DS4_TRY(count(v, (ds4_slice){ ds4_str_text(&c->context_fact), c->context_fact.n_bytes }, &one,
                  err));
    tokens += one;
    while (tokens < c->context_tokens) {
        DS4_TRY(count(v, p->item[(first + n) % p->n], &one, err));
        tokens += one + 1;
        n++;
    }
    for (;; n--) {
        ds4_str_clear(out);
        write_message(p, first, n, c, question, out);
        if (out->failed) {
            return ds4_fail(err, DS4_E_NOMEM, "no memory for a text of %u tokens",
                            c->context_tokens);
        }
        DS4_TRY(count(v, (ds4_slice){ out->data, out->n_bytes }, &tokens, err));
        if (tokens <= c->context_tokens || n == 0) return DS4_OK;
    }
}

ds4_status ds4_case_add_context(ds4_case *c, const ds4_vocab *v, ds4_slice filler, ds4_err *err)
{
    const uint32_t n = c->history.n;
    ds4_str        text = { 0 };

    if (n == 0 || c->history.messages[n - 1].role != DS4_ROLE_USER) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "a case with context must end with a message of the user");
    }
    paragraphs p = split(filler);
    ds4_status st = DS4_OK;
    if (p.failed) st = ds4_fail(err, DS4_E_NOMEM, "no memory for the filler text");
    if (st == DS4_OK && p.n == 0) st = ds4_fail(err, DS4_E_FORMAT, "the filler text is empty");
    if (st == DS4_OK) {
        st = build(c, v, &p, find_first(&p, filler, c->context_offset),
                   c->history.messages[n - 1].content, &text, err);
    }
    if (st == DS4_OK) {
        ds4_history_truncate(&c->history, n - 1);
        st = ds4_history_add_text(&c->history, DS4_ROLE_USER,
                                  (ds4_slice){ text.data, text.n_bytes }, err);
    }
    ds4_str_clear(&text);
    free(p.item);
    return st;
}
