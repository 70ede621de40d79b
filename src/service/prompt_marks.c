/* prompt_marks.c - see prompt_marks.h. */
#include "service/prompt_marks.h"

#include <string.h>

enum { FROM_USERS = 2 };        /* so many last messages have a place at their beginning */

/* Reads the bytes of a message and tells where a paragraph begins with "<name>". */
typedef struct block_reader {
    uint32_t n_newlines;        /* at the end of what was read; 2: a paragraph begins */
    bool     in_name;           /* behind '<' at the beginning of a paragraph */
    uint32_t n_name;
    uint32_t paragraph;         /* tokens in front of the last paragraph */
} block_reader;

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Whether a block's opening ends with this byte; it is then the last paragraph. */
static bool read_byte(block_reader *b, char c, uint32_t at)
{
    if (b->in_name) {
        const bool ends = c == '>' && b->n_name > 0;
        b->in_name = is_name(c);
        b->n_name++;
        b->n_newlines = c == '\n';
        return ends;
    }
    if (c == '\n') {
        b->n_newlines++;
        return false;
    }
    if (b->n_newlines >= 2) {
        b->paragraph = at;
        b->in_name = c == '<';
        b->n_name = 0;
    }
    b->n_newlines = 0;
    return false;
}

typedef struct places {
    ds4_prompt_marks marks;
    uint32_t         even, end;
} places;

/* Take a place; places come in order. */
static void add(places *p, uint32_t at)
{
    ds4_prompt_marks *m = &p->marks;
    const uint32_t    pos = at / p->even * p->even;

    if (pos <= m->anchor || pos >= p->end || (m->n_ways && m->way[m->n_ways - 1] >= pos)) return;
    if (m->n_ways == DS4_PROMPT_WAYS) memmove(m->way, m->way + 1, --m->n_ways * sizeof *m->way);
    m->way[m->n_ways++] = pos;
}

/* Blocks and the last paragraph of a message. The token in front of a block may be another one when the
 * block is gone, so it is left out too. */
static void add_blocks(places *p, const ds4_vocab *v, const ds4_tokens *t, uint32_t from)
{
    block_reader b = { .n_newlines = 2, .paragraph = from };

    for (uint32_t i = from; i < t->n; i++) {
        const ds4_slice bytes = ds4_vocab_token_bytes(v, t->ids[i]);
        for (size_t k = 0; k < bytes.n_bytes; k++) {
            if (read_byte(&b, bytes.data[k], i)) add(p, b.paragraph - 1);
        }
    }
    add(p, b.paragraph - 1);
}

static bool begins_with(const ds4_vocab *v, const ds4_tokens *t, uint32_t from, const char *text)
{
    for (uint32_t i = from; *text; i++) {
        const ds4_slice bytes = i < t->n ? ds4_vocab_token_bytes(v, t->ids[i]) : (ds4_slice){ "", 0 };
        const size_t    left = strlen(text), n = bytes.n_bytes < left ? bytes.n_bytes : left;
        if (n == 0 || memcmp(bytes.data, text, n) != 0) return false;
        text += n;
    }
    return true;
}

ds4_prompt_marks ds4_prompt_marks_find(const ds4_vocab *v, const ds4_tokens *t, uint32_t even, uint32_t least,
                                       uint32_t end)
{
    const int32_t user = ds4_vocab_specials(v)->user;
    uint32_t      last[FROM_USERS] = { 0 }, n_users = 0;
    places        p = { .even = even, .end = end };

    for (uint32_t i = 0; i < t->n; i++) {
        if (t->ids[i] != user) continue;
        if (n_users == 0 && i / even * even >= least) p.marks.anchor = i / even * even;
        last[n_users++ % FROM_USERS] = i;
    }
    if (n_users == 0) return p.marks;
    p.marks.opens = n_users == 1;
    for (uint32_t i = n_users < FROM_USERS ? 0 : n_users - FROM_USERS; i < n_users; i++) {
        add(&p, last[i % FROM_USERS]);
    }
    const uint32_t begin = last[(n_users - 1) % FROM_USERS] + 1;
    add_blocks(&p, v, t, begin);
    p.marks.is_result = begins_with(v, t, begin, "<tool_result>");
    return p.marks;
}
