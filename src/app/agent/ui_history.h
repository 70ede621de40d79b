/* ui_history.h - what was typed before, in memory and in a file of the user. */
#ifndef DS4_AGENT_UI_HISTORY_H
#define DS4_AGENT_UI_HISTORY_H

#include "app/agent/ui_line.h"

enum { UI_HISTORY_MOST = 512 };

typedef struct ui_history {
    char   *path;               /* NULL: memory only */
    char   *entry[UI_HISTORY_MOST];     /* [n], the oldest first */
    size_t  n, at;              /* at: the one that is shown, n for the text that is being typed */
    ds4_str draft;              /* that text, while another one is shown */
    ds4_str wanted;             /* what Ctrl-R looks for; empty: not looking */
} ui_history;

/* Read the file, if it is there; what is damaged in it is left out. path: copied; NULL for none. */
void ui_history_open(ui_history *h, const char *path);
void ui_history_close(ui_history *h);

/* Remember a message; it is in the file before this returns, which only its owner can read. */
void ui_history_add(ui_history *h, ds4_slice text);

void ui_history_step(ui_history *h, ui_line *line, bool older);
/* The next older entry that has what was typed when looking began. */
void ui_history_look(ui_history *h, ui_line *line);
void ui_history_stay(ui_history *h);    /* something else was done: the shown text is the typed one now */

#endif
