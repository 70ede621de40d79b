/* generation.h - one answer that is being generated: the reply that reads its tokens, the
 * chooser that picks them, and the watch that ends a loop.
 *
 * It knows no session and runs no step: see seat.h. One thread at a time. */
#ifndef DS4_SERVICE_GENERATION_H
#define DS4_SERVICE_GENERATION_H

#include "service/chooser.h"
#include "service/reply.h"

/* Borrowed for the generation's life. */
typedef struct ds4_generation_options {
    ds4_reply_options   reply;          /* without choose and choose_ctx; max_tokens 0: no answer at all */
    ds4_chooser_options choose;         /* vocab, n_vocab and thinking are those of the reply */
    bool                single_call;    /* the turn ends after one call */
    uint32_t            loop_tokens;    /* see loop_watch.h; 0: loops are not looked for */
    const int32_t      *script;         /* [n_script] see ds4_chooser_prescribe() */
    uint32_t            n_script;
} ds4_generation_options;

/* The measure against a loop at the last token. */
typedef enum ds4_loop_end {
    DS4_LOOP_NONE,
    DS4_LOOP_CLOSED,            /* reasoning was closed, the answer goes on */
    DS4_LOOP_ENDED,             /* the answer was ended: DS4_FINISH_LOOP */
} ds4_loop_end;

typedef struct ds4_generation ds4_generation;

/* Returns DS4_OK; as ds4_reply_create(), ds4_chooser_create(). */
DS4_MUST_CHECK ds4_status ds4_generation_create(const ds4_generation_options *opt, ds4_generation **out,
                                                ds4_err *err);
void                      ds4_generation_free(ds4_generation *g);       /* NULL is fine */

/* Choose a token and read it.
 *
 *   logits   [n_vocab] of the last evaluated token
 *   token    receives the token to evaluate next, or -1 when the answer is over
 *
 * Returns as ds4_reply_sample().                                                          */
DS4_MUST_CHECK ds4_status ds4_generation_next(ds4_generation *g, const float *logits, int32_t *token,
                                              ds4_err *err);

/* ---- what may come, for those who guess it; nothing is chosen by these ---- */

/* Tokens that may still be chosen, at most. */
uint32_t ds4_generation_left(const ds4_generation *g);

/* The next tokens where they are certain, whatever the logits say, and at most `most` of them: an
 * opening, the end of a block. Returns their number. */
uint32_t ds4_generation_foretell(const ds4_generation *g, int32_t *tokens, uint32_t most);

/* Count the guesses [n] that may come next at all: by the grammar, by the limit of reasoning, and
 * without tokens that end an answer. */
uint32_t ds4_generation_screen(ds4_generation *g, const int32_t *tokens, uint32_t n);
/* Go on with an answer that was begun before and cut, by the end of a process: its tokens are the end of the
 * prompt now. To be called first; what they say is handed out. Not for answers with an opening or a grammar.
 *
 *   tokens   [n_tokens] that were sampled; the answer may be over with the last
 *
 * Returns as ds4_reply_take().                                                            */
DS4_MUST_CHECK ds4_status ds4_generation_take(ds4_generation *g, const int32_t *tokens, uint32_t n_tokens,
                                              ds4_err *err);

/* As ds4_reply_end(). */
DS4_MUST_CHECK ds4_status ds4_generation_end(ds4_generation *g, ds4_finish why, ds4_err *err);

const ds4_reply_result *ds4_generation_result(const ds4_generation *g);
ds4_loop_end            ds4_generation_loop(const ds4_generation *g);

/* As ds4_chooser_score(). */
void ds4_generation_score(const ds4_generation *g, const float *logits, int32_t id, ds4_event *out);

/* The last token with its likelihood, if it is of the content and was asked for. */
bool ds4_generation_recorded(const ds4_generation *g, ds4_event *event);

#endif
