/* segments.h - text of which every byte is either the program's own or from outside.
 *
 * Special tokens are made from trusted bytes only: whatever a user, a file or a tool says
 * stays text. Apart from that the text is tokenized as one, so that a piece may reach
 * over a boundary between trusted and untrusted bytes.                               */
#ifndef DS4_TEXT_SEGMENTS_H
#define DS4_TEXT_SEGMENTS_H

#include "text/bpe.h"

typedef struct ds4_segment {
    size_t n_bytes;             /* > 0; it begins where the one before ends */
    bool   trusted;             /* neighbours differ in this */
} ds4_segment;

/* Zeroed is empty. Appending remembers a failed allocation. */
typedef struct ds4_segments {
    ds4_str      text;          /* all segments in a row */
    ds4_segment *items;         /* [n] */
    uint32_t     n, capacity;
    bool         failed;        /* also look at text.failed; ds4_segments_encode() does */
} ds4_segments;

void      ds4_segments_add(ds4_segments *s, bool trusted, const char *data, size_t n_bytes);
void      ds4_segments_own(ds4_segments *s, const char *text);      /* trusted, zero-terminated */
void      ds4_segments_foreign(ds4_segments *s, ds4_slice text);    /* untrusted */
void      ds4_segments_clear(ds4_segments *s);                      /* frees; usable again */
ds4_slice ds4_segments_text(const ds4_segments *s);                 /* lent until it changes */

/* Append the tokens of the whole text. Returns as ds4_vocab_encode() does.            */
DS4_MUST_CHECK ds4_status ds4_segments_encode(const ds4_vocab *v, const ds4_segments *s,
                                              ds4_tokens *out, ds4_err *err);

/* Count the tokens, evaluated earlier, that are still this text: their bytes equal the
 * text's, and special tokens lie in trusted bytes. They need not be the tokens that
 * encoding would give.
 *
 *   ids      [n_ids]
 *   n_bytes  receives the bytes they cover; may be NULL
 *
 * Returns the number of ids, from the first on, that fit.                            */
uint32_t ds4_segments_match(const ds4_vocab *v, const ds4_segments *s, const int32_t *ids,
                            uint32_t n_ids, size_t *n_bytes);

/* Append the tokens of the text from byte `from` on, for what follows a matched prefix.
 * from must be a value that ds4_segments_match() gave.                               */
DS4_MUST_CHECK ds4_status ds4_segments_encode_from(const ds4_vocab *v, const ds4_segments *s,
                                                   size_t from, ds4_tokens *out, ds4_err *err);

#endif
