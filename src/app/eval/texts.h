/* texts.h - texts as token sequences to run through a model: files, folders, parts of files. */
#ifndef DS4_APP_EVAL_TEXTS_H
#define DS4_APP_EVAL_TEXTS_H

#include "app/common/options.h"
#include "base/err.h"
#include "text/bpe.h"

/* A line that begins so parts the prompts of one file. */
#define DS4_EVAL_SEPARATOR "===== DS4_IMATRIX_PROMPT"

typedef struct ds4_eval_texts {
    ds4_tokens tokens;          /* all chunks, one behind the other */
    uint32_t  *end;             /* [n] the place behind each chunk's last token */
    uint32_t   n, capacity;
    uint32_t   n_files, n_skipped;      /* skipped: no text */
} ds4_eval_texts;

typedef struct ds4_eval_cut {
    uint32_t n_ctx;             /* most tokens of a chunk, 2 or more: longer texts become several */
    uint32_t n_chunks;          /* most chunks; 0: all */
    bool     specials;          /* the texts were rendered: special tokens are read by their names */
} ds4_eval_cut;

/* Read files, and of folders all files of text below them in the order of their names (hidden ones and
 * links are passed over). Each chunk begins with the token that begins a text.
 *
 *   out   zeroed; ds4_eval_texts_clear() also after a failure
 *
 * Returns DS4_OK; DS4_E_IO; DS4_E_ARG when there is nothing to read; as ds4_vocab_encode().     */
DS4_MUST_CHECK ds4_status ds4_eval_texts_read(ds4_eval_texts *out, const ds4_vocab *v,
                                              const ds4_option_texts *paths, const ds4_eval_cut *cut,
                                              ds4_err *err);
void                      ds4_eval_texts_clear(ds4_eval_texts *t);

/* Tokens of chunk i; *n receives how many. */
const int32_t *ds4_eval_chunk(const ds4_eval_texts *t, uint32_t i, uint32_t *n);

/* A digest of all chunks, as 64 digits and a zero. */
void ds4_eval_texts_digest(const ds4_eval_texts *t, char out[65]);

#endif
