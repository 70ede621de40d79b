/* ui_line.c - see ui_line.h. */
#include "app/agent/ui_line.h"

#include "app/agent/ui_width.h"

#include <ctype.h>
#include <string.h>

enum { MAX_TEXT = 1 << 20 };

static const char *data(const ui_line *l)
{
    return ds4_str_text(&l->text);
}

/* ---- moving ------------------------------------------------------------------------------------------ */

static size_t line_begin(const ui_line *l, size_t at)
{
    while (at > 0 && data(l)[at - 1] != '\n') at--;
    return at;
}

static size_t line_end(const ui_line *l, size_t at)
{
    while (at < l->text.n_bytes && data(l)[at] != '\n') at++;
    return at;
}

static size_t right_of(const ui_line *l, size_t at)
{
    int columns;

    if (at >= l->text.n_bytes) return at;
    if (data(l)[at] == '\n') return at + 1;
    return at + ui_cluster(data(l) + at, line_end(l, at) - at, &columns);
}

/* Characters are found from the left only. */
static size_t left_of(const ui_line *l, size_t at)
{
    size_t here = line_begin(l, at);

    if (here == at) return at ? at - 1 : 0;
    for (;;) {
        const size_t next = right_of(l, here);
        if (next >= at) return here;
        here = next;
    }
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (c & 0x80);
}

static size_t word_left(const ui_line *l, size_t at)
{
    while (at > 0 && !is_word(data(l)[at - 1])) at--;
    while (at > 0 && is_word(data(l)[at - 1])) at--;
    return at;
}

static size_t word_right(const ui_line *l, size_t at)
{
    while (at < l->text.n_bytes && !is_word(data(l)[at])) at++;
    while (at < l->text.n_bytes && is_word(data(l)[at])) at++;
    return at;
}

static bool in_first_line(const ui_line *l)
{
    return line_begin(l, l->at) == 0;
}

static bool in_last_line(const ui_line *l)
{
    return line_end(l, l->at) == l->text.n_bytes;
}

/* The place in the line that begins at `line` that is as far right as the cursor is in its own. */
static size_t same_column(const ui_line *l, size_t line)
{
    const size_t begin = line_begin(l, l->at);
    const int    want = ui_columns(data(l) + begin, l->at - begin);
    size_t       at = line;

    for (int columns = 0, one; at < line_end(l, line); columns += one) {
        const size_t n = ui_cluster(data(l) + at, line_end(l, line) - at, &one);
        if (columns + one > want) break;
        at += n;
    }
    return at;
}

/* ---- changing ----------------------------------------------------------------------------------------- */

void ui_line_replace(ui_line *l, size_t from, size_t n_bytes, ds4_slice text)
{
    ds4_str new = { 0 };

    if (l->text.n_bytes - n_bytes + text.n_bytes > MAX_TEXT) return;
    ds4_str_add(&new, data(l), from);
    ds4_str_add(&new, text.data, text.n_bytes);
    l->at = new.n_bytes;
    ds4_str_add(&new, data(l) + from + n_bytes, l->text.n_bytes - from - n_bytes);
    if (new.failed) {
        ds4_str_clear(&new);
        l->at = from;
        return;
    }
    ds4_str_clear(&l->text);
    l->text = new;
}

static void insert(ui_line *l, ds4_slice text)
{
    ui_line_replace(l, l->at, 0, text);
}

void ui_line_set(ui_line *l, ds4_slice text)
{
    ui_line_replace(l, 0, l->text.n_bytes, text);
}

void ui_line_clear(ui_line *l)
{
    ds4_str_clear(&l->text);
    ds4_str_clear(&l->killed);
    l->at = 0;
}

static void remove_between(ui_line *l, size_t a, size_t b, bool keep)
{
    const size_t from = a < b ? a : b, to = a < b ? b : a;

    if (keep && from < to) {
        ds4_str_truncate(&l->killed, 0);
        ds4_str_add(&l->killed, data(l) + from, to - from);
    }
    ui_line_replace(l, from, to - from, (ds4_slice){ "", 0 });
}

static bool take_control(ui_line *l, char ctrl)
{
    switch (ctrl) {
    case 'K':
        remove_between(l, l->at, l->at < line_end(l, l->at) ? line_end(l, l->at) : right_of(l, l->at), true);
        break;
    case 'U': remove_between(l, line_begin(l, l->at), l->at, true); break;
    case 'Y': insert(l, (ds4_slice){ ds4_str_text(&l->killed), l->killed.n_bytes }); break;
    default: return false;
    }
    return true;
}

