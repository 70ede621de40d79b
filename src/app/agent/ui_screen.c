/* ui_screen.c - see ui_screen.h. No library for terminals is used, on purpose: those that are kept (ncurses,
 * notcurses, tickit) own the whole screen or know nothing of text that scrolls away, and the handful of
 * sequences below is understood by every terminal since the VT100; modern ones also take a frame as a whole.
 * */
#include "app/agent/ui_screen.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BEGIN_FRAME "\033[?2026h\033[?25l"      /* nothing is shown before the end of the frame; no cursor */
#define END_FRAME   "\033[?25h\033[?2026l"
#define WIPE_ROW    "\033[K"
#define WIPE_BELOW  "\033[J"
#define PASTE_ON    "\033[?2004h"               /* pasted text comes between marks */
#define PASTE_OFF   "\033[?2004l"

static void put(ui_screen *s, const char *text)
{
    ds4_str_add_text(&s->frame, text);
}

static void flush(ui_screen *s)
{
    const char *data = ds4_str_text(&s->frame);
    size_t      n = s->frame.n_bytes;

    while (n > 0) {
        const ssize_t w = write(s->out, data, n);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) break;              /* the terminal is gone; whoever reads keys sees it too */
        data += w;
        n -= (size_t)w;
    }
    ds4_str_truncate(&s->frame, 0);
    s->frame.failed = false;
}

/* ---- the terminal ------------------------------------------------------------------------------------ */

static void ask_size(ui_screen *s)
{
    struct winsize size = { 0 };

    if (ioctl(s->out, TIOCGWINSZ, &size) != 0) size.ws_col = size.ws_row = 0;
    s->cols = size.ws_col >= 10 ? size.ws_col : size.ws_col ? 10 : 80;
    s->rows = size.ws_row >= 4 ? size.ws_row : size.ws_row ? 4 : 24;
}

static bool take_keys(ui_screen *s)
{
    struct termios raw = s->cooked;

    raw.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR | IXON | ISTRIP | BRKINT);
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    return tcsetattr(s->in, TCSADRAIN, &raw) == 0;
}

bool ui_screen_open(ui_screen *s, int in, int out)
{
    *s = (ui_screen){ .in = in, .out = out };
    if (tcgetattr(in, &s->cooked) != 0 || !take_keys(s)) return false;
    s->raw = true;
    ask_size(s);
    put(s, PASTE_ON);
    flush(s);
    return true;
}

/* To the first live row. */
static void to_top(ui_screen *s)
{
    put(s, "\r");
    if (s->at_row) ds4_str_addf(&s->frame, "\033[%zuA", s->at_row);
    s->at_row = 0;
    s->at_col = 0;
}

void ui_screen_pause(ui_screen *s)
{
    if (!s->raw) return;
    put(s, BEGIN_FRAME);
    to_top(s);
    put(s, WIPE_BELOW END_FRAME PASTE_OFF);
    flush(s);
    ui_rows_clear(&s->shown);
    tcsetattr(s->in, TCSADRAIN, &s->cooked);
    s->raw = false;
}

void ui_screen_resume(ui_screen *s)
{
    if (s->raw) return;
    take_keys(s);
    s->raw = true;
    ask_size(s);
    put(s, PASTE_ON);
    flush(s);
}

void ui_screen_close(ui_screen *s)
{
    ui_screen_pause(s);
    ui_rows_clear(&s->shown);
    ds4_str_clear(&s->frame);
}

void ui_screen_bell(ui_screen *s)
{
    put(s, "\a");
    flush(s);
}

void ui_screen_wipe(ui_screen *s)
{
    put(s, "\033[H" WIPE_BELOW);
    flush(s);
    ui_rows_clear(&s->shown);
    s->at_row = 0;
    s->at_col = 0;
}

/* ---- frames ----------------------------------------------------------------------------------------- */

/* A terminal that became narrower has wrapped the rows that were too wide: so many rows lie above the cursor
 * now. Those that cut rows instead lose a row or two above. */
