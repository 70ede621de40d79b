/* matcher.h - a pattern that a model searches for: a text or a regular expression of PCRE2.
 *
 * Patterns and texts are hostile: pattern, memory and steps of a match have limits. */
#ifndef DS4_AGENT_MATCHER_H
#define DS4_AGENT_MATCHER_H

#include "base/err.h"
#include "base/str.h"

enum { DS4_MATCHER_MAX_PATTERN = 4096 };

typedef struct ds4_matcher ds4_matcher;

/* Returns DS4_OK; DS4_E_FORMAT with what is wrong in the pattern and where; DS4_E_LIMIT; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_matcher_create(ds4_matcher **out, ds4_slice pattern, bool regex,
                                             bool ignore_case,
                                             ds4_err *err);
void                      ds4_matcher_free(ds4_matcher *m);     /* NULL is fine */

/* Look for the next match from `from`; ^ and $ are at lines. Returns 1 with *begin and *end, 0 when there is
 * none, -1 when the limit of steps was met. */
int ds4_matcher_find(ds4_matcher *m, ds4_slice text, size_t from, size_t *begin, size_t *end);

#endif
