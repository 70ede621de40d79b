/* ui_flow.c - see ui_flow.h. */
#include "app/agent/ui_flow.h"

#include "app/agent/ui_width.h"

#include <stdlib.h>
#include <string.h>

/* ---- rows ----------------------------------------------------------------------------------------- */

ui_row *ui_rows_add(ui_rows *r)
{
    if (r->n == r->capacity) {
        const size_t more = r->capacity ? r->capacity * 2 : 16;
        ui_row      *row = realloc(r->row, more * sizeof *row);
        if (!row) return NULL;
        r->row = row;
        r->capacity = more;
    }
    r->row[r->n] = (ui_row){ 0 };
    return &r->row[r->n++];
}

void ui_rows_add_text(ui_rows *r, const ui_look *look, ui_style style, const char *text)
{
    ui_row *row = ui_rows_add(r);

    if (!row) return;
    ui_styled(look, style, (ds4_slice){ text, strlen(text) }, &row->text);
    row->columns = ui_columns(text, strlen(text));
}

void ui_rows_drop(ui_rows *r, size_t n_first)
{
    if (n_first > r->n) n_first = r->n;
    for (size_t i = 0; i < n_first; i++) ds4_str_clear(&r->row[i].text);
    if (n_first) memmove(r->row, r->row + n_first, (r->n - n_first) * sizeof *r->row);
    r->n -= n_first;
}

void ui_rows_clear(ui_rows *r)
{
    ui_rows_drop(r, r->n);
    free(r->row);
    *r = (ui_rows){ 0 };
}

/* ---- words ----------------------------------------------------------------------------------------- */

/* Append in a style to text that ends in another. */
static void add_styled(const ui_look *look, ds4_str *to, ui_style *at, ui_style style, const char *text,
                       size_t n)
{
    if (*at != style) {
        if (*ui_sgr(look, *at)) ds4_str_add_text(to, UI_RESET);
        ds4_str_add_text(to, ui_sgr(look, style));
        *at = style;
    }
    ds4_str_add(to, text, n);
}

static void lead_row(ui_flow *f)
{
    if (f->begun) return;
    const ds4_slice lead = f->lead.n_bytes || f->later.n_bytes ? f->lead : (ds4_slice){ "", 0 };
    f->begun = true;
    if (!lead.n_bytes) return;
    add_styled(f->look, &f->row, &f->row_style, f->lead_style, lead.data, lead.n_bytes);
    f->n_row = ui_columns(lead.data, lead.n_bytes);
}

static void end_row(ui_flow *f)
{
    lead_row(f);
    ui_row *row = ui_rows_add(f->out);
    if (*ui_sgr(f->look, f->row_style)) ds4_str_add_text(&f->row, UI_RESET);
    if (row) {
        row->text = f->row;
        row->columns = f->n_row;
        f->row = (ds4_str){ 0 };
    }
    ds4_str_truncate(&f->row, 0);
    f->row_style = UI_PLAIN;
    f->n_row = f->n_gap = 0;
    f->begun = false;
    f->lead = f->later;
}

/* The word goes to this row, or to the next when it does not fit. */
static void end_word(ui_flow *f)
{
    if (f->n_word == 0 && f->word.n_bytes == 0) return;
    lead_row(f);
    if (f->n_row + f->n_gap + f->n_word > f->cols && f->n_row > ui_columns(f->lead.data, f->lead.n_bytes)) {
        end_row(f);
        lead_row(f);
    }
    const int most_gap = f->cols - f->n_row - f->n_word;
    if (f->n_gap > most_gap) f->n_gap = most_gap > 0 ? most_gap : 0;
    const ui_style gap = f->row_style == f->word_style ? f->row_style : UI_PLAIN;
    for (; f->n_gap > 0; f->n_gap--, f->n_row++) add_styled(f->look, &f->row, &f->row_style, gap, " ", 1);
    if (*ui_sgr(f->look, f->row_style)) ds4_str_add_text(&f->row, UI_RESET);
    f->row_style = f->word_style;
    ds4_str_add(&f->row, ds4_str_text(&f->word), f->word.n_bytes);
    f->n_row += f->n_word;
    ds4_str_truncate(&f->word, 0);
    f->n_word = 0;
    f->word_style = UI_PLAIN;
}

