/* ui_local.h - between ui.c (threads, frames) and ui_input.c (what keys do). */
#ifndef DS4_AGENT_UI_LOCAL_H
#define DS4_AGENT_UI_LOCAL_H

#include "app/agent/ui.h"
#include "app/agent/ui_history.h"
#include "app/agent/ui_view.h"

#include <pthread.h>

struct ds4_ui {
    ds4_agent      *agent;
    ui_screen       screen;             /* the front's thread only, until ui_input: */
    ui_keys         keys;
    ui_line         line;
    ui_history      history;
    ds4_str         hint, offers;       /* beside the status; above it */
    bool            warned;             /* the last key was Ctrl-C, and did nothing */
    bool            leaving;            /* the agent was told to quit */
    bool            stopping;           /* the last key stopped the agent */
    uint64_t        shown_ns, keyed_ns; /* when the last frame was written, when keys came */
    pthread_t       thread;
    bool            started;
    int             wake[2];            /* a pipe: one letter for each thing that happened */

    pthread_mutex_t lock;               /* what follows */
    pthread_cond_t  answered;
    ui_view         view;
    bool            dirty;              /* the view is not what is shown */
    bool            asking;             /* a question waits for `answer` */
    bool            may_always, has_answer;
    uint64_t        asked_ns;
    ds4_permission  answer;
};

/* Do the work of a key. Called without the lock. */
void ui_input_key(ds4_ui *ui, ui_key key);
/* As Ctrl-C. */
void ui_input_interrupt(ds4_ui *ui);
void ui_input_leave(ds4_ui *ui);

#endif
