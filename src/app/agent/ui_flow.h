/* ui_flow.h - styled text into rows of a terminal: words wrap, wide characters stay whole. */
#ifndef DS4_AGENT_UI_FLOW_H
#define DS4_AGENT_UI_FLOW_H

#include "app/agent/ui_style.h"

/* Rows of styled text, each with its escape sequences and plain at its end. */
typedef struct ui_row {
    ds4_str text;
    int     columns;
    bool soft; /* longer than the screen is wide: the terminal wraps it, so that it is copied whole */
} ui_row;

typedef struct ui_rows {
    ui_row *row;                /* [n] */
    size_t  n, capacity;
} ui_rows;

/* Zeroed is empty. A new row at the end, or NULL without memory. */
ui_row *ui_rows_add(ui_rows *r);
void ui_rows_add_text(ui_rows *r, const ui_look *look, ui_style style,
                      const char *text);                /* one row, cut nowhere */
void    ui_rows_drop(ui_rows *r, size_t n_first);       /* the first n */
void    ui_rows_clear(ui_rows *r);

/* Lays one logical line out. Set cols and look, begin, add, end. */
typedef struct ui_flow {
    const ui_look *look;
    int            cols;        /* of a row, at least 8 */
    ui_rows       *out;
    ui_style       lead_style;
    ds4_slice      lead;        /* before the first row's text: "• "; lent */
    ds4_slice      later;       /* before the others' */
    ds4_str        row, word;   /* what is certain of this row, and a word that may go to the next */
    int            n_row, n_word, n_gap;        /* columns; spaces between them */
    bool           begun;       /* the row has its lead */
    ui_style       row_style, word_style;       /* at their ends */
} ui_flow;

void ui_flow_add(ui_flow *f, ui_style style, const char *text, size_t n_bytes);         /* no newlines */
void ui_flow_end(ui_flow *f);   /* ends the last row; there is always one; usable for the next line */

/* The rows of a styled text that is longer than the screen is wide, cut between characters. */
void ui_split(const char *text, size_t n_bytes, int cols, ui_rows *out);

/* As much of a styled text as fits cols columns, with a mark at its end when it was cut. Returns its columns.
 * */
int ui_cut(const ui_look *look, const char *text, size_t n_bytes, int cols, ds4_str *out);

#endif
