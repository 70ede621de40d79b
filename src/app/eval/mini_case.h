/* mini_case.h - one ability case: what is asked and what is expected. */
#ifndef DS4_APP_EVAL_MINI_CASE_H
#define DS4_APP_EVAL_MINI_CASE_H

#include "service/history.h"
#include "service/reply.h"

typedef struct ds4_case {
    ds4_str     id, kind;
    bool        thinking;
    uint32_t    max_tokens;
    ds4_history history;
    ds4_slice  *tools;              /* [n_tools] slices of the line */
    uint32_t    n_tools;
    bool        has_context;        /* long text goes before the last message: */
    uint32_t    context_tokens;     /*   until the message has this many tokens */
    double      context_depth;      /*   0..1, where the fact is put */
    uint64_t    context_offset;     /*   byte of the filler text to begin at */
    ds4_str     context_fact;
    ds4_slice   expect;             /* JSON object, slice of the line */
} ds4_case;

/* Read a line of the case file. The slices of the result point into the line.
 *
 *   out   zeroed; to be cleared, also after a failure
 *
 * Returns DS4_OK; DS4_E_FORMAT naming the member; DS4_E_NOMEM.                         */
DS4_MUST_CHECK ds4_status ds4_case_read(ds4_slice line, ds4_case *out, ds4_err *err);
void                      ds4_case_clear(ds4_case *c);

/* Put the long text of a recall case in front of its last message: paragraphs of the
 * filler from the offset on, going round at its end, the fact as a paragraph of its own.
 *
 * Returns DS4_OK; DS4_E_FORMAT when the last message is not the user's or the filler has
 * no text; as ds4_vocab_encode().                                                     */
DS4_MUST_CHECK ds4_status ds4_case_add_context(ds4_case *c, const ds4_vocab *v, ds4_slice filler,
                                               ds4_err *err);

/* Whether a reply is what the case expects.
 *
 *   why   receives a short reason when it is not (appended)                            */
bool ds4_case_passed(const ds4_case *c, const ds4_reply_result *r, ds4_str *why);

#endif