bool ui_line_key(ui_line *l, ui_key key, char ctrl, ds4_slice text)
{
    switch (key) {
    case UI_KEY_TEXT: insert(l, text); break;
    case UI_KEY_NEWLINE: insert(l, DS4_SLICE("\n")); break;
    case UI_KEY_BACK: remove_between(l, left_of(l, l->at), l->at, false); break;
    case UI_KEY_DELETE: remove_between(l, l->at, right_of(l, l->at), false); break;
    case UI_KEY_WORD_BACK: remove_between(l, word_left(l, l->at), l->at, true); break;
    case UI_KEY_WORD_DELETE: remove_between(l, l->at, word_right(l, l->at), true); break;
    case UI_KEY_LEFT: l->at = left_of(l, l->at); break;
    case UI_KEY_RIGHT: l->at = right_of(l, l->at); break;
    case UI_KEY_WORD_LEFT: l->at = word_left(l, l->at); break;
    case UI_KEY_WORD_RIGHT: l->at = word_right(l, l->at); break;
    case UI_KEY_HOME: l->at = line_begin(l, l->at); break;
    case UI_KEY_END: l->at = line_end(l, l->at); break;
    case UI_KEY_UP:
        if (in_first_line(l)) return false;
        l->at = same_column(l, line_begin(l, line_begin(l, l->at) - 1));
        break;
    case UI_KEY_DOWN:
        if (in_last_line(l)) return false;
        l->at = same_column(l, line_end(l, l->at) + 1);
        break;
    case UI_KEY_CTRL: return take_control(l, ctrl);
    default: return false;
    }
    return true;
}

/* ---- showing ---------------------------------------------------------------------------------------- */

/* Begin a row behind the prompt, or behind as many spaces. */
static ui_row *begin_row(const ui_look *look, ui_rows *rows)
{
    ui_row *row = ui_rows_add(rows);

    if (!row) return NULL;
    if (rows->n == 1) {
        const char *mark = ui_marks(look, UI_MARK_USER);
        ui_styled(look, UI_USER, (ds4_slice){ mark, strlen(mark) }, &row->text);
        ds4_str_add_char(&row->text, ' ');
    } else {
        ds4_str_add_text(&row->text, "  ");
    }
    row->columns = 2;
    return row;
}

static void put_cursor(const ui_rows *rows, ui_cursor *cursor)
{
    const ui_row *row = &rows->row[rows->n - 1];
    *cursor = (ui_cursor){ .row = rows->n - 1, .n_bytes = row->text.n_bytes, .col = row->columns };
}

void ui_line_rows(const ui_line *l, const ui_look *look, int cols, size_t most, ui_rows *out,
                  ui_cursor *cursor)
{
    ui_rows rows = { 0 };
    ui_row *row = begin_row(look, &rows);

    *cursor = (ui_cursor){ 0 };
    for (size_t at = 0; row && at <= l->text.n_bytes;) {
        int          columns = 0;
        const bool   newline = at < l->text.n_bytes && data(l)[at] == '\n';
        const size_t n = at == l->text.n_bytes || newline ? 1
                       : ui_cluster(data(l) + at, line_end(l, at) - at, &columns);
        if (!newline && at < l->text.n_bytes && row->columns + columns > cols) row = begin_row(look, &rows);
        if (at <= l->at && l->at < at + n && row) put_cursor(&rows, cursor);
        if (at == l->text.n_bytes || !row) break;
        if (newline) {
            row = begin_row(look, &rows);
        } else {
            ds4_str_add(&row->text, data(l) + at, n);
            row->columns += columns;
        }
        at += n;
    }
    if (rows.n > most) {
        size_t from = cursor->row + 1 > most ? cursor->row + 1 - most : 0;
        ui_rows_drop(&rows, from);
        cursor->row -= from;
        while (rows.n > most) ds4_str_clear(&rows.row[--rows.n].text);
    }
    for (size_t i = 0; i < rows.n; i++) {
        ui_row *to = ui_rows_add(out);
        if (to) *to = rows.row[i], rows.row[i] = (ui_row){ 0 };
    }
    ui_rows_clear(&rows);
}
