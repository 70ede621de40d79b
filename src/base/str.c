/* str.c - see str.h. */
#include "base/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(ds4_str *s, size_t n_more)
{
    if (s->failed) return false;
    if (n_more >= SIZE_MAX / 2 - s->n_bytes) {
        s->failed = true;
        return false;
    }
    const size_t need = s->n_bytes + n_more + 1;
    if (need <= s->capacity) return true;

    size_t capacity = s->capacity ? s->capacity : 64;
    while (capacity < need) capacity *= 2;
    char *data = realloc(s->data, capacity);
    if (!data) {
        s->failed = true;
        return false;
    }
    s->data = data;
    s->capacity = capacity;
    return true;
}

void ds4_str_add(ds4_str *s, const void *data, size_t n_bytes)
{
    if (!reserve(s, n_bytes)) return;
    if (n_bytes) memcpy(s->data + s->n_bytes, data, n_bytes);
    s->n_bytes += n_bytes;
    s->data[s->n_bytes] = '\0';
}

void ds4_str_add_text(ds4_str *s, const char *text)
{
    ds4_str_add(s, text, strlen(text));
}

void ds4_str_add_char(ds4_str *s, char c)
{
    ds4_str_add(s, &c, 1);
}

void ds4_str_addf(ds4_str *s, const char *fmt, ...)
{
    va_list args, again;

    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n >= 0 && reserve(s, (size_t)n)) {
        vsnprintf(s->data + s->n_bytes, (size_t)n + 1, fmt, again);
        s->n_bytes += (size_t)n;
    } else {
        s->failed = true;
    }
    va_end(again);
}

void ds4_str_truncate(ds4_str *s, size_t n_bytes)
{
    if (n_bytes >= s->n_bytes) return;
    s->n_bytes = n_bytes;
    s->data[n_bytes] = '\0';
}

const char *ds4_str_text(const ds4_str *s)
{
    return s->data ? s->data : "";
}

void ds4_str_clear(ds4_str *s)
{
    free(s->data);
    *s = (ds4_str){ 0 };
}

char *ds4_str_take(ds4_str *s)
{
    char *data = s->failed ? NULL : s->data;
    if (s->failed) free(s->data);
    *s = (ds4_str){ 0 };
    return data;
}

bool ds4_slice_eq(ds4_slice a, ds4_slice b)
{
    return a.n_bytes == b.n_bytes && (a.n_bytes == 0 || memcmp(a.data, b.data, a.n_bytes) == 0);
}
