/* prompt_marks.h - places of a prompt behind which clients change what they sent before.
 *
 * A client shows its conversation again with every question, but not always as it was: the date, the state
 * of a folder or a list of tasks is told in a block of its own ("<system-reminder>") beside a
 * question, and left out or told anew later. All in front of such a block stays. So
 * positions are worth keeping where the last messages begin and where such blocks begin in the last one. */
#ifndef DS4_SERVICE_PROMPT_MARKS_H
#define DS4_SERVICE_PROMPT_MARKS_H

#include "text/bpe.h"

enum { DS4_PROMPT_WAYS = 3 };

/* Multiples of `even`, in tokens from the beginning; 0: none. */
typedef struct ds4_prompt_marks {
    uint32_t anchor;            /* the end of system prompt and tools */
    uint32_t way[DS4_PROMPT_WAYS];      /* [n_ways] growing, behind the anchor */
    uint32_t n_ways;
    bool     opens;             /* the last message is the first one of the user */
    bool     is_result;         /* it begins with a tool's result: the turn goes on */
} ds4_prompt_marks;

/* Find the places in a prompt.
 *
 *   t      n > 0
 *   even   places are brought back to multiples of it
 *   least  a shorter system prompt has no anchor
 *   end    places lie in front of it
 *
 * Among the ways the last DS4_PROMPT_WAYS that differ are taken. Time grows as n.        */
ds4_prompt_marks ds4_prompt_marks_find(const ds4_vocab *v, const ds4_tokens *t, uint32_t even, uint32_t least,
                                       uint32_t end);

#endif
