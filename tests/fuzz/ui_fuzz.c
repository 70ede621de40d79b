/* ui_fuzz.c - any bytes as text of a model, as keys and as a call: what is shown does not depend on the
 * pieces it came in, fits its rows and has no escape sequence but ours. */
#include "app/agent/ui_view.h"
#include "app/agent/ui_line.h"

#include <stdlib.h>
#include <string.h>

enum { COLS = 20, MAX_INPUT = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static const ui_look look = { .colour = true, .utf8 = true };

static void check_row(const ui_row *row, int cols)
{
    const char *c = ds4_str_text(&row->text);

    if (!row->soft && row->columns > cols) abort();
    if (!ds4_utf8_valid(c, row->text.n_bytes) || strlen(c) != row->text.n_bytes) abort();
    for (; *c; c++) {
        if (c[0] == '\033' && c[1] == '[') {
            c += 2 + strspn(c + 2, "0123456789;");
            if (*c != 'm') abort();
        } else if ((unsigned char)*c < ' ' || *c == 0x7f) {
            abort();
        }
    }
}

static void show(const char *data, size_t n, size_t step, ds4_str *out)
{
    ui_markdown m = { .look = &look, .cols = COLS };
    ui_scrub    scrub = { 0 };
    ui_rows     rows = { 0 };

    for (size_t at = 0; at < n; at += step) {
        ui_rows open = { 0 };
        ds4_str clean = { 0 };
        ui_scrub_add(&scrub, data + at, n - at < step ? n - at : step, &clean);
        ui_markdown_add(&m, ds4_str_text(&clean), clean.n_bytes, &rows);
        ui_markdown_open(&m, MAX_INPUT, &rows, &open);
        for (size_t i = 0; i < open.n; i++) check_row(&open.row[i], COLS);
        ui_rows_clear(&open);
        ds4_str_clear(&clean);
    }
    ds4_str rest = { 0 };
    ui_scrub_end(&scrub, &rest);
    ui_markdown_add(&m, ds4_str_text(&rest), rest.n_bytes, &rows);
    ui_markdown_end(&m, &rows);
    for (size_t i = 0; i < rows.n; i++) {
        check_row(&rows.row[i], COLS);
        ds4_str_add(out, ds4_str_text(&rows.row[i].text), rows.row[i].text.n_bytes);
        ds4_str_add_char(out, '\n');
    }
    ds4_str_clear(&rest);
    ui_rows_clear(&rows);
    ui_markdown_clear(&m);
}

static void type(const char *data, size_t n, size_t step)
{
    ui_keys   k = { 0 };
    ui_line   l = { 0 };
    ui_rows   rows = { 0 };
    ui_cursor cursor;
    ui_key    key;

    for (size_t at = 0; at < n; at += step) {
        ui_keys_add(&k, data + at, n - at < step ? n - at : step);
        while ((key = ui_keys_next(&k, at + step >= n)) != UI_KEY_NONE) {
            ui_line_key(&l, key, k.ctrl, (ds4_slice){ ds4_str_text(&k.text), k.text.n_bytes });
            if (l.at > l.text.n_bytes || !ds4_utf8_valid(ds4_str_text(&l.text), l.at)) abort();
        }
    }
    ui_line_rows(&l, &look, COLS, 5, &rows, &cursor);
    if (rows.n > 5 || cursor.row >= rows.n || cursor.n_bytes > rows.row[cursor.row].text.n_bytes) abort();
    for (size_t i = 0; i < rows.n; i++) check_row(&rows.row[i], COLS);
    ui_rows_clear(&rows);
    ui_line_clear(&l);
    ui_keys_clear(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const char *text = (const char *)data;
    ds4_str     whole = { 0 }, pieces = { 0 }, title = { 0 };

    if (n_bytes > MAX_INPUT) n_bytes = MAX_INPUT;
    show(text, n_bytes, n_bytes + 1, &whole);
    show(text, n_bytes, 3, &pieces);
    if (whole.n_bytes != pieces.n_bytes || (whole.n_bytes && memcmp(whole.data, pieces.data, whole.n_bytes)))
        abort();
    type(text, n_bytes, 1);
    type(text, n_bytes, n_bytes + 1);
    ui_call_title((ds4_slice){ "tool", 4 }, (ds4_slice){ text, n_bytes }, &title);
    for (size_t i = 0; i < title.n_bytes; i++) {
        if ((unsigned char)title.data[i] < ' ' || title.data[i] == 0x7f) abort();
    }
    ds4_str_clear(&whole);
    ds4_str_clear(&pieces);
    ds4_str_clear(&title);
    return 0;
}
