/* ui.h - the terminal front of ds4-agent: shows events as they come and takes keys at the same time.
 *
 * Two threads: the loop's, on which events arrive and questions wait, and one of the front, which alone reads
 * the keys and writes to the terminal. They share the view under a lock that is never held while anything
 * waits for the terminal or for the agent. */
#ifndef DS4_AGENT_UI_H
#define DS4_AGENT_UI_H

#include "agent/front.h"

typedef struct ds4_ui ds4_ui;

typedef struct ds4_ui_options {
    const char *history_path;           /* NULL: nothing is kept */
    bool        colour;
    int         in, out;                /* the terminal */
} ds4_ui_options;

/* Take the terminal. Events may come from now on. Returns
 * DS4_OK; DS4_E_IO when it is none; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_ui_open(const ds4_ui_options *opt, ds4_ui **out, ds4_err *err);

ds4_front ds4_ui_front(ds4_ui *ui);

/* Begin to read keys and to ask `agent` for what they say;
 * ds4_agent_quit() is called when the user wants to leave, and when the terminal goes away.
 *
 * Returns DS4_OK; DS4_E_NOMEM without a thread.                                             */
DS4_MUST_CHECK ds4_status ds4_ui_start(ds4_ui *ui, ds4_agent *agent, ds4_err *err);

/* A line of the program itself, from any thread: standard error would be written over. */
void ds4_ui_say(ds4_ui *ui, const char *text);

/* Show what is left, and give the terminal back. NULL is fine. */
void ds4_ui_close(ds4_ui *ui);

#endif
