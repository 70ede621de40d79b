/* dsml.h - tool calls in the model's own markup: reading what it samples, writing history.
 *
 * The reader takes the sampled tokens one by one and sorts them into reasoning, content
 * and calls while they arrive. It accepts what the official parser accepts, tolerates the
 * damage that models really do, says so in `oddities`, and never loses text: what is no
 * call ends up in content, reasoning or `rest`.
 * Source: docs/PROMPT.md sections 5 and 10.                                          */
#ifndef DS4_TEXT_DSML_H
#define DS4_TEXT_DSML_H

#include "text/chat.h"

typedef enum ds4_dsml_state {
    DS4_DSML_THINK,
    DS4_DSML_CONTENT,
    DS4_DSML_CALLS,
    DS4_DSML_DONE,              /* the turn is over: sample no more */
} ds4_dsml_state;

/* The reader tolerates these; a strict parser refuses the output for those marked S. */
enum {
    DS4_DSML_NO_THINK_CLOSE = 1 << 0,   /* S: ended inside the reasoning */
    DS4_DSML_CALL_IN_THINK  = 1 << 1,   /* S: a whole block of calls ended the reasoning */
    DS4_DSML_STRAY_SPECIAL  = 1 << 2,   /* S: <think>, </think> or ｜DSML｜ in the middle of text */
    DS4_DSML_SPACING        = 1 << 3,   /* S: other white space around the tags than trained */
    DS4_DSML_VARIANT        = 1 << 4,   /* S: bars, wrapper or attributes otherwise or missing */
    DS4_DSML_REPEATED       = 1 << 5,   /* S: a parameter given twice; the last value holds */
    DS4_DSML_TEXT_AFTER     = 1 << 6,   /* S: text behind the block, kept in rest */
    DS4_DSML_MALFORMED      = 1 << 7,   /* S: a block that could not be read, kept as text */
    DS4_DSML_BAD_VALUE      = 1 << 8,   /* a value that is no JSON became a string */
    DS4_DSML_UNCLOSED       = 1 << 9,   /* closing tags missing at the end */
    DS4_DSML_CUT            = 1 << 10,  /* the limit fell into a block; its text is in rest */
    DS4_DSML_UNWRAPPED      = 1 << 11,  /* all arguments came inside one parameter */
};

typedef struct ds4_dsml_call {
    ds4_slice name;             /* valid UTF-8 */
    ds4_slice arguments;        /* JSON text of an object as Python writes it; empty until
                                   complete */
    ds4_slice stream;           /* the same, growing: every state of it is a beginning of the
                                   next. Equal to arguments in the end unless a parameter
                                   was repeated */
    uint32_t  n_arguments;      /* whole ones */
    bool      complete;
} ds4_dsml_call;

/* Everything read so far; slices are lent until the next call on the reader. */
typedef struct ds4_dsml_result {
    ds4_dsml_state       state;
    ds4_slice            reasoning, content;    /* valid UTF-8; only ever grow */
    const ds4_dsml_call *calls;         /* [n_calls] complete; then, if `open`, one that still
                                           arrives and may yet turn out to be none */
    uint32_t             n_calls;
    bool                 open;
    ds4_slice            raw_calls;     /* the sampled bytes of the block, from its newlines to
                                           its end; fit for ds4_message.raw_calls; empty without
                                           calls and for a damaged block */
    ds4_slice            rest;          /* bytes that are none of the above; not UTF-8 for sure */
    unsigned             oddities;
} ds4_dsml_result;

typedef struct ds4_dsml ds4_dsml;

typedef struct ds4_dsml_options {
    bool             thinking;  /* the prompt ended inside <think> */
    const ds4_vocab *vocab;     /* tells special tokens from text; NULL: told from the spelling */
    const ds4_slice *tools;     /* [n_tools] JSON text of bare function objects, borrowed for
                                   the reader's life; a block inside reasoning must call one
                                   of them */
    uint32_t         n_tools;
} ds4_dsml_options;

DS4_MUST_CHECK ds4_status ds4_dsml_create(const ds4_dsml_options *opt, ds4_dsml **out,
                                          ds4_err *err);
void                      ds4_dsml_free(ds4_dsml *r);           /* NULL is fine */

/* Read one sampled token (needs options.vocab), or bytes. Do not mix. Bytes behind the end
 * of the turn go to rest.
 *
 * Returns DS4_OK; DS4_E_NOMEM. What the model writes is never an error.              */
DS4_MUST_CHECK ds4_status ds4_dsml_token(ds4_dsml *r, int32_t id, ds4_err *err);
/* Bytes are for tests and the fuzzer, which have no vocabulary. */
DS4_MUST_CHECK ds4_status ds4_dsml_bytes(ds4_dsml *r, const char *data, size_t n_bytes,
                                         ds4_err *err);

/* The output is over: nothing is held back any longer. To be called once.
 *
 *   cut   the token limit or a cancellation ended it, not the model: a call that is not
 *         closed is then not a call
 *
 * Returns as ds4_dsml_bytes().                                                       */
DS4_MUST_CHECK ds4_status ds4_dsml_finish(ds4_dsml *r, bool cut, ds4_err *err);

const ds4_dsml_result *ds4_dsml_get(const ds4_dsml *r);

/* True while the next token belongs to tags and names, where only the likeliest will do. */
bool ds4_dsml_in_structure(const ds4_dsml *r);

/* Append calls in the trained form, from the two newlines to the closing tag. */
DS4_MUST_CHECK ds4_status ds4_dsml_write(const ds4_call *calls, uint32_t n_calls, ds4_segments *out,
                                         ds4_err *err);

#endif
