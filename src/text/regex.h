/* regex.h - reading regular expressions: the syntax of ECMAScript, as JSON schemas use it.
 *
 * A reader makes a tree. What is not regular (back-references) or not supported (look-around
 * elsewhere than at the beginning, word boundaries, inline flags) is refused by name. The
 * depth of the tree and its size are bounded by the pattern's length. */
#ifndef DS4_TEXT_REGEX_H
#define DS4_TEXT_REGEX_H

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

enum {
    DS4_REGEX_MAX_BYTES = 8192,
    DS4_REGEX_MAX_DEPTH = 64,   /* groups in each other */
    DS4_REGEX_MAX_COUNT = 1000, /* in {n,m} */
    DS4_REGEX_MAX_AHEAD = 6,    /* looks ahead at the beginning */
};

typedef struct ds4_char_range {
    uint32_t from, up_to;
} ds4_char_range;

typedef enum ds4_regex_kind {
    DS4_REGEX_EMPTY,
    DS4_REGEX_SET,    /* a character of ranges a .. a + b */
    DS4_REGEX_BEGIN,  /* ^ */
    DS4_REGEX_END,    /* $ */
    DS4_REGEX_SEQ,    /* a, then b */
    DS4_REGEX_OR,     /* a, or b */
    DS4_REGEX_REPEAT, /* a, least .. most times; most UINT32_MAX: no limit */
} ds4_regex_kind;

typedef struct ds4_regex_node {
    ds4_regex_kind kind;
    uint32_t       a, b, least, most;
} ds4_regex_node;

/* The text behind the beginning must, or must not, begin with this. */
typedef struct ds4_regex_ahead {
    uint32_t node;
    bool not ;
} ds4_regex_ahead;

typedef struct ds4_regex {
    ds4_regex_node *node;  /* [n_nodes] */
    ds4_char_range *range; /* [n_ranges] of sets, ascending and apart */
    uint32_t        n_nodes, n_ranges, cap_nodes, cap_ranges;
    uint32_t        root;
    ds4_regex_ahead ahead[DS4_REGEX_MAX_AHEAD];
    uint32_t        n_ahead;
} ds4_regex;

/* Read a pattern. To be cleared in every case.
 *
 *   whole  the pattern stands at the beginning of the text anyway, so that it may look ahead
 *          without saying ^
 *
 * Returns DS4_OK; DS4_E_FORMAT; DS4_E_UNSUPPORTED; DS4_E_LIMIT; DS4_E_NOMEM.              */
DS4_MUST_CHECK ds4_status ds4_regex_read(ds4_slice pattern, bool whole, ds4_regex *out,
                                         ds4_err *err);
void                      ds4_regex_clear(ds4_regex *r);

#endif
