/* ui_view.h - what the terminal shows of the agent: events in, rows out. Nothing here writes.
 *
 * Rows that are for good collect in `given`; ui_view_live() lays out what may still change: the line that is
 * being written, the call that runs, what waits. Everything that comes from the model, from tools or from
 * files is made harmless (ui_scrub) before it becomes a row. */
#ifndef DS4_AGENT_UI_VIEW_H
#define DS4_AGENT_UI_VIEW_H

#include "agent/front.h"
#include "app/agent/ui_markdown.h"
#include "app/agent/ui_scrub.h"

enum {
    UI_VIEW_DIFF_ROWS = 60,     /* of a change; the rest is counted */
    UI_VIEW_TAIL_ROWS = 5,      /* of a command's output */
};

typedef enum ui_open { UI_OPEN_NONE, UI_OPEN_REASONING, UI_OPEN_ANSWER } ui_open;

/* The call that is written or runs. */
typedef struct ui_call {
    bool     there, runs, titled;       /* titled: its line is for good */
    bool     asked;                     /* its change was shown with a question */
    ds4_str  id, name, arguments;
    ui_scrub scrub;
    ds4_str  tail[UI_VIEW_TAIL_ROWS];   /* the last lines of its output, as a ring */
    uint32_t n_lines;                   /* of its output; the last may go on */
} ui_call;

typedef struct ui_view {
    ui_look          look;
    int              cols, rows;        /* of the screen */
    ui_rows          given;
    ui_open          open;
    ui_markdown      markdown;
    ui_scrub         scrub;
    ui_call          call;
    ds4_agent_status status;
    uint32_t         n_done, n_total;   /* of a prompt */
    ds4_str          root;              /* of the session: where names of files begin */
    ds4_str          question;          /* that waits for its answer */
    ds4_str          queued;            /* the last message that waits */
    uint32_t         n_queued;
    bool             spaced;            /* the last row given is blank; or belongs to a call: */
    bool             after_call;
} ui_view;

/* Zeroed is ready when look, cols and rows are set. */
void ui_view_event(ui_view *v, const ds4_front_event *e);
void ui_view_size(ui_view *v, int cols, int rows);

/* A question of the tools; with its answer it is a row for good. */
void ui_view_question(ui_view *v, const ds4_question *question);
void ui_view_answer(ui_view *v, const char *answer);
/* Append what may change, at most `most` rows. */
void ui_view_live(ui_view *v, size_t most, ui_rows *out);
/* Append the one row that tells how things are. */
void ui_view_status(const ui_view *v, const char *hint, ui_rows *out);

void ui_view_clear(ui_view *v);

/* "bash  make test": what a call does, in one line of clean text; arguments may be cut anywhere
 * (ui_call.c). */
void ui_call_title(ds4_slice name, ds4_slice arguments, ds4_str *out);

#endif
