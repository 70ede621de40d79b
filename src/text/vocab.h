/* vocab.h - the vocabulary: token ids, their bytes, the merges, the special tokens.
 *
 * Made from plain arrays, so that it knows nothing of the file they came from, and copied
 * from them. A vocabulary never changes after it was made: any thread may use it.
 *
 * The type ds4_vocab is declared in ds4.h.
 * Source: docs/TOKENIZER.md.                                                         */
#ifndef DS4_TEXT_VOCAB_H
#define DS4_TEXT_VOCAB_H

#include "base/err.h"
#include "base/str.h"

enum {
    DS4_VOCAB_MAX_TOKENS = 1 << 21,
    DS4_VOCAB_MAX_TOKEN_BYTES = 1 << 16,
};

/* Kinds of tokens as GGUF numbers them. */
typedef enum ds4_token_type {
    DS4_TOKEN_NORMAL  = 1,
    DS4_TOKEN_UNKNOWN = 2,
    DS4_TOKEN_CONTROL = 3,      /* special, not meant to be shown */
    DS4_TOKEN_USER    = 4,      /* special, part of the text */
    DS4_TOKEN_UNUSED  = 5,      /* a number without a meaning */
    DS4_TOKEN_BYTE    = 6,
} ds4_token_type;

/* The parts of a vocabulary. Normal tokens and merges are spelled in the GPT-2 byte
 * alphabet (a space is U+0120), special tokens literally.                            */
typedef struct ds4_vocab_source {
    const ds4_slice *tokens;    /* [n_tokens] by id; may repeat: the lowest id wins */
    const int32_t   *types;     /* [n_tokens] ds4_token_type, or NULL: told from the spelling */
    uint32_t         n_tokens;  /* 1 .. DS4_VOCAB_MAX_TOKENS */
    const ds4_slice *merges;    /* [n_merges] "left right", most urgent first; one whose left, right
                                   or product is no token can never apply and is passed over */
    uint32_t         n_merges;  /* 0: text becomes single bytes */
    int32_t          bos_id, eos_id;    /* -1: found by name */
} ds4_vocab_source;

/* Ids of the tokens that the program knows by name; -1 when the vocabulary lacks one. */
typedef struct ds4_specials {
    int32_t bos, eos, user, assistant;          /* <｜begin▁of▁sentence｜> ... <｜Assistant｜> */
    int32_t think_open, think_close, dsml;      /* <think> </think> ｜DSML｜ */
    int32_t latest_reminder;                    /* <｜latest_reminder｜> */
    int32_t fim_begin, fim_hole, fim_end;       /* <｜fim▁begin｜> ... */
    int32_t eot;                                /* <|EOT|>: one more way to end */
    int32_t system;                             /* <｜System｜>: marks the V4.1 protocol */
} ds4_specials;

/* Build a vocabulary. Everything it needs is copied out of src.
 *
 *   out   receives the vocabulary; untouched on failure
 *
 * A vocabulary without merges, without byte tokens or without special tokens is fine;
 * see ds4_vocab_check_chat() for what a conversation needs.
 * Returns DS4_OK; DS4_E_FORMAT naming the entry for counts, lengths or ids out of range
 * and for a merge that is not two words; DS4_E_NOMEM.                               */
DS4_MUST_CHECK ds4_status ds4_vocab_create(const ds4_vocab_source *src, ds4_vocab **out,
                                           ds4_err *err);
void                      ds4_vocab_free(ds4_vocab *v);         /* NULL is fine */

/* The memory that a vocabulary takes: so many tokens and merges, text bytes of all tokens. */
uint64_t ds4_vocab_memory(uint64_t n_tokens, uint64_t n_bytes, uint64_t n_merges);
uint32_t            ds4_vocab_size(const ds4_vocab *v);         /* tokens */
const ds4_specials *ds4_vocab_specials(const ds4_vocab *v);

/* The bytes a token stands for, lent by v. Empty for an id outside the vocabulary. */
ds4_slice ds4_vocab_token_bytes(const ds4_vocab *v, int32_t id);

/* The type of a token; DS4_TOKEN_UNUSED for an id outside the vocabulary. */
ds4_token_type ds4_vocab_token_type(const ds4_vocab *v, int32_t id);

/* Control or user-defined: recognised whole in trusted text, never made from other text. */
bool ds4_vocab_is_special(const ds4_vocab *v, int32_t id);

/* Ends an assistant turn: EOS or EOT. */
bool ds4_vocab_is_end(const ds4_vocab *v, int32_t id);

/* The token that stands for exactly these bytes (raw, not in the byte alphabet); a special
 * token is preferred to a normal one, then the lowest id. -1 when there is none.     */
int32_t ds4_vocab_find(const ds4_vocab *v, const char *text);           /* zero-terminated */

/* Refuse a vocabulary that lacks one of the seven tokens of the chat protocol.
 * Returns DS4_OK; DS4_E_UNSUPPORTED naming the first one that is missing.            */
DS4_MUST_CHECK ds4_status ds4_vocab_check_chat(const ds4_vocab *v, ds4_err *err);

#endif
