/* ui_line.h - the text that is being typed: one message, of one line or several. */
#ifndef DS4_AGENT_UI_LINE_H
#define DS4_AGENT_UI_LINE_H

#include "app/agent/ui_flow.h"
#include "app/agent/ui_keys.h"
#include "app/agent/ui_screen.h"

typedef struct ui_line {
    ds4_str text;               /* clean UTF-8 with newlines */
    size_t  at;                 /* the cursor, in bytes */
    ds4_str killed;             /* for Ctrl-Y */
} ui_line;

/* Zeroed is empty. Returns whether the key was one of editing. */
bool ui_line_key(ui_line *l, ui_key key, char ctrl, ds4_slice text);

void ui_line_set(ui_line *l, ds4_slice text);           /* the cursor goes to the end */
void ui_line_replace(ui_line *l, size_t from, size_t n_bytes, ds4_slice text);
void ui_line_clear(ui_line *l);

/* Lay it out: rows behind a prompt, and where the cursor is.
 *
 *   most     rows; those around the cursor are shown when there are more                  */
void ui_line_rows(const ui_line *l, const ui_look *look, int cols, size_t most, ui_rows *out,
                  ui_cursor *cursor);

#endif
