/* bpe.h - text to tokens and back.
 *
 * Encoding is a pure function of vocabulary, bytes and flags; any thread may encode with
 * the same vocabulary. Every sequence of bytes can be encoded and decodes to itself. */
#ifndef DS4_TEXT_BPE_H
#define DS4_TEXT_BPE_H

#include "text/vocab.h"

/* A growing array of token ids; like ds4_str it remembers a failed allocation. */
typedef struct ds4_tokens {
    int32_t *ids;               /* [n] */
    uint32_t n, capacity;
    bool     failed;
} ds4_tokens;

void ds4_tokens_add(ds4_tokens *t, int32_t id);
void ds4_tokens_append(ds4_tokens *t, const int32_t *ids, uint32_t n);
void ds4_tokens_clear(ds4_tokens *t);           /* frees; usable again */

enum {
    DS4_ENCODE_SPECIALS = 1,    /* a special token's text becomes that token: trusted text only */
};

enum {
    DS4_ENCODE_MAX_BYTES = 1 << 30,
};

/* Append the tokens of a text.
 *
 *   text     [n_bytes] any bytes, zero bytes too; at most DS4_ENCODE_MAX_BYTES
 *   flags    0, or DS4_ENCODE_SPECIALS: leftmost, then longest special text first
 *   out      on failure it may hold some of the tokens
 *
 * Returns DS4_OK; DS4_E_LIMIT; DS4_E_UNSUPPORTED when the vocabulary lacks the token of a
 * byte; DS4_E_NOMEM. Time grows as n log n for any text.
 * Source: docs/TOKENIZER.md sections 4 to 6.                                          */
DS4_MUST_CHECK ds4_status ds4_vocab_encode(const ds4_vocab *v, const char *text, size_t n_bytes,
                                           unsigned flags, ds4_tokens *out, ds4_err *err);

enum {
    DS4_DECODE_SKIP_CONTROL = 1,    /* leave out control tokens, keep user-defined ones */
};

/* Append the bytes of tokens; ids outside the vocabulary give nothing. The bytes may begin
 * or end inside a character: see utf8.h.                                             */
void ds4_vocab_decode(const ds4_vocab *v, const int32_t *ids, uint32_t n_ids, unsigned flags,
                      ds4_str *out);

#endif
