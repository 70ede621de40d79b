/* ui_width.h - how many columns of a terminal text takes. */
#ifndef DS4_AGENT_UI_WIDTH_H
#define DS4_AGENT_UI_WIDTH_H

#include <stddef.h>

/* Read what a person takes for one character: a letter with its accents, a flag, joined emoji.
 *
 *   n_bytes   at least 1; text is valid UTF-8 without control characters
 *   columns   receives 0 to 2 for most; for joined emoji the sum of their parts, which is what terminals
 *             without joining show: a row that is laid out by it never grows wider than was reckoned
 *
 * Returns the bytes it takes, at least 1.                                                  */
size_t ui_cluster(const char *text, size_t n_bytes, int *columns);

int ui_columns(const char *text, size_t n_bytes);       /* of all of it */

#endif
