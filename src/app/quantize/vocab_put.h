/* vocab_put.h - the vocabulary of a tokenizer.json as the keys tokenizer.* of a GGUF file. */
#ifndef DS4_APP_VOCAB_PUT_H
#define DS4_APP_VOCAB_PUT_H

#include "base/err.h"
#include "format/gguf_write.h"

/* Put the keys.
 *
 *   path      of a tokenizer.json
 *   n_vocab   entries wanted, the missing ones named [PADn] and typed unused; 0: as many
 *             as the tokenizer has
 *
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT, also for a tokenizer with more than n_vocab
 * tokens; DS4_E_UNSUPPORTED; DS4_E_NOMEM.                                                */
DS4_MUST_CHECK ds4_status vocab_put(const char *path, uint32_t n_vocab, ds4_gguf_writer *w, ds4_err *err);

#endif
