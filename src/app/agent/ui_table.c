/* ui_table.c - a Markdown table in columns. */
#include "app/agent/ui_markdown.h"
#include "app/agent/ui_width.h"

#include <string.h>

enum { MAX_COLUMNS = 32, LEAST = 3 };

typedef struct table {
    int n_columns, width[MAX_COLUMNS];
} table;

/* The next cell of a line; false at its end. */
static bool next_cell(ds4_slice line, size_t *at, ds4_slice *cell)
{
    if (*at >= line.n_bytes) return false;
    size_t end = *at;
    while (end < line.n_bytes && line.data[end] != '|') end += line.data[end] == '\\' && end + 1 < line.n_bytes ? 2 : 1;
    *cell = (ds4_slice){ line.data + *at, end - *at };
    *at = end + 1;
    while (cell->n_bytes && cell->data[0] == ' ') cell->data++, cell->n_bytes--;
    while (cell->n_bytes && cell->data[cell->n_bytes - 1] == ' ') cell->n_bytes--;
    return true;
}

/* The line at `at` without its outer bars; false at the end. */
static bool next_line(ds4_slice lines, size_t *at, ds4_slice *line)
{
    if (*at >= lines.n_bytes) return false;
    const char  *end = memchr(lines.data + *at, '\n', lines.n_bytes - *at);
    const size_t n = end ? (size_t)(end - lines.data) - *at : lines.n_bytes - *at;
    *line = (ds4_slice){ lines.data + *at, n };
    *at += n + 1;
    while (line->n_bytes && strchr(" |", line->data[0])) {
        const bool bar = line->data[0] == '|';
        line->data++, line->n_bytes--;
        if (bar) break;
    }
    while (line->n_bytes && line->data[line->n_bytes - 1] == ' ') line->n_bytes--;
    if (line->n_bytes && line->data[line->n_bytes - 1] == '|') line->n_bytes--;
    return true;
}

static bool is_divider(ds4_slice line)
{
    for (size_t i = 0; i < line.n_bytes; i++) {
        if (!strchr("-: |", line.data[i])) return false;
    }
    return line.n_bytes > 0 && memchr(line.data, '-', line.n_bytes);
}

/* A cell's text without the marks of Markdown that are common there. */
static void clean_cell(ds4_slice cell, ds4_str *out)
{
    for (size_t i = 0; i < cell.n_bytes; i++) {
        if (cell.data[i] == '`') continue;
        if (i + 1 < cell.n_bytes && cell.data[i] == '*' && cell.data[i + 1] == '*') {
            i++;
            continue;
        }
        if (cell.data[i] == '\\' && i + 1 < cell.n_bytes && cell.data[i + 1] == '|') i++;
        ds4_str_add_char(out, cell.data[i]);
    }
}

static void measure(table *t, ds4_slice lines, int cols)
{
    ds4_slice line, cell;

    for (size_t at = 0; next_line(lines, &at, &line);) {
        if (is_divider(line)) continue;
        int i = 0;
        for (size_t from = 0; i < MAX_COLUMNS && next_cell(line, &from, &cell); i++) {
            ds4_str text = { 0 };
            clean_cell(cell, &text);
            const int columns = ui_columns(ds4_str_text(&text), text.n_bytes);
            ds4_str_clear(&text);
            if (columns > t->width[i]) t->width[i] = columns;
        }
        if (i > t->n_columns) t->n_columns = i;
    }
    for (;;) {                          /* the widest gives way until all fit */
        int sum = 0, widest = 0;
        for (int i = 0; i < t->n_columns; i++) {
            sum += t->width[i] + (i ? 3 : 0);
            if (t->width[i] > t->width[widest]) widest = i;
        }
        if (sum <= cols || t->width[widest] <= LEAST) return;
        t->width[widest]--;
    }
}

static void pad(ds4_str *out, int n)
{
    for (; n > 0; n--) ds4_str_add_char(out, ' ');
}

static void add_line(const ui_look *look, const table *t, ds4_slice line, bool head, ui_rows *out)
{
    ui_row   *row = ui_rows_add(out);
    ds4_slice cell;
    size_t    at = 0;

    for (int i = 0; row && i < t->n_columns; i++) {
        ds4_str text = { 0 }, cut = { 0 };
        if (i) ui_styled(look, UI_DIM, (ds4_slice){ look->utf8 ? " │ " : " | ", look->utf8 ? 5 : 3 }, &row->text);
        if (next_cell(line, &at, &cell)) clean_cell(cell, &text);
        ui_cut(look, ds4_str_text(&text), text.n_bytes, t->width[i], &cut);
        const int taken = ui_columns(ds4_str_text(&text), text.n_bytes);
        ui_styled(look, head ? UI_BOLD : UI_PLAIN, (ds4_slice){ ds4_str_text(&cut), cut.n_bytes }, &row->text);
        if (i + 1 < t->n_columns) pad(&row->text, t->width[i] - (taken < t->width[i] ? taken : t->width[i]));
        ds4_str_clear(&text);
        ds4_str_clear(&cut);
    }
}

static void add_divider(const ui_look *look, const table *t, ui_rows *out)
{
    ui_row *row = ui_rows_add(out);
    ds4_str text = { 0 };

    for (int i = 0; row && i < t->n_columns; i++) {
        if (i) ds4_str_add_text(&text, look->utf8 ? "─┼─" : "-+-");
        for (int k = 0; k < t->width[i]; k++) ds4_str_add_text(&text, ui_marks(look, UI_MARK_RULE));
    }
    if (row) ui_styled(look, UI_DIM, (ds4_slice){ ds4_str_text(&text), text.n_bytes }, &row->text);
    ds4_str_clear(&text);
}

void ui_table_rows(const ui_look *look, int cols, ds4_slice lines, ui_rows *out)
{
    table     t = { 0 };
    ds4_slice line, second = { 0 };
    size_t    at = 0;

    measure(&t, lines, cols);
    next_line(lines, &at, &line);
    next_line(lines, &at, &second);
    const bool has_head = is_divider(second);
    at = 0;
    for (int i = 0; next_line(lines, &at, &line); i++) {
        if (i == 1 && has_head) add_divider(look, &t, out);
        else if (!is_divider(line)) add_line(look, &t, line, i == 0 && has_head, out);
    }
}
