/* ui_style.h - how parts of the transcript look, and the few escape sequences that make them so. */
#ifndef DS4_AGENT_UI_STYLE_H
#define DS4_AGENT_UI_STYLE_H

#include "base/str.h"

typedef enum ui_style {
    UI_PLAIN,
    UI_BOLD,
    UI_ITALIC,
    UI_BOLD_ITALIC,
    UI_STRIKE,
    UI_CODE,                    /* inside of a line */
    UI_LINK,
    UI_HEADING,
    UI_DIM,                     /* reasoning, frames, what is beside the point */
    UI_USER,
    UI_OK,
    UI_WARN,
    UI_ERROR,
    UI_ADDED,                   /* of a diff */
    UI_REMOVED,
    UI_PLACE,                   /* "@@ .. @@" */
    UI_KEYWORD,                 /* of code */
    UI_STRING,
    UI_NUMBER,
    UI_COMMENT,
    UI_N_STYLES
} ui_style;

/* The abilities of a terminal. */
typedef struct ui_look {
    bool colour;                /* not under NO_COLOR; bold and the like stay */
    bool utf8;                  /* else frames and marks are of ASCII */
} ui_look;

const char *ui_sgr(const ui_look *look, ui_style style);        /* "" for plain text */
#define UI_RESET "\033[0m"

/* Append text in a style and go back to plain. */
void ui_styled(const ui_look *look, ui_style style, ds4_slice text, ds4_str *out);

/* Marks of ours, by the look: "•" or "*". */
typedef enum ui_mark {
    UI_MARK_USER,
    UI_MARK_BULLET,
    UI_MARK_QUOTE,
    UI_MARK_RULE,
    UI_MARK_RUN,
    UI_MARK_OK,
    UI_MARK_BAD,
    UI_MARK_MORE,
    UI_MARK_DOT,
    UI_MARK_FULL,
    UI_MARK_EMPTY
} ui_mark;
const char *ui_marks(const ui_look *look, ui_mark mark);

#endif
