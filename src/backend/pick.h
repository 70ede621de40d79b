/* pick.h - one token from a row of logits: the definition that all backends follow.
 *
 * The host draws the random number, so generators and seeds stay with it, and the same logits
 * give the same token on every device. */
#ifndef DS4_BACKEND_PICK_H
#define DS4_BACKEND_PICK_H

#include "ds4.h"

/* Choose a token.
 *
 * Order of the filters: mask, top-k, temperature, min-p, top-p. Candidates are visited from the
 * most likely on, ties by lower id, summed in double, and the first one at which the sum passes
 * u times the sum of all is taken. Agreement between devices: the same token, unless the sum lies
 * within 1e-6 of a border.
 *
 *   logits    [n_vocab]
 *   scratch   [n_vocab] overwritten
 *
 * Returns false when a logit is not finite; then out->token is -1. A mask without a token gives
 * token -1 too, and true.                                                                     */
bool ds4_pick_one(const float *logits, uint32_t n_vocab, const ds4_pick *pick, ds4_candidate *scratch,
                  ds4_picked *out);

#endif
