/* line_edit.h - lines from a person: with editing and history on a terminal, plainly else. */
#ifndef DS4_APP_CLI_LINE_EDIT_H
#define DS4_APP_CLI_LINE_EDIT_H

#include "base/str.h"

enum { DS4_LINE_HISTORY = 512 };    /* entries kept */

typedef enum ds4_line_end {
    DS4_LINE_READ,
    DS4_LINE_CLOSED,            /* end of the input */
    DS4_LINE_DROPPED,           /* Ctrl-C while something was written: it is gone */
    DS4_LINE_INTERRUPTED,       /* Ctrl-C on an empty line */
} ds4_line_end;

typedef struct ds4_line_edit ds4_line_edit;
typedef bool                 ds4_line_alone_fn(const char *line);

/* Returns NULL when memory is short.
 *
 *   prompt        borrowed; shown on a terminal only
 *   history_path  "" for none; made readable by its owner only
 *   alone         such a first line is a message of its own, whatever comes behind it    */
ds4_line_edit *ds4_line_edit_open(const char *program, const char *prompt,
                                  const char *history_path, ds4_line_alone_fn *alone);
void           ds4_line_edit_close(ds4_line_edit *e);      /* NULL is fine */

/* Read one message, without its newline. On a terminal, lines that arrive together, as a
 * paste does, are one message.
 *
 *   out   replaced                                                                      */
ds4_line_end ds4_line_edit_read(ds4_line_edit *e, ds4_str *out);

#endif
