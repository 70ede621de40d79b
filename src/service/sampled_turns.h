/* sampled_turns.h - a prompt's tokens, with the turns of the assistant as they were sampled.
 *
 * A text has many tokenizations, and what a model sampled is often not the one that encoding gives. A
 * prompt that shows earlier answers is read alike by whoever has their tokens, whether it still has
 * their rows or not: its tokens depend on the request and on the turns that are remembered. */
#ifndef DS4_SERVICE_SAMPLED_TURNS_H
#define DS4_SERVICE_SAMPLED_TURNS_H

#include "text/bpe.h"

typedef struct ds4_sampled_turn {
    const int32_t *tokens;              /* [n_tokens] without the one that ended the turn; 0: not known */
    uint32_t       n_tokens;
} ds4_sampled_turn;

/* Put sampled tokens in the place of their encoding.
 *
 * From the end of each turn backwards: runs between special tokens are replaced as long as their bytes
 * are those of the text, since behind a special token both ways of going on are the same. So a turn that
 * is shown without its reasoning keeps the tokens of its answer.
 *
 *   prompt    the encoding of a conversation, in which each turn of the assistant ends with EOS
 *   turn      [n_turns] all of them in order; the last may be open, without its end
 *   n_others  receives the tokens of the prompt that are not those of the encoding
 *
 * Returns DS4_OK; DS4_E_NOMEM, and then the prompt is as it was.                        */
DS4_MUST_CHECK ds4_status ds4_put_sampled(const ds4_vocab *v, ds4_tokens *prompt,
                                          const ds4_sampled_turn *turn, uint32_t n_turns,
                                          uint32_t *n_others, ds4_err *err);

#endif
