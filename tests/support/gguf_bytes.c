/* gguf_bytes.c - see gguf_bytes.h. */
#include "support/gguf_bytes.h"

#include <string.h>

void gguf_u32(ds4_str *s, uint32_t v)
{
    for (int i = 0; i < 4; i++) ds4_str_add_char(s, (char)(uint8_t)(v >> (8 * i)));
}

void gguf_u64(ds4_str *s, uint64_t v)
{
    gguf_u32(s, (uint32_t)v);
    gguf_u32(s, (uint32_t)(v >> 32));
}

void gguf_text(ds4_str *s, const char *t)
{
    gguf_u64(s, strlen(t));
    ds4_str_add_text(s, t);
}

void gguf_head(ds4_str *s, uint64_t n_tensors, uint64_t n_keys)
{
    ds4_str_add(s, "GGUF", 4);
    gguf_u32(s, 3);
    gguf_u64(s, n_tensors);
    gguf_u64(s, n_keys);
}

void gguf_key(ds4_str *s, const char *name, uint32_t type)
{
    gguf_text(s, name);
    gguf_u32(s, type);
}

void gguf_entry(ds4_str *s, const char *name, uint64_t d0, uint64_t d1, uint32_t type, uint64_t offset)
{
    gguf_text(s, name);
    gguf_u32(s, d1 ? 2 : 1);
    gguf_u64(s, d0);
    if (d1) gguf_u64(s, d1);
    gguf_u32(s, type);
    gguf_u64(s, offset);
}

void gguf_data(ds4_str *s, size_t alignment, size_t n)
{
    while (s->n_bytes % alignment != 0) ds4_str_add_char(s, 0);
    for (; n > 0; n--) ds4_str_add_char(s, 1);
}

void gguf_array(ds4_str *s, uint32_t elem_type, uint64_t count)
{
    gguf_key(s, "a", 9);
    gguf_u32(s, elem_type);
    gguf_u64(s, count);
}

void gguf_key_f64(ds4_str *s, const char *name, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof bits);
    gguf_key(s, name, 12);
    gguf_u64(s, bits);
}
