/* ui_markdown.c - see ui_markdown.h. There is no kept library for it: those that parse Markdown in C want the
 * whole text, and give a tree or HTML. What models write is a small part of it, a line at a time. */
#include "app/agent/ui_markdown.h"

#include <ctype.h>
#include <string.h>

enum { MAX_LINE = 8192, MAX_TABLE = 65536 };

/* ---- inside of a line ------------------------------------------------------------------------------- */

typedef struct inline_text {
    ui_flow    *flow;
    const char *text;
    size_t      n;
    bool        whole;          /* the line ended: what is open stays as it was written */
    bool        bold, italic, strike;
    ui_style    base;
} inline_text;

static ui_style style_now(const inline_text *t)
{
    if (t->strike) return UI_STRIKE;
    return t->bold ? t->italic ? UI_BOLD_ITALIC : UI_BOLD : t->italic ? UI_ITALIC : t->base;
}

static size_t find(const inline_text *t, size_t from, const char *what)
{
    const size_t n = strlen(what);

    for (size_t i = from; i + n <= t->n; i++) {
        if (t->text[i] == '\\') i++;
        else if (memcmp(t->text + i, what, n) == 0) return i;
    }
    return t->n;
}

/* A mark at `at` that opens or closes a style. Returns its bytes, 0 when it is text. */
static size_t take_mark(inline_text *t, size_t at)
{
    static const struct { const char *mark; int which; } marks[] = { { "**", 0 }, { "__", 0 }, { "~~", 2 },
                                                                     { "*", 1 },  { "_", 1 } };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        const char  *mark = marks[i].mark;
        const size_t n = strlen(mark);
        if (t->n - at < n || memcmp(t->text + at, mark, n) != 0) continue;
        bool      *on = marks[i].which == 0 ? &t->bold : marks[i].which == 1 ? &t->italic : &t->strike;
        const char before = at ? t->text[at - 1] : ' ', after = at + n < t->n ? t->text[at + n] : ' ';
        if (*mark == '_' && isalnum((unsigned char)before) && isalnum((unsigned char)after)) return 0;
        if (*on) {
            if (before == ' ') return 0;
            *on = false;
            return n;
        }
        if (isspace((unsigned char)after)) return !t->whole && at + n == t->n && n == 2 ? n : 0;
        if (find(t, at + n, mark) == t->n && (t->whole || n == 1)) return 0;
        *on = true;
        return n;
    }
    return 0;
}

static size_t take_code(inline_text *t, size_t at)
{
    size_t n = 1;
    char   close[9] = "`";

    while (n < 8 && at + n < t->n && t->text[at + n] == '`') close[n++] = '`';
    close[n] = '\0';
    const size_t end = find(t, at + n, close);
    if (end == t->n && t->whole) return 0;
    ui_flow_add(t->flow, UI_CODE, t->text + at + n, end - at - n);
    return (end == t->n ? end : end + n) - at;
}

/* [text](address): the text, and the address behind it when it says more. */
static size_t take_link(inline_text *t, size_t at)
{
    const size_t close = find(t, at + 1, "](");
    const size_t end = close < t->n ? find(t, close + 2, ")") : t->n;

    if (end == t->n || close == at + 1) return 0;
    const ds4_slice label = { t->text + at + 1, close - at - 1 },
                    url = { t->text + close + 2, end - close - 2 };
    ui_flow_add(t->flow, UI_LINK, label.data, label.n_bytes);
    if (!ds4_slice_eq(label, url) && url.n_bytes) {
        ui_flow_add(t->flow, UI_DIM, " (", 2);
        ui_flow_add(t->flow, UI_DIM, url.data, url.n_bytes);
        ui_flow_add(t->flow, UI_DIM, ")", 1);
    }
    return end + 1 - at;
}

