/* gguf_text.h - the metadata of a GGUF file as lines for people. */
#ifndef DS4_FORMAT_GGUF_TEXT_H
#define DS4_FORMAT_GGUF_TEXT_H

#include "base/str.h"
#include "format/gguf.h"

/* Append "key  type  value". Long texts and arrays are shown with their beginning and
 * their size; control bytes are replaced, so that a line stays a line.               */
void ds4_gguf_describe(const ds4_gguf_key *entry, ds4_str *out);

/* Append text with control bytes replaced by '?' and cut after max_bytes with "...". */
void ds4_text_clean(ds4_slice text, size_t max_bytes, ds4_str *out);

#endif