void ui_flow_add(ui_flow *f, ui_style style, const char *text, size_t n_bytes)
{
    const int most = f->cols - ui_columns(f->later.data, f->later.n_bytes);

    for (size_t at = 0; at < n_bytes;) {
        int          columns;
        const size_t n = ui_cluster(text + at, n_bytes - at, &columns);
        if (text[at] == ' ' && style != UI_CODE) {
            end_word(f);
            f->n_gap++;
        } else {
            /* Wide characters are words of their own; a word that no row can hold is cut. */
            if (columns >= 2 || f->n_word + columns > most) end_word(f);
            add_styled(f->look, &f->word, &f->word_style, style, text + at, n);
            f->n_word += columns;
            if (columns >= 2) end_word(f);
        }
        at += n;
    }
}

void ui_flow_end(ui_flow *f)
{
    end_word(f);
    end_row(f);
    ds4_str_clear(&f->row);
    ds4_str_clear(&f->word);
    f->n_row = f->n_word = f->n_gap = 0;
    f->begun = false;
    f->row_style = f->word_style = UI_PLAIN;
}

/* ---- long lines ---------------------------------------------------------------------------------- */

/* The bytes of an escape sequence of ours at the beginning of text, 0 when it is none. */
static size_t sequence(const char *text, size_t n_bytes)
{
    size_t n = 2;

    if (n_bytes < 2 || text[0] != '\033') return 0;
    while (n < n_bytes && text[n] != 'm') n++;
    return n < n_bytes ? n + 1 : n_bytes;
}

void ui_split(const char *text, size_t n_bytes, int cols, ui_rows *out)
{
    ds4_slice on = { "", 0 };           /* the style that is on */
    ui_row   *row = ui_rows_add(out);

    for (size_t at = 0; at < n_bytes && row;) {
        size_t n = sequence(text + at, n_bytes - at);
        int    columns = 0;
        if (n) {
            on = (ds4_slice){ text + at, n };
            if (ds4_slice_eq(on, DS4_SLICE(UI_RESET))) on.n_bytes = 0;
        } else {
            n = ui_cluster(text + at, n_bytes - at, &columns);
            if (row->columns + columns > cols) {
                if (on.n_bytes) ds4_str_add_text(&row->text, UI_RESET);
                row = ui_rows_add(out);
                if (!row) return;
                ds4_str_add(&row->text, on.data, on.n_bytes);
            }
        }
        ds4_str_add(&row->text, text + at, n);
        row->columns += columns;
        at += n;
    }
}

int ui_cut(const ui_look *look, const char *text, size_t n_bytes, int cols, ds4_str *out)
{
    const char  *more = ui_marks(look, UI_MARK_MORE);
    const int    n_more = ui_columns(more, strlen(more));
    const size_t from = out->n_bytes;
    size_t       fits = from;           /* where the text is cut if it must be; its columns */
    int          sum = 0, n_fits = 0;

    for (size_t at = 0; at < n_bytes;) {
        int    columns = 0;
        size_t n = sequence(text + at, n_bytes - at);
        if (!n) n = ui_cluster(text + at, n_bytes - at, &columns);
        if (sum + columns > cols) {
            ds4_str_truncate(out, fits);
            ds4_str_add_text(out, more);
            ds4_str_add_text(out, UI_RESET);
            return n_fits + n_more;
        }
        sum += columns;
        ds4_str_add(out, text + at, n);
        if (sum + n_more <= cols) {
            fits = out->n_bytes;
            n_fits = sum;
        }
        at += n;
    }
    return sum;
}
