/* show.h - prints an answer as it arrives. */
#ifndef DS4_APP_CLI_SHOW_H
#define DS4_APP_CLI_SHOW_H

#include "service/reply.h"

/* Zeroed but for the first three is ready for an answer. */
typedef struct ds4_show {
    bool           terminal; /* standard output is one: reasoning is shown, control bytes are not */
    bool           colour;      /* with escape sequences */
    bool           silent;      /* nothing is printed */
    bool           any, grey, in_call;
    ds4_piece_kind last;        /* valid with `any` */
    char           last_byte;   /* printed; 0 before */
} ds4_show;

void ds4_show_begin(ds4_show *s, bool silent);
void ds4_show_piece(void *show, const ds4_piece *piece);        /* a ds4_piece_fn */
void ds4_show_end(ds4_show *s);                                 /* ends the line and the colour */

/* A ds4_progress_fn: prompt tokens, on standard error when that is a terminal. */
void ds4_show_progress(void *show, uint32_t n_done, uint32_t n_total);

#endif
