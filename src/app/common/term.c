/* term.c - see app.h: the terminal. */
#include "app/common/app.h"
#include "base/knob.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

bool ds4_term_is(FILE *file)
{
    return isatty(fileno(file)) == 1;
}

/* Is it a terminal that understands escape sequences? TERM says so. */
bool ds4_term_knows_codes(FILE *file)
{
    const char *term = ds4_knob_text(DS4_KNOB_TERM);
    return ds4_term_is(file) && term && *term && strcmp(term, "dumb") != 0;
}

bool ds4_term_colour(FILE *file)
{
    const char *no_color = ds4_knob_text(DS4_KNOB_NO_COLOR);
    return ds4_term_knows_codes(file) && !(no_color && *no_color);
}

/* Is such a line there? If not, the cursor's line is somebody else's and stays. */
static bool progress_shown;

void ds4_term_progress(const char *fmt, ...)
{
    va_list args;

    if (!ds4_term_knows_codes(stderr)) return;
    progress_shown = true;
    va_start(args, fmt);
    fputc('\r', stderr);
    vfprintf(stderr, fmt, args);
    fputs("\033[K", stderr);
    fflush(stderr);
    va_end(args);
}

void ds4_term_progress_end(void)
{
    if (!progress_shown) return;
    progress_shown = false;
    fputs("\r\033[K", stderr);
    fflush(stderr);
}
