/* ui_screen.h - the terminal: what was said scrolls away as in any program, and some rows at the bottom are
 * ours to change.
 *
 * There is no alternate screen: the terminal's own scrolling, search and copying work on the whole
 * conversation. Belongs to one thread. */
#ifndef DS4_AGENT_UI_SCREEN_H
#define DS4_AGENT_UI_SCREEN_H

#include "app/agent/ui_flow.h"

#include <termios.h>

typedef struct ui_screen {
    int            in, out;
    struct termios cooked;      /* as it was */
    bool           raw;
    int            cols, rows;
    ui_rows        shown;       /* the live rows as they are on the screen */
    size_t         at_row;      /* of them, where the cursor is; its column: */
    int            at_col;
    ds4_str        frame;       /* what is written at once */
} ui_screen;

/* The text of a live row that stands before the cursor: it is written once more to get there, so that the
 * cursor is right whatever the terminal thinks of the width of a character. */
typedef struct ui_cursor {
    size_t row, n_bytes;
    int    col;
} ui_cursor;

/* Take the terminal: keys come one by one and are not echoed. Returns false, with errno, when it is none. */
bool ui_screen_open(ui_screen *s, int in, int out);
void ui_screen_close(ui_screen *s);     /* wipes the live rows and gives the terminal back as it was */

void ui_screen_pause(ui_screen *s);     /* gives it back for a while, as for Ctrl-Z */
void ui_screen_resume(ui_screen *s);

/* Ask for the size again. Returns whether it changed; the live rows were wiped then. */
bool ui_screen_measure(ui_screen *s);

/* Show rows for good above the live ones, and these as they are now, in one write.
 *
 *   given    taken over, and left empty
 *   live     at most rows of them, each narrower than cols
 *   cursor   where it goes */
void ui_screen_show(ui_screen *s, ui_rows *given, const ui_rows *live, const ui_cursor *cursor);

void ui_screen_wipe(ui_screen *s);      /* Ctrl-L: everything visible goes, the live rows come at the top */
void ui_screen_bell(ui_screen *s);

#endif
