/* regex_set.h - sets of characters, as regular expressions name them. */
#ifndef DS4_TEXT_REGEX_SET_H
#define DS4_TEXT_REGEX_SET_H

#include "text/regex.h"

/* Zeroed is empty. */
typedef struct ds4_char_set {
    ds4_char_range *list; /* [n] */
    uint32_t        n, capacity;
    bool            failed; /* memory was short */
} ds4_char_set;

void ds4_char_set_clear(ds4_char_set *s);
void ds4_char_set_add(ds4_char_set *s, uint32_t from, uint32_t up_to);
void ds4_char_set_sort(ds4_char_set *s);   /* ascending, apart, as few as can be */
void ds4_char_set_invert(ds4_char_set *s); /* sorted afterwards */

/* \d \w \s, in capitals all others, and '.' for all but ends of lines. */
void ds4_char_set_add_class(ds4_char_set *s, char kind);

/* {L}, {Lu}, L ... at text[*pos], behind \p or, with `not`, \P. False, and nothing added, for
 * one that is not known. */
bool ds4_char_set_add_property(ds4_char_set *s, ds4_slice text, size_t *pos, bool not );

#endif
