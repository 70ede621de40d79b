/* grammar_machine.h - the form that every grammar has: a pushdown automaton over bytes.
 *
 * A state has edges. An edge takes a byte of a range, takes the special token of tool calls,
 * goes on without taking anything, or calls a rule: the rule's states are walked until one
 * that ends it, and the walk goes on behind the call. Rules may call each other and
 * themselves; a rule takes at least a byte before it calls itself again.
 *
 * Making a grammar has a price that is known before it is paid: states, edges and work are
 * bounded, and the first failure stops everything. What is appended after it is dropped, so
 * that callers check once at the end; loops that cost much ask ds4_g_pay().
 *
 * For the grammar's own files only. */
#ifndef DS4_TEXT_GRAMMAR_MACHINE_H
#define DS4_TEXT_GRAMMAR_MACHINE_H

#include "text/grammar.h"

enum {
    DS4_G_MAX_STATES = 1 << 18,
    DS4_G_MAX_EDGES = 1 << 19,
    DS4_G_MAX_WORK = 1000000, /* units of some 20 ns */
    DS4_G_MAX_STACK = 96,     /* calls in each other; values nest less deeply than that */
    DS4_G_NEVER = 255,        /* the need of a state from which no end can be reached */
};

typedef enum ds4_g_kind {
    DS4_G_BYTES,  /* a byte from..up_to */
    DS4_G_MARKER, /* the special token of tool calls */
    DS4_G_GO,     /* nothing */
    DS4_G_CALL,   /* what `rule` takes */
} ds4_g_kind;

typedef struct ds4_g_edge {
    uint32_t to, rule;
    uint32_t next; /* the state's next edge; 0: none */
    uint8_t  kind, from, up_to;
} ds4_g_edge;

typedef struct ds4_g_state {
    uint32_t first; /* edge; 0: none */
    bool     ends;  /* a rule is over here */
    uint8_t  need;  /* calls in each other that the rest of the rule cannot do without */
} ds4_g_state;

struct ds4_grammar {
    ds4_g_state        *state; /* [n_states]; 0 is none */
    ds4_g_edge         *edge;  /* [n_edges]; 0 is none */
    uint32_t            n_states, cap_states, n_edges, cap_edges;
    uint32_t            start;
    uint32_t            work; /* units that are left */
    ds4_grammar_options opt;
    ds4_status          failed; /* DS4_OK, or the first failure; `why` says it */
    char                why[160];
    /* Bytes that no edge tells apart are one class. */
    uint32_t n_classes;
    uint8_t  class_of[256], byte_of[256]; /* a byte's class; [n_classes] a byte of each */
};

DS4_MUST_CHECK ds4_status ds4_g_new(const ds4_grammar_options *opt, ds4_grammar **out,
                                    ds4_err *err);

/* Say what is known of the whole: needs and classes. Gives the grammar to *out, or frees it.
 * Returns DS4_OK; the first failure; DS4_E_FORMAT when nothing can be written at all. */
DS4_MUST_CHECK ds4_status ds4_g_finish(ds4_grammar *g, ds4_grammar **out, ds4_err *err);

/* The part of it that may be repeated after more was appended. */
DS4_MUST_CHECK ds4_status ds4_g_analyse(ds4_grammar *g, ds4_err *err);

/* Spend units of work; false when they are used up, at a cancellation, or after a failure. */
bool ds4_g_pay(ds4_grammar *g, uint32_t units);
void ds4_g_give_up(ds4_grammar *g, ds4_status code, const char *why);

/* After a bound of a part was met, before anything of it was appended: go on without the part.
 * False for any other failure. */
bool ds4_g_forgive(ds4_grammar *g);

/* The array with room for an element behind n of them; NULL, and a failure, without memory. */
void *ds4_g_room(ds4_grammar *g, void *array, uint32_t n, uint32_t *capacity, size_t each);

uint32_t ds4_g_state_new(ds4_grammar *g);           /* without edges */
void     ds4_g_end(ds4_grammar *g, uint32_t state); /* a rule is over here */
void     ds4_g_bytes(ds4_grammar *g, uint32_t at, unsigned from, unsigned up_to, uint32_t to);
void     ds4_g_marker(ds4_grammar *g, uint32_t at, uint32_t to);
void     ds4_g_go(ds4_grammar *g, uint32_t at, uint32_t to);
void     ds4_g_call(ds4_grammar *g, uint32_t at, uint32_t rule, uint32_t to);

/* Exactly these bytes; gives the state behind them. */
uint32_t ds4_g_text(ds4_grammar *g, uint32_t at, ds4_slice text);
uint32_t ds4_g_literal(ds4_grammar *g, uint32_t at, const char *text);

/* From `at` to `to`: `part` between `least` and `most` times, UINT32_MAX being no limit. The
 * part must take something. Its cost grows with the logarithm of the counts. */
void ds4_g_repeat(ds4_grammar *g, uint32_t part, uint32_t least, uint32_t most, uint32_t at,
                  uint32_t to);

#endif