static void add_inline(ui_flow *flow, ui_style base, const char *text, size_t n, bool whole)
{
    inline_text t = { .flow = flow, .text = text, .n = n, .whole = whole, .base = base };

    for (size_t at = 0; at < n;) {
        size_t taken = 0;
        if (text[at] == '\\' && at + 1 < n && ispunct((unsigned char)text[at + 1])) {
            ui_flow_add(flow, style_now(&t), text + at + 1, 1);
            taken = 2;
        } else if (text[at] == '`') {
            taken = take_code(&t, at);
        } else if (strchr("*_~", text[at])) {
            taken = take_mark(&t, at);
        } else if (text[at] == '[') {
            taken = take_link(&t, at);
        }
        if (!taken) {
            size_t end = at + 1;
            while (end < n && !strchr("\\`*_~[", text[end])) end++;
            ui_flow_add(flow, style_now(&t), text + at, end - at);
            taken = end - at;
        }
        at += taken;
    }
}

/* ---- lines ------------------------------------------------------------------------------------------- */

/* The mark of a list item and the space behind it, from `at`; 0 for none. */
static size_t list_mark(const char *text, size_t n, size_t at)
{
    size_t end = at;

    if (end < n && strchr("-*+", text[end])) {
        end++;
    } else {
        while (end < n && end - at < 4 && isdigit((unsigned char)text[end])) end++;
        if (end == at || end >= n || !strchr(".)", text[end])) return 0;
        end++;
    }
    return end < n && text[end] == ' ' ? end + 1 - at : 0;
}

static bool is_rule(const char *text, size_t n, size_t at)
{
    size_t marks = 0;

    for (size_t i = at; i < n; i++) {
        if (text[i] == text[at]) marks++;
        else if (text[i] != ' ') return false;
    }
    return marks >= 3 && strchr("-*_", text[at]);
}

static void lay_item(ui_flow *flow, const ui_look *look, const char *text, size_t n, size_t indent,
                     size_t mark, bool whole)
{
    ds4_str lead = { 0 }, later = { 0 };
    size_t  deep = indent > 24 ? 24 : indent;

    for (size_t i = 0; i < deep; i++) ds4_str_add_char(&lead, ' ');
    ds4_str_add(&later, ds4_str_text(&lead), lead.n_bytes);
    if (isdigit((unsigned char)text[indent])) ds4_str_add(&lead, text + indent, mark);
    else ds4_str_addf(&lead, "%s ", ui_marks(look, UI_MARK_BULLET));
    for (size_t i = 0; i < (isdigit((unsigned char)text[indent]) ? mark : 2); i++)
        ds4_str_add_char(&later, ' ');
    flow->lead = (ds4_slice){ ds4_str_text(&lead), lead.n_bytes };
    flow->later = (ds4_slice){ ds4_str_text(&later), later.n_bytes };
    flow->lead_style = UI_USER;
    add_inline(flow, UI_PLAIN, text + indent + mark, n - indent - mark, whole);
    ui_flow_end(flow);
    ds4_str_clear(&lead);
    ds4_str_clear(&later);
}

static void lay_quote(ui_flow *flow, const ui_look *look, const char *text, size_t n, size_t at, bool whole)
{
    ds4_str lead = { 0 };

    ds4_str_addf(&lead, "%s ", ui_marks(look, UI_MARK_QUOTE));
    flow->lead = flow->later = (ds4_slice){ ds4_str_text(&lead), lead.n_bytes };
    flow->lead_style = UI_DIM;
    at += at + 1 < n && text[at + 1] == ' ' ? 2 : 1;
    add_inline(flow, UI_ITALIC, text + at, n - at, whole);
    ui_flow_end(flow);
    ds4_str_clear(&lead);
}

