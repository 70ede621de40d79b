/* grammar_lang.h - regular languages over characters: what patterns, formats and lengths say
 * about a string, brought together and written into a grammar.
 *
 * A language is a deterministic automaton without states from which no end can be reached.
 * For the grammar's own files only. */
#ifndef DS4_TEXT_GRAMMAR_LANG_H
#define DS4_TEXT_GRAMMAR_LANG_H

#include "text/grammar_machine.h"

enum {
    DS4_LANG_MAX_STATES = 8192,
    DS4_LANG_MAX_PARTS = 12,
    DS4_LANG_LAST = 0x10FFFF, /* the last character */
};

typedef struct ds4_lang_edge {
    uint32_t from, up_to; /* characters */
    uint32_t to;
} ds4_lang_edge;

typedef struct ds4_lang_state {
    uint32_t first, n; /* edges, by ascending character */
    bool     accepts;
} ds4_lang_state;

/* Begins in state 0; without states it is empty: no text at all. */
typedef struct ds4_lang {
    ds4_lang_state *state; /* [n_states] */
    ds4_lang_edge  *edge;  /* [n_edges] */
    uint32_t        n_states, n_edges, cap_states, cap_edges;
} ds4_lang;

void ds4_lang_free(ds4_lang *l); /* NULL is fine */

/* The texts in which a regular expression finds a match; or, with `whole`, that it matches
 * from end to end. Work is paid from g.
 *
 * Returns DS4_OK; DS4_E_UNSUPPORTED for what is not regular or not supported; DS4_E_FORMAT;
 * g's failure. */
DS4_MUST_CHECK ds4_status ds4_lang_from_regex(ds4_grammar *g, ds4_slice pattern, bool whole,
                                              ds4_lang **out, ds4_err *err);

/* The texts of a list. Returns DS4_OK or g's failure. */
DS4_MUST_CHECK ds4_status ds4_lang_of_texts(ds4_grammar *g, const ds4_slice *texts, uint32_t n,
                                            ds4_lang **out, ds4_err *err);

/* The texts that are in all parts. */
typedef struct ds4_lang_parts {
    const ds4_lang *part[DS4_LANG_MAX_PARTS];
    bool            without[DS4_LANG_MAX_PARTS]; /* all texts but those of the part */
    uint32_t        n;
    uint32_t        least, most; /* characters; most UINT32_MAX: no limit */
} ds4_lang_parts;
DS4_MUST_CHECK ds4_status ds4_lang_meet(ds4_grammar *g, const ds4_lang_parts *p, ds4_lang **out,
                                        ds4_err *err);

bool ds4_lang_has(const ds4_lang *l, ds4_slice text);

/* For those who make one: a new state, and an edge of the last one. */
uint32_t ds4_lang_add_state(ds4_grammar *g, ds4_lang *l, bool accepts);
void     ds4_lang_add_edge(ds4_grammar *g, ds4_lang *l, ds4_lang_edge edge);
void     ds4_lang_trim(ds4_grammar *g, ds4_lang *l); /* drop what leads to no end */

/* Rules for sets of characters beyond ASCII; equal sets have one rule in a grammar. */
typedef struct ds4_wide {
    struct {
        uint32_t first, n, hash, rule; /* ranges of the set */
    } * list;
    ds4_lang_edge *range;
    uint32_t       n, capacity, n_ranges, cap_ranges;
} ds4_wide;
void ds4_wide_clear(ds4_wide *w);

/* From a state to another by any character, as UTF-8. */
void ds4_g_any_character(ds4_grammar *g, ds4_wide *wide, uint32_t at, uint32_t to);

/* The language as bytes between two states. `quoted`: as the inside of a JSON string. */
void ds4_lang_write(ds4_grammar *g, ds4_wide *wide, const ds4_lang *l, bool quoted, uint32_t at,
                    uint32_t to);

#endif