static void reckon_wraps(ui_screen *s)
{
    size_t above = 0;

    for (size_t i = 0; i < s->shown.n && i < s->at_row; i++) {
        const int columns = s->shown.row[i].columns;
        above += columns > s->cols ? (size_t)((columns + s->cols - 1) / s->cols) : 1;
    }
    s->at_row = above + (size_t)(s->at_col / s->cols);
    if (s->at_row >= (size_t)s->rows) s->at_row = (size_t)s->rows - 1;
}

bool ui_screen_measure(ui_screen *s)
{
    const int cols = s->cols, rows = s->rows;

    ask_size(s);
    if (cols == s->cols && rows == s->rows) return false;
    reckon_wraps(s);
    to_top(s);
    put(s, WIPE_BELOW);
    ui_rows_clear(&s->shown);
    return true;
}

static bool same(const ui_row *a, const ui_row *b)
{
    return a->text.n_bytes == b->text.n_bytes &&
           (a->text.n_bytes == 0 || memcmp(a->text.data, b->text.data, a->text.n_bytes) == 0);
}

/* Go down from the live row `from`, which may be beyond what is on the screen, to `to`. */
static void down(ui_screen *s, size_t from, size_t to)
{
    put(s, "\r");
    for (; from < to; from++) put(s, "\n");
}

static void show_given(ui_screen *s, ui_rows *given)
{
    /* Rows that the terminal wraps would leave what stood below them: all goes before the first of these. */
    bool wiped = false;

    for (size_t i = 0; i < given->n; i++) {
        if (!wiped) put(s, given->row[i].soft ? WIPE_BELOW : WIPE_ROW);
        wiped |= given->row[i].soft;
        ds4_str_add(&s->frame, ds4_str_text(&given->row[i].text), given->row[i].text.n_bytes);
        put(s, "\r\n");
    }
    ui_rows_clear(given);
}

static void remember(ui_screen *s, const ui_rows *live)
{
    ui_rows_clear(&s->shown);
    for (size_t i = 0; i < live->n; i++) {
        ui_row *row = ui_rows_add(&s->shown);
        if (!row) return;
        row->columns = live->row[i].columns;
        ds4_str_add(&row->text, ds4_str_text(&live->row[i].text), live->row[i].text.n_bytes);
    }
}

/* Write the live rows that changed. Returns the one that the cursor is in then. */
static size_t show_live(ui_screen *s, const ui_rows *live, bool anew)
{
    size_t on = 0;

    for (size_t i = 0; i < live->n; i++) {
        if (!anew && i < s->shown.n && same(&live->row[i], &s->shown.row[i])) continue;
        down(s, on, i);
        on = i;
        put(s, WIPE_ROW);
        ds4_str_add(&s->frame, ds4_str_text(&live->row[i].text), live->row[i].text.n_bytes);
    }
    if (live->n >= s->shown.n && !anew) return on;
    if (live->n) {
        down(s, on, live->n - 1);
        on = live->n - 1;
        if (live->row[on].columns) ds4_str_addf(&s->frame, "\033[%dC", live->row[on].columns);
    }
    put(s, WIPE_BELOW);
    return on;
}

void ui_screen_show(ui_screen *s, ui_rows *given, const ui_rows *live, const ui_cursor *cursor)
{
    const bool anew = given->n > 0 || s->shown.n == 0;
    size_t     at;

    if (!s->raw) return;
    for (at = 0; at < live->n && at < s->shown.n && same(&live->row[at], &s->shown.row[at]);) at++;
    const bool moved = cursor->row != s->at_row || cursor->col != s->at_col;
    if (!anew && !moved && at == live->n && at == s->shown.n) return;
    put(s, BEGIN_FRAME);
    to_top(s);
    show_given(s, given);
    const size_t on = show_live(s, live, anew);
    put(s, "\r");
    if (cursor->row < on) ds4_str_addf(&s->frame, "\033[%zuA", on - cursor->row);
    else down(s, on, cursor->row);
    if (cursor->row < live->n) {
        ds4_str_add(&s->frame, ds4_str_text(&live->row[cursor->row].text), cursor->n_bytes);
        put(s, UI_RESET);
    }
    put(s, END_FRAME);
    remember(s, live);
    s->at_row = cursor->row;
    s->at_col = cursor->col;
    flush(s);
}
