/* str.h - a growing byte string that may hold zero bytes.
 *
 * Appending never fails loudly: after a failed allocation `failed` stays true, later
 * appends do nothing, and the caller checks once at the end. `data` is always
 * followed by a zero byte once anything was appended. */
#ifndef DS4_BASE_STR_H
#define DS4_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ds4_str {
    char  *data;                /* [n_bytes] and a zero byte; NULL while nothing was appended */
    size_t n_bytes, capacity;
    bool   failed;              /* an allocation failed; the content is incomplete */
} ds4_str;

/* A borrowed run of bytes. */
typedef struct ds4_slice {
    const char *data;
    size_t      n_bytes;
} ds4_slice;

#define DS4_SLICE(literal) ((ds4_slice){ (literal), sizeof(literal) - 1 })

void        ds4_str_add(ds4_str *s, const void *data, size_t n_bytes);
void        ds4_str_add_text(ds4_str *s, const char *text);         /* zero-terminated */
void        ds4_str_add_char(ds4_str *s, char c);
void        ds4_str_addf(ds4_str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void        ds4_str_truncate(ds4_str *s, size_t n_bytes);           /* keeps the first n_bytes */
const char *ds4_str_text(const ds4_str *s);                         /* "" when empty, never NULL */
void        ds4_str_clear(ds4_str *s);                              /* frees; usable again */
char       *ds4_str_take(ds4_str *s);   /* the caller frees it; NULL if empty or failed */

bool ds4_slice_eq(ds4_slice a, ds4_slice b);

#endif
