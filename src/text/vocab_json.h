/* vocab_json.h - reads a Hugging Face tokenizer.json into the arrays a vocabulary is made of. */
#ifndef DS4_TEXT_VOCAB_JSON_H
#define DS4_TEXT_VOCAB_JSON_H

#include "text/vocab.h"

/* Owns the arrays that `source` points at. Zeroed is empty. */
typedef struct ds4_vocab_json {
    ds4_vocab_source source;    /* tokens with added ones, types, merges; bos and eos by name */
    ds4_slice       *tokens;    /* [source.n_tokens] */
    int32_t         *types;     /* [source.n_tokens] 1 normal, 3 added special, 4 added, 5 gap */
    ds4_slice       *merges;    /* [source.n_merges] */
    void            *json;      /* holds most of the strings */
    ds4_str          made;      /* holds the strings that had to be put together */
} ds4_vocab_json;

/* Read the text of a tokenizer.json.
 *
 *   name  what to call it in errors, for example its path
 *   out   zeroed; on failure left empty
 *
 * Ids without a token are named [PADn] and typed unused. Returns DS4_OK; DS4_E_FORMAT;
 * DS4_E_UNSUPPORTED for a model that is not byte-level BPE; DS4_E_NOMEM.             */
DS4_MUST_CHECK ds4_status ds4_vocab_json_read(const char *name, ds4_slice text, ds4_vocab_json *out,
                                              ds4_err *err);
void                      ds4_vocab_json_clear(ds4_vocab_json *j);

#endif