/* A line outside of code and tables. */
static void lay_line(const ui_markdown *m, const char *text, size_t n, bool whole, ui_rows *out)
{
    ui_flow flow = { .look = m->look, .cols = m->cols, .out = out };
    size_t  at = 0, hashes = 0;

    if (m->plain) {
        ui_flow_add(&flow, UI_DIM, text, n);
        ui_flow_end(&flow);
        return;
    }
    while (at < n && text[at] == ' ') at++;
    while (at + hashes < n && hashes < 7 && text[at + hashes] == '#') hashes++;
    const size_t mark = list_mark(text, n, at);
    if (hashes >= 1 && hashes <= 6 && at + hashes < n && text[at + hashes] == ' ') {
        add_inline(&flow, UI_HEADING, text + at + hashes + 1, n - at - hashes - 1, whole);
        ui_flow_end(&flow);
    } else if (whole && at < n && is_rule(text, n, at)) {
        for (int i = 0; i < m->cols && i < 40; i++) {
            const char *rule = ui_marks(m->look, UI_MARK_RULE);
            ui_flow_add(&flow, UI_DIM, rule, strlen(rule));
        }
        ui_flow_end(&flow);
    } else if (mark) {
        lay_item(&flow, m->look, text, n, at, mark, whole);
    } else if (at < n && text[at] == '>') {
        lay_quote(&flow, m->look, text, n, at, whole);
    } else {
        add_inline(&flow, UI_PLAIN, text, n, whole);
        ui_flow_end(&flow);
    }
}

static void lay_code(const ui_markdown *m, ds4_slice text, int *inside, ui_rows *out)
{
    ui_row *row = ui_rows_add(out);

    if (!row) return;
    row->soft = true;
    ui_code_line(m->look, m->family, text, inside, &row->text);
}

/* ---- fences ------------------------------------------------------------------------------------------- */

/* The number of marks of a line that may begin or end a fence, and what follows; 0 for none. */
static size_t fence_of(ds4_slice line, char *mark, ds4_slice *info)
{
    size_t at = 0, n = 0;

    while (at < line.n_bytes && at < 8 && line.data[at] == ' ') at++;
    if (at == line.n_bytes || !strchr("`~", line.data[at])) return 0;
    *mark = line.data[at];
    while (at + n < line.n_bytes && line.data[at + n] == *mark) n++;
    *info = (ds4_slice){ line.data + at + n, line.n_bytes - at - n };
    while (info->n_bytes && info->data[0] == ' ') info->data++, info->n_bytes--;
    if (n < 3 || (*mark == '`' && info->n_bytes && memchr(info->data, '`', info->n_bytes))) return 0;
    return n;
}

static ds4_slice first_word(ds4_slice text)
{
    size_t n = 0;
    while (n < text.n_bytes && !strchr(" ,{:", text.data[n])) n++;
    return (ds4_slice){ text.data, n };
}

/* Does the line begin or end a fence? Then the state changes. */
static bool take_fence(ui_markdown *m, ds4_slice line)
{
    char         mark = 0;
    ds4_slice    info = { "", 0 };
    const size_t n = fence_of(line, &mark, &info);

    if (n == 0 || (m->fenced && (mark != m->fence || n < m->n_fence || info.n_bytes))) return false;
    m->fenced = !m->fenced;
    m->fence = mark;
    m->n_fence = n;
    m->family = m->fenced ? ui_code_of(first_word(info)) : UI_CODE_NONE;
    m->inside = 0;
    return true;
}

/* ---- the stream ------------------------------------------------------------------------------------- */

static bool is_table(const ui_markdown *m, ds4_slice line)
{
    size_t at = 0;

    while (at < line.n_bytes && line.data[at] == ' ') at++;
    return !m->fenced && at < line.n_bytes && line.data[at] == '|';
}

static void end_table(ui_markdown *m, ui_rows *out)
{
    if (m->table.n_bytes == 0) return;
    ui_table_rows(m->look, m->cols, (ds4_slice){ m->table.data, m->table.n_bytes }, out);
    ds4_str_truncate(&m->table, 0);
}

static void lay_whole(ui_markdown *m, ds4_slice line, ui_rows *out)
{
    if (m->plain) {
        lay_line(m, line.data, line.n_bytes, true, out);
        return;
    }
    if (m->table.n_bytes && (!is_table(m, line) || m->table.n_bytes > MAX_TABLE)) end_table(m, out);
    if (take_fence(m, line)) {
        ui_row *row = ui_rows_add(out);
        if (row) ui_styled(m->look, UI_DIM, line, &row->text);
    } else if (m->fenced) {
        lay_code(m, line, &m->inside, out);
    } else if (is_table(m, line)) {
        ds4_str_add(&m->table, line.data, line.n_bytes);
        ds4_str_add_char(&m->table, '\n');
    } else {
        const bool blank = strspn(line.data, " ") >= line.n_bytes;
        if (!blank || !m->blank) lay_line(m, line.data, line.n_bytes, true, out);
        m->blank = blank;
        return;
    }
    m->blank = false;
}

