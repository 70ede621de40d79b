/* wording.h - a prompt's tokens, as they were evaluated before where that is known.
 *
 * A text has many tokenizations, and what a model sampled is often not the one that
 * encoding gives. A client sends the text back; to find the state again the prompt must
 * become the tokens that were sampled. So known sequences are held against the text: one
 * counts as far as its bytes agree, cut where the text has a special token or where it
 * still equals the encoding, because only there both ways of going on are the same. A
 * prompt that was never seen becomes its encoding, whatever is known of others. */
#ifndef DS4_SERVICE_WORDING_H
#define DS4_SERVICE_WORDING_H

#include "text/segments.h"

/* Zeroed is empty. */
typedef struct ds4_wording {
    const ds4_vocab    *vocab;
    const ds4_segments *text;
    ds4_tokens          plain;          /* the encoding */
    size_t             *end;            /* [plain.n] bytes of the text up to the end of each */
    size_t             *safe;           /* [n_safe] where special tokens begin and end */
    uint32_t            n_safe;
    ds4_tokens          known;          /* the best sequence; covers n_bytes of the text */
    size_t              n_bytes, best;  /* best: bytes that some sequence covers */
} ds4_wording;

/* Begin with a text, lent until the wording is cleared.
 *
 *   plain   its encoding, copied; NULL: it is made
 *
 * Returns DS4_OK; DS4_E_NOMEM; as ds4_segments_encode(). Clear it in any case.          */
DS4_MUST_CHECK ds4_status ds4_wording_begin(ds4_wording *w, const ds4_vocab *vocab,
                                            const ds4_segments *text, const ds4_tokens *plain,
                                            ds4_err *err);

/* Hold a known sequence against the text. */
void ds4_wording_consider(ds4_wording *w, const int32_t *ids, uint32_t n_ids);

/* Append the prompt's tokens. Returns DS4_OK; DS4_E_NOMEM; as ds4_segments_encode_from(). */
DS4_MUST_CHECK ds4_status ds4_wording_finish(ds4_wording *w, ds4_tokens *out, ds4_err *err);

void ds4_wording_clear(ds4_wording *w);

#endif
