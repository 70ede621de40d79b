/* gguf_text.c - see gguf_text.h. */
#include "format/gguf_text.h"

#include "format/gguf_file.h"

#include <inttypes.h>
#include <string.h>

enum { SHOWN_TEXT = 120, SHOWN_ELEMENTS = 8 };

void ds4_text_clean(ds4_slice text, size_t max_bytes, ds4_str *out)
{
    size_t n = text.n_bytes < max_bytes ? text.n_bytes : max_bytes;

    /* A character is not cut in the middle: its first byte is not 10xxxxxx. */
    while (n > 0 && n < text.n_bytes && ((uint8_t)text.data[n] & 0xc0) == 0x80) n--;
    for (size_t i = 0; i < n; i++) {
        const uint8_t b = (uint8_t)text.data[i];
        const bool    is_c1 = b == 0xc2 && i + 1 < n && (uint8_t)text.data[i + 1] < 0xa0;
        i += is_c1;                     /* UTF-8 has the C1 controls as C2 80 .. C2 9F */
        ds4_str_add_char(out, b < 0x20 || b == 0x7f || is_c1 ? '?' : text.data[i]);
    }
    if (n < text.n_bytes) ds4_str_add_text(out, "...");
}

/* Little endian, sign extended. */
static int64_t load_int(const uint8_t *p, uint32_t n_bytes, bool is_signed)
{
    uint64_t v = 0;

    for (uint32_t i = 0; i < n_bytes; i++) v |= (uint64_t)p[i] << (8 * i);
    if (is_signed && n_bytes < 8 && (v >> (8 * n_bytes - 1) & 1)) v |= UINT64_MAX << (8 * n_bytes);
    return (int64_t)v;
}

static void add_number(ds4_gguf_type type, const uint8_t *p, ds4_str *out)
{
    const uint32_t n_bytes = ds4_gguf_type_bytes(type);
    float          f;
    double         d;

    switch (type) {
    case DS4_GGUF_F32:
        memcpy(&f, p, sizeof f);
        ds4_str_addf(out, "%g", (double)f);
        break;
    case DS4_GGUF_F64:
        memcpy(&d, p, sizeof d);
        ds4_str_addf(out, "%g", d);
        break;
    case DS4_GGUF_BOOL:
        ds4_str_add_text(out, *p ? "true" : "false");
        break;
    case DS4_GGUF_I8:
    case DS4_GGUF_I16:
    case DS4_GGUF_I32:
    case DS4_GGUF_I64:
        ds4_str_addf(out, "%" PRId64, load_int(p, n_bytes, true));
        break;
    default:
        ds4_str_addf(out, "%" PRIu64, (uint64_t)load_int(p, n_bytes, false));
        break;
    }
}

static void add_strings(const ds4_gguf_array *a, uint64_t n, ds4_str *out)
{
    const uint8_t *p = a->data;

    for (uint64_t i = 0; i < n; i++) {
        const uint64_t n_bytes = ds4_load_u64(p);
        ds4_str_add_text(out, i ? ", " : "");
        ds4_text_clean((ds4_slice){ (const char *)p + 8, (size_t)n_bytes }, SHOWN_TEXT, out);
        p += 8 + n_bytes;
    }
}

static void add_numbers(const ds4_gguf_array *a, uint64_t n, ds4_str *out)
{
    for (uint64_t i = 0; i < n; i++) {
        ds4_str_add_text(out, i ? ", " : "");
        add_number(a->type, a->data + i * ds4_gguf_type_bytes(a->type), out);
    }
}

void ds4_gguf_describe(const ds4_gguf_key *entry, ds4_str *out)
{
    const ds4_gguf_array *a = &entry->value;
    const uint64_t        n = a->count < SHOWN_ELEMENTS ? a->count : SHOWN_ELEMENTS;

    ds4_text_clean(entry->key, SHOWN_TEXT, out);
    if (entry->is_array) {
        ds4_str_addf(out, "  %s[%" PRIu64 "]  [", ds4_gguf_type_name(a->type), a->count);
    } else {
        ds4_str_addf(out, "  %s  ", ds4_gguf_type_name(a->type));
    }
    if (a->type == DS4_GGUF_STRING) {
        add_strings(a, n, out);
    } else {
        add_numbers(a, n, out);
    }
    if (entry->is_array) ds4_str_add_text(out, n < a->count ? ", ...]" : "]");
}