static void end_line(ui_markdown *m, ui_rows *out)
{
    const size_t    before = out->n;
    const ds4_slice line = { ds4_str_text(&m->line), m->line.n_bytes };

    lay_whole(m, line, out);
    /* Those that were given while the line grew are there already. */
    for (size_t i = 0; i < m->n_given && before < out->n; i++) {
        ds4_str_clear(&out->row[before].text);
        memmove(out->row + before, out->row + before + 1, (out->n - before - 1) * sizeof *out->row);
        out->n--;
    }
    m->n_given = 0;
    ds4_str_truncate(&m->line, 0);
}

void ui_markdown_add(ui_markdown *m, const char *text, size_t n_bytes, ui_rows *out)
{
    while (n_bytes > 0) {
        const char  *end = memchr(text, '\n', n_bytes);
        const size_t n = end ? (size_t)(end - text) : n_bytes;
        ds4_str_add(&m->line, text, n);
        if (end || m->line.n_bytes > MAX_LINE) end_line(m, out);
        text += end ? n + 1 : n;
        n_bytes -= end ? n + 1 : n;
    }
}

void ui_markdown_end(ui_markdown *m, ui_rows *out)
{
    if (m->line.n_bytes) end_line(m, out);
    end_table(m, out);
    const ui_look *look = m->look;
    const int      cols = m->cols;
    ui_markdown_clear(m);
    m->look = look;
    m->cols = cols;
}

/* The last line of lines that all ended. */
static const char *last_line(const ds4_str *lines)
{
    size_t at = lines->n_bytes ? lines->n_bytes - 1 : 0;

    while (at > 0 && lines->data[at - 1] != '\n') at--;
    return ds4_str_text(lines) + at;
}

void ui_markdown_open(ui_markdown *m, size_t most, ui_rows *given, ui_rows *out)
{
    const ds4_slice line = { ds4_str_text(&m->line), m->line.n_bytes };
    ui_rows         rows = { 0 };
    char            mark;
    ds4_slice       info;
    int             inside = m->inside;

    if (line.n_bytes == 0 && m->table.n_bytes == 0) return;
    if (!m->plain && (m->table.n_bytes || is_table(m, line))) {
        const char  *shown = line.n_bytes ? line.data : last_line(&m->table);
        ui_row      *row = ui_rows_add(out);
        if (row) row->columns = ui_cut(m->look, shown, strcspn(shown, "\n"), m->cols, &row->text);
        return;
    }
    if (m->fenced || (!m->plain && fence_of(line, &mark, &info))) {
        ds4_str text = { 0 };
        ui_code_line(m->look, m->family, line, &inside, &text);
        ui_split(ds4_str_text(&text), text.n_bytes, m->cols, &rows);
        ds4_str_clear(&text);
        if (rows.n > most)
            ui_rows_drop(&rows, rows.n - most); /* it is given whole, as one line, when it ends */
    } else {
        lay_line(m, line.data, line.n_bytes, false, &rows);
        ui_rows_drop(&rows, m->n_given);
        while (rows.n > most) {
            ui_row *row = ui_rows_add(given);
            if (!row) break;
            *row = rows.row[0];
            rows.row[0] = (ui_row){ 0 };
            ui_rows_drop(&rows, 1);
            m->n_given++;
        }
    }
    for (size_t i = 0; i < rows.n; i++) {
        ui_row *row = ui_rows_add(out);
        if (row) *row = rows.row[i], rows.row[i] = (ui_row){ 0 };
    }
    ui_rows_clear(&rows);
}

void ui_markdown_clear(ui_markdown *m)
{
    ds4_str_clear(&m->line);
    ds4_str_clear(&m->table);
    *m = (ui_markdown){ 0 };
}
