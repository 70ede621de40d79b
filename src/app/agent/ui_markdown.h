/* ui_markdown.h - Markdown as it streams, in rows of a terminal.
 *
 * Lines that ended are rows for good. The line that is being written is laid out anew with each piece, so
 * that only it changes on the screen; marks that are still open are taken to close later. Tables wait for
 * their last line, because columns are as wide as their widest cell. Zeroed, with look and cols, is ready. */
#ifndef DS4_AGENT_UI_MARKDOWN_H
#define DS4_AGENT_UI_MARKDOWN_H

#include "app/agent/ui_code.h"
#include "app/agent/ui_flow.h"

typedef struct ui_markdown {
    const ui_look *look;
    int            cols;
    bool           plain;       /* words as they are, dim: reasoning */
    ds4_str        line;        /* what has come of the line that is being written; clean text */
    ds4_str        table;       /* lines of a table that may go on */
    size_t         n_given;     /* rows of this line that were given already, because it is very long */
    bool           fenced;
    char           fence;       /* '`' or '~' */
    size_t         n_fence;
    ui_code_family family;
    int            inside;      /* see ui_code_line() */
    bool           blank;       /* the last line was: more than one shows as one */
} ui_markdown;

/* Take more text, clean (ui_scrub). Rows that are for good are added to out. */
void ui_markdown_add(ui_markdown *m, const char *text, size_t n_bytes, ui_rows *out);
/* The end of the text: everything becomes rows; usable for the next. */
void ui_markdown_end(ui_markdown *m, ui_rows *out);

/* The rows of what is not for good yet. When they are more than `most`, the first are given for good. */
void ui_markdown_open(ui_markdown *m, size_t most, ui_rows *given, ui_rows *out);

void ui_markdown_clear(ui_markdown *m);

/* A table: its lines as they were written, as aligned rows (ui_table.c). */
void ui_table_rows(const ui_look *look, int cols, ds4_slice lines, ui_rows *out);

#endif
