/* vocab_gguf.h - the vocabulary that a model file carries. */
#ifndef DS4_MODEL_VOCAB_GGUF_H
#define DS4_MODEL_VOCAB_GGUF_H

#include "format/gguf.h"
#include "text/chat.h"
#include "text/vocab.h"

/* Build the vocabulary from the tokenizer.ggml.* keys. Nothing is borrowed from g.
 *
 *   g     an opened file; one that holds only a vocabulary is fine
 *   out   receives the vocabulary; untouched on failure
 *
 * Returns DS4_OK; DS4_E_FORMAT for a missing, mistyped or inconsistent key;
 * DS4_E_UNSUPPORTED for another kind of tokenizer; DS4_E_NOMEM. The text names the file
 * and the key.
 * Source: docs/TOKENIZER.md section 1.                                               */
DS4_MUST_CHECK ds4_status ds4_vocab_from_gguf(const ds4_gguf *g, ds4_vocab **out, ds4_err *err);

/* Tell the generation of the chat protocol that the file speaks from its name, its template and
 * its vocabulary. A key of another type than text counts as missing.                  */
ds4_protocol ds4_protocol_from_gguf(const ds4_gguf *g, const ds4_vocab *v);

#endif
