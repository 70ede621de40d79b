/* ui_width.c - see ui_width.h. The one file that sees utf8proc: widths must not depend on the locale. */
#include "app/agent/ui_width.h"

#include "text/utf8.h"

#include <utf8proc.h>

enum { EMOJI_FORM = 0xfe0f };           /* asks for the wide form of what stands before it */

size_t ui_cluster(const char *text, size_t n_bytes, int *columns)
{
    uint32_t code = 0, next = 0;
    int32_t  state = 0;
    int      n = ds4_utf8_read(text, n_bytes, &code);

    *columns = 1;
    if (n <= 0) return 1;
    *columns = utf8proc_charwidth((utf8proc_int32_t)code);
    size_t at = (size_t)n;
    while (at < n_bytes && (n = ds4_utf8_read(text + at, n_bytes - at, &next)) > 0 &&
           !utf8proc_grapheme_break_stateful((utf8proc_int32_t)code, (utf8proc_int32_t)next, &state)) {
        *columns += next == EMOJI_FORM && *columns == 1 ? 1 : utf8proc_charwidth((utf8proc_int32_t)next);
        at += (size_t)n;
        code = next;
    }
    return at;
}

int ui_columns(const char *text, size_t n_bytes)
{
    int sum = 0, one;

    for (size_t at = 0; at < n_bytes;) {
        at += ui_cluster(text + at, n_bytes - at, &one);
        sum += one;
    }
    return sum;
}
