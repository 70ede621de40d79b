/* dsml_block.h - the reader's state, and how it reads a block of calls. For dsml.c, which reads what stands
 * around blocks. */
#ifndef DS4_TEXT_DSML_BLOCK_H
#define DS4_TEXT_DSML_BLOCK_H

#include "text/dsml.h"
#include "text/dsml_call.h"

/* A block is read in these phases; each expects something else. */
typedef enum ds4_dsml_phase {
    DS4_DSML_PHASE_NONE,        /* not in a block */
    DS4_DSML_PHASE_BETWEEN,     /* an invoke or the end of the block */
    DS4_DSML_PHASE_INVOKE,      /* a parameter or the end of the invoke */
    DS4_DSML_PHASE_VALUE,       /* the value of a parameter */
} ds4_dsml_phase;

struct ds4_dsml {
    ds4_dsml_options opt;
    ds4_dsml_text    text;
    size_t           pos, at;
    size_t           section;           /* where the reasoning or the content began */
    size_t           value;             /* where the open value began */
    size_t           value_done;        /* its bytes before here were handed on */
    size_t           opened;            /* where the first tag of the block begins */
    size_t           settled;           /* behind the last complete invoke */
    ds4_dsml_phase   phase;
    bool             real, wrapped;     /* of the open block: see ds4_dsml_tag */
    bool             finished;          /* ds4_dsml_finish() was called */
    unsigned         block_oddities;    /* count only if the block stays one */
    ds4_str          reasoning, content, rest;
    ds4_utf8_stream  utf8;              /* of reasoning or content */
    ds4_dsml_build  *builds;            /* [n_builds] calls, the last one may be open */
    ds4_dsml_call   *calls;             /* [capacity] as shown to the caller */
    uint32_t         n_builds, capacity;
    uint32_t         changed;           /* calls before this one are shown as they are */
    bool             failed;
    ds4_dsml_result  result;
};

static inline ds4_slice ds4_dsml_slice(const ds4_str *s)
{
    return (ds4_slice){ ds4_str_text(s), s->n_bytes };
}

static inline bool ds4_dsml_thinking(const ds4_dsml *r)
{
    return r->result.state == DS4_DSML_THINK;
}

static inline bool ds4_dsml_call_is_open(const ds4_dsml *r)
{
    return r->phase == DS4_DSML_PHASE_INVOKE || r->phase == DS4_DSML_PHASE_VALUE;
}

/* Hand out the text before `end` as reasoning or content. */
void ds4_dsml_emit(ds4_dsml *r, size_t end);

/* Hand out the text before `end` and go on in another state behind it. */
void ds4_dsml_change_state(ds4_dsml *r, size_t end, size_t next, ds4_dsml_state state);

/* Count the line ends before `end` that belong to a block which may begin there, at most two, and return
 * where they begin. */
size_t ds4_dsml_before_line_ends(const ds4_dsml *r, size_t end);

/* Append to rest what lies before `end`; special tokens that end a turn are left out. */
void ds4_dsml_add_rest(ds4_dsml *r, size_t end);

/* Count what is unusual about a tag. */
void ds4_dsml_note_tag(ds4_dsml *r, const ds4_dsml_tag *tag);

/* Drop what is not closed when the limit fell into a block: it is no call, and no text either. */
void ds4_dsml_cut_block(ds4_dsml *r);

/* End the output inside a block, at `end`; behind it reading goes on at `next`. */
void ds4_dsml_end_inside(ds4_dsml *r, size_t end, size_t next, bool cut);

/* Read on in one phase. False when more text must arrive first. */
bool ds4_dsml_step_between(ds4_dsml *r);
bool ds4_dsml_step_invoke(ds4_dsml *r);
bool ds4_dsml_step_value(ds4_dsml *r);

#endif
