/* ui_scrub.h - text from a model, a tool or a file, made harmless for a terminal. */
#ifndef DS4_AGENT_UI_SCRUB_H
#define DS4_AGENT_UI_SCRUB_H

#include "text/utf8.h"

/* Turns a stream of any bytes into whole UTF-8 without anything that steers a terminal: escape sequences are
 * taken out whole, other control characters and marks that turn the direction of text around too; of all
 * that, newlines stay, a tab becomes spaces, and a carriage return before other text becomes a newline.
 * Zeroed is ready. The result does not depend on how the bytes were cut. */
typedef struct ui_scrub {
    ds4_utf8_stream utf8;
    enum {
        UI_SCRUB_TEXT,
        UI_SCRUB_ESC,
        UI_SCRUB_CSI,
        UI_SCRUB_STRING,
        UI_SCRUB_STRING_ESC,
        UI_SCRUB_SKIP
    } state;
    bool     returned;          /* after a carriage return */
    unsigned column;            /* for tabs */
} ui_scrub;

void ui_scrub_add(ui_scrub *s, const char *data, size_t n_bytes, ds4_str *out);
void ui_scrub_end(ui_scrub *s, ds4_str *out);           /* what is held becomes U+FFFD; usable again */

/* A whole text at once; newlines become spaces when it is to be one line. */
void ui_scrub_text(ds4_slice text, bool one_line, ds4_str *out);

#endif
