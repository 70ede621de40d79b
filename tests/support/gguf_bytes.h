/* gguf_bytes.h - GGUF files written by hand, also ones that no writer would write. */
#ifndef DS4_TESTS_GGUF_BYTES_H
#define DS4_TESTS_GGUF_BYTES_H

#include "base/str.h"

#include <stdint.h>

void gguf_u32(ds4_str *s, uint32_t v);
void gguf_u64(ds4_str *s, uint64_t v);
void gguf_text(ds4_str *s, const char *t);          /* with its length before it */
void gguf_head(ds4_str *s, uint64_t n_tensors, uint64_t n_keys);
void gguf_key(ds4_str *s, const char *name, uint32_t type);     /* its value follows */

/* The key "a" with an array; its elements follow. */
void gguf_array(ds4_str *s, uint32_t elem_type, uint64_t count);
void gguf_key_f64(ds4_str *s, const char *name, double v);

/* A tensor entry of up to two dimensions (d1 0: one). */
void gguf_entry(ds4_str *s, const char *name, uint64_t d0, uint64_t d1, uint32_t type, uint64_t offset);

/* Pad to the alignment and add n bytes of data. */
void gguf_data(ds4_str *s, size_t alignment, size_t n);

#endif
