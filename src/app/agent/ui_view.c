/* ui_view.c - see ui_view.h. */
#include "app/agent/ui_view.h"

#include "app/agent/ui_width.h"

#include <stdio.h>
#include <string.h>

enum { MAX_TAIL_LINE = 512, MAX_ARGUMENTS = 1 << 20, LEAST_LIVE = 3 };

static ds4_slice slice(const ds4_str *s)
{
    return (ds4_slice){ ds4_str_text(s), s->n_bytes };
}

/* ---- rows for good ---------------------------------------------------------------------------------- */

static void blank(ui_view *v)
{
    if (v->spaced) return;
    ui_rows_add(&v->given);
    v->spaced = true;
}

/* A clean line, wrapped. */
static void give_line(ui_view *v, ui_style style, ds4_slice lead, ui_style lead_style, ds4_slice text)
{
    ds4_str spaces = { 0 };
    ui_flow flow = {
        .look = &v->look, .cols = v->cols - 1, .out = &v->given, .lead = lead, .lead_style = lead_style
    };

    for (int i = ui_columns(lead.data, lead.n_bytes); i > 0; i--) ds4_str_add_char(&spaces, ' ');
    flow.later = slice(&spaces);
    ui_flow_add(&flow, style, text.data, text.n_bytes);
    ui_flow_end(&flow);
    ds4_str_clear(&spaces);
    v->spaced = false;
}

/* Lines from outside; the first behind a lead. */
static void give_text(ui_view *v, ui_style style, const char *mark, ui_style lead_style, ds4_slice text)
{
    ds4_str   clean = { 0 }, lead = { 0 };
    ds4_slice rest;

    ui_scrub_text(text, false, &clean);
    while (clean.n_bytes && clean.data[clean.n_bytes - 1] == '\n')
        ds4_str_truncate(&clean, clean.n_bytes - 1);
    if (mark) ds4_str_addf(&lead, "%s ", mark);
    for (rest = slice(&clean); rest.n_bytes;) {
        const char  *end = memchr(rest.data, '\n', rest.n_bytes);
        const size_t n = end ? (size_t)(end - rest.data) : rest.n_bytes;
        give_line(v, style, slice(&lead), lead_style, (ds4_slice){ rest.data, n });
        for (size_t i = 0; i < lead.n_bytes; i++) lead.data[i] = ' ';
        if (mark && lead.n_bytes > 2) ds4_str_truncate(&lead, 2);
        rest.data += end ? n + 1 : n;
        rest.n_bytes -= end ? n + 1 : n;
    }
    ds4_str_clear(&clean);
    ds4_str_clear(&lead);
}

/* ---- what is being written -------------------------------------------------------------------------- */

static void end_text(ui_view *v)
{
    ds4_str rest = { 0 };

    if (v->open == UI_OPEN_NONE) return;
    ui_scrub_end(&v->scrub, &rest);
    ui_markdown_add(&v->markdown, ds4_str_text(&rest), rest.n_bytes, &v->given);
    ui_markdown_end(&v->markdown, &v->given);
    ds4_str_clear(&rest);
    v->open = UI_OPEN_NONE;
    v->spaced = v->after_call = false;
}

static void add_text(ui_view *v, ui_open open, ds4_slice text)
{
    ds4_str clean = { 0 };

    if (v->open != open) {
        end_text(v);
        blank(v);
        v->open = open;
        v->markdown.look = &v->look;
        v->markdown.cols = v->cols - 1;
        v->markdown.plain = open == UI_OPEN_REASONING;
        /* Models begin with newlines. */
        while (text.n_bytes && text.data[0] == '\n') text.data++, text.n_bytes--;
    }
    ui_scrub_add(&v->scrub, text.data, text.n_bytes, &clean);
    const size_t before = v->given.n;
    ui_markdown_add(&v->markdown, ds4_str_text(&clean), clean.n_bytes, &v->given);
    if (v->given.n > before) v->spaced = false;
    ds4_str_clear(&clean);
}

/* ---- calls ------------------------------------------------------------------------------------------ */

static void clear_call(ui_call *c)
{
    ds4_str_clear(&c->id);
    ds4_str_clear(&c->name);
    ds4_str_clear(&c->arguments);
    for (int i = 0; i < UI_VIEW_TAIL_ROWS; i++) ds4_str_clear(&c->tail[i]);
    *c = (ui_call){ 0 };
}

static bool is_call(const ui_call *c, const ds4_tool_call *call)
{
    return c->there && ds4_slice_eq(slice(&c->id), call->id);
}

static void begin_call(ui_view *v, const ds4_tool_call *call)
{
    end_text(v);
    if (is_call(&v->call, call)) return;
    clear_call(&v->call);
    v->call.there = true;
    ds4_str_add(&v->call.id, call->id.data, call->id.n_bytes);
    ds4_str_add(&v->call.name, call->name.data, call->name.n_bytes);
}

static void run_call(ui_view *v, const ds4_tool_call *call)
{
    begin_call(v, call);
    v->call.runs = true;
    ds4_str_truncate(&v->call.arguments, 0);
    ds4_str_add(&v->call.arguments, call->arguments.data, call->arguments.n_bytes);
}

/* A ring of the last lines. */
static ds4_str *tail_line(ui_call *c, uint32_t i)
{
    return &c->tail[i % UI_VIEW_TAIL_ROWS];
}

static void add_output(ui_call *c, ds4_slice bytes)
{
    ds4_str clean = { 0 };

    ui_scrub_add(&c->scrub, bytes.data, bytes.n_bytes, &clean);
    for (size_t i = 0; i < clean.n_bytes; i++) {
        const bool first = c->n_lines == 0;
        if (first) c->n_lines = 1;
        ds4_str *line = tail_line(c, c->n_lines - 1);
        if (clean.data[i] == '\n') {
            c->n_lines++;
            ds4_str_truncate(tail_line(c, c->n_lines - 1), 0);
        } else if (line->n_bytes < MAX_TAIL_LINE || (clean.data[i] & 0xc0) == 0x80) {
            ds4_str_add_char(line, clean.data[i]);
        }
    }
    ds4_str_clear(&clean);
}

static uint32_t whole_lines(ui_call *c)
{
    return c->n_lines && tail_line(c, c->n_lines - 1)->n_bytes == 0 ? c->n_lines - 1 : c->n_lines;
}

static void tail_rows(ui_view *v, ui_rows *out)
{
    ui_call       *c = &v->call;
    const uint32_t n = whole_lines(c), room = UI_VIEW_TAIL_ROWS - 1;
    const uint32_t from = n > room ? n - room : 0;

    for (uint32_t i = from; i < n; i++) {
        ds4_str line = { 0 }, cut = { 0 };
        ds4_str_addf(&line, "  %s %s", ui_marks(&v->look, UI_MARK_QUOTE), ds4_str_text(tail_line(c, i)));
        if (i == from && from) ds4_str_addf(&line, "  (%u lines before)", from);
        ui_cut(&v->look, line.data, line.n_bytes, v->cols - 1, &cut);
        ui_rows_add_text(out, &v->look, UI_DIM, ds4_str_text(&cut));
        ds4_str_clear(&line);
        ds4_str_clear(&cut);
    }
}

static void title_row(ui_view *v, ui_mark mark, ui_style style, const char *more, ui_rows *out)
{
    ui_row *row = ui_rows_add(out);
    ds4_str title = { 0 }, text = { 0 };

    if (!row) return;
    const char *sign = ui_marks(&v->look, mark);
    ui_call_title(slice(&v->call.name), slice(&v->call.arguments), &title);
    ui_styled(&v->look, style, (ds4_slice){ sign, strlen(sign) }, &text);
    ds4_str_add_char(&text, ' ');
    const char  *body = ds4_str_text(&title);
    const size_t n = strcspn(body, " ");
    ui_styled(&v->look, UI_BOLD, (ds4_slice){ body, n }, &text);
    ds4_str_add_text(&text, body + n);
    if (*more) {
        ds4_str_add_text(&text, "  ");
        ui_styled(&v->look, UI_DIM, (ds4_slice){ more, strlen(more) }, &text);
    }
    row->columns = ui_cut(&v->look, text.data, text.n_bytes, v->cols - 1, &row->text);
    ds4_str_clear(&title);
    ds4_str_clear(&text);
}

/* The line of a call goes above its diff or its end, once. */
static void give_title(ui_view *v, ui_mark mark, ui_style style, const char *more)
{
    if (v->call.titled) return;
    v->call.titled = true;
    if (!v->after_call) blank(v);
    v->after_call = true;
    title_row(v, mark, style, more, &v->given);
    v->spaced = false;
}

static void add_diff(ui_view *v, const ds4_str *diff)
{
    ds4_str   clean = { 0 };
    ds4_slice rest;
    uint32_t  n = 0, n_all = 0;

    ui_scrub_text(slice(diff), false, &clean);
    for (rest = slice(&clean); rest.n_bytes;) {
        const char  *end = memchr(rest.data, '\n', rest.n_bytes);
        const size_t n_line = end ? (size_t)(end - rest.data) : rest.n_bytes;
        const bool head =
            n_all < 2 && n_line > 3 && (!memcmp(rest.data, "---", 3) || !memcmp(rest.data, "+++", 3));
        ui_row      *row = !head && n < UI_VIEW_DIFF_ROWS ? ui_rows_add(&v->given) : NULL;
        if (row) {
            ds4_str styled = { 0 };
            int     inside = 0;
            ds4_str_add_text(&row->text, "  ");
            ui_code_line(&v->look, UI_CODE_DIFF, (ds4_slice){ rest.data, n_line }, &inside, &styled);
            ui_cut(&v->look, ds4_str_text(&styled), styled.n_bytes, v->cols - 3, &row->text);
            ds4_str_clear(&styled);
        }
        n += !head;
        n_all++;
        rest.data += end ? n_line + 1 : n_line;
        rest.n_bytes -= end ? n_line + 1 : n_line;
    }
    if (n > UI_VIEW_DIFF_ROWS) {
        ds4_str more = { 0 };
        ds4_str_addf(&more, "  %s %u more lines", ui_marks(&v->look, UI_MARK_MORE), n - UI_VIEW_DIFF_ROWS);
        ui_rows_add_text(&v->given, &v->look, UI_DIM, more.data);
        ds4_str_clear(&more);
    }
    ds4_str_clear(&clean);
}

/* Of a change that was asked about, all is there. */
static void add_change(ui_view *v, const ds4_tool_change *change)
{
    if (v->call.asked) return;
    give_title(v, UI_MARK_OK, UI_OK, change->made ? "new file" : change->removed ? "removed" : "");
    add_diff(v, &change->diff);
}

static uint32_t count_lines(ds4_slice text)
{
    uint32_t n = 0;
    for (size_t i = 0; i < text.n_bytes; i++) n += text.data[i] == '\n';
    return n + (text.n_bytes && text.data[text.n_bytes - 1] != '\n');
}

static void end_call(ui_view *v, const ds4_front_event *e)
{
    const ds4_tool_result *r = e->result;
    ds4_str                more = { 0 };

    if (!is_call(&v->call, e->call)) run_call(v, e->call);
    const uint32_t n = r ? count_lines(slice(&r->text)) : 0;
    if (r && r->denied) ds4_str_add_text(&more, "not allowed");
    else if (n > 1 && v->call.n_lines == 0) ds4_str_addf(&more, "%u lines", n);
    give_title(v, r && r->failed ? UI_MARK_BAD : UI_MARK_OK, r && r->failed ? UI_ERROR : UI_OK,
               ds4_str_text(&more));
    tail_rows(v, &v->given);
    if (r && r->failed) {
        ds4_slice first = slice(&r->text);
        const char *end = memchr(first.data, '\n', first.n_bytes);
        if (end) first.n_bytes = (size_t)(end - first.data);
        if (first.n_bytes > 300) first.n_bytes = ds4_utf8_safe_bytes(first.data, 300);
        give_text(v, UI_WARN, " ", UI_PLAIN, first);
    }
    ds4_str_clear(&more);
    clear_call(&v->call);
    v->spaced = false;
}

void ui_view_question(ui_view *v, const ds4_question *question)
{
    end_text(v);
    ds4_str_truncate(&v->question, 0);
    ui_scrub_text(question->tool, true, &v->question);
    ds4_str_add_text(&v->question, " wants to: ");
    ui_scrub_text(question->what, true, &v->question);
    if (question->diff.n_bytes) {
        const ds4_str diff = { .data = (char *)(uintptr_t)question->diff.data,
                               .n_bytes = question->diff.n_bytes };
        give_title(v, UI_MARK_RUN, UI_WARN, "");
        add_diff(v, &diff);
        v->call.asked = true;
    }
}

void ui_view_answer(ui_view *v, const char *answer)
{
    ds4_str_addf(&v->question, "  %s", answer);
    give_text(v, UI_WARN, "?", UI_WARN, slice(&v->question));
    ds4_str_truncate(&v->question, 0);
}

/* ---- events ----------------------------------------------------------------------------------------- */

static void add_session(ui_view *v, const ds4_session_facts *s)
{
    ds4_str text = { 0 };

    ds4_str_truncate(&v->root, 0);
    ds4_str_add_text(&v->root, s->root);
    end_text(v);
    blank(v);
    ds4_str_addf(&text, "ds4-agent  %s  in %s", s->model, s->root);
    give_text(v, UI_HEADING, NULL, UI_PLAIN, slice(&text));
    ds4_str_truncate(&text, 0);
    ds4_str_addf(&text, "%s\nsession %s%s%s%s", s->sandbox, s->id, *s->title ? ": " : "", s->title,
                 s->resumed ? "\nIts last turn was cut short; /continue goes on with it." : "");
    give_text(v, UI_DIM, NULL, UI_PLAIN, slice(&text));
    ds4_str_clear(&text);
}

static void settle(ui_view *v, const ds4_front_event *e)
{
    end_text(v);
    if (v->call.there && v->call.runs) give_title(v, UI_MARK_BAD, UI_WARN, "");
    clear_call(&v->call);
    if (e->stop == DS4_STOP_DONE || e->stop == DS4_STOP_QUEUED || e->stop == DS4_STOP_FAILED) return;
    ds4_str text = { 0 };
    ds4_str_addf(&text, "[stopped: %s]", ds4_stop_name(e->stop));
    give_text(v, UI_WARN, NULL, UI_PLAIN, slice(&text));
    ds4_str_clear(&text);
}

static void add_user(ui_view *v, ds4_slice text)
{
    end_text(v);
    blank(v);
    v->after_call = false;
    give_text(v, UI_BOLD, ui_marks(&v->look, UI_MARK_USER), UI_USER, text);
}

static void keep_queue(ui_view *v, const ds4_front_event *e)
{
    v->n_queued = e->n;
    ds4_str_truncate(&v->queued, 0);
    if (e->n) ui_scrub_text(e->text, true, &v->queued);
}

static void call_event(ui_view *v, const ds4_front_event *e)
{
    switch (e->kind) {
    case DS4_FRONT_CALL_BEGIN: begin_call(v, e->call); break;
    case DS4_FRONT_CALL_ARGUMENTS:
        begin_call(v, e->call);
        if (v->call.arguments.n_bytes < MAX_ARGUMENTS)
            ds4_str_add(&v->call.arguments, e->text.data, e->text.n_bytes);
        break;
    case DS4_FRONT_CALL_DROPPED: clear_call(&v->call); break;
    case DS4_FRONT_CALL_RUN: run_call(v, e->call); break;
    case DS4_FRONT_TOOL_OUTPUT:
        if (is_call(&v->call, e->call)) add_output(&v->call, e->text);
        break;
    case DS4_FRONT_CHANGE:
        if (!is_call(&v->call, e->call)) run_call(v, e->call);
        add_change(v, e->change);
        break;
    default: end_call(v, e); break;
    }
}

void ui_view_event(ui_view *v, const ds4_front_event *e)
{
    switch (e->kind) {
    case DS4_FRONT_SESSION: add_session(v, e->session); break;
    case DS4_FRONT_USER: add_user(v, e->text); break;
    case DS4_FRONT_PREFILL:
        v->n_done = e->progress.done;
        v->n_total = e->progress.total;
        break;
    case DS4_FRONT_REASONING: add_text(v, UI_OPEN_REASONING, e->text); break;
    case DS4_FRONT_ANSWER: add_text(v, UI_OPEN_ANSWER, e->text); break;
    case DS4_FRONT_QUEUE: keep_queue(v, e); break;
    case DS4_FRONT_STATUS: v->status = *e->status; break;
    case DS4_FRONT_NOTE:
        end_text(v);
        give_text(v, UI_PLAIN, NULL, UI_PLAIN, e->text);
        break;
    case DS4_FRONT_ERROR:
        end_text(v);
        give_text(v, UI_ERROR, ui_marks(&v->look, UI_MARK_BAD), UI_ERROR, e->text);
        break;
    case DS4_FRONT_SETTLED: settle(v, e); break;
    default: call_event(v, e); break;
    }
}

void ui_view_size(ui_view *v, int cols, int rows)
{
    v->cols = cols;
    v->rows = rows;
    v->markdown.cols = cols - 1;
}

/* ---- what may change -------------------------------------------------------------------------------- */

static void queue_row(ui_view *v, ui_rows *out)
{
    ds4_str text = { 0 }, cut = { 0 };

    if (!v->n_queued) return;
    ds4_str_addf(&text, "waits%s: %s", v->n_queued > 1 ? " (the last of several)" : "",
                 ds4_str_text(&v->queued));
    ui_cut(&v->look, text.data, text.n_bytes, v->cols - 1, &cut);
    ui_rows_add_text(out, &v->look, UI_WARN, ds4_str_text(&cut));
    ds4_str_clear(&text);
    ds4_str_clear(&cut);
}

void ui_view_live(ui_view *v, size_t most, ui_rows *out)
{
    const size_t before = out->n, text = most > LEAST_LIVE ? most - LEAST_LIVE : 1;
    const size_t given = v->given.n;
    ds4_str      styled = { 0 };

    if (v->open != UI_OPEN_NONE) ui_markdown_open(&v->markdown, text, &v->given, out);
    if (v->given.n > given) v->spaced = false;
    if (v->call.there) {
        char more[64] = "";
        if (!v->call.runs && v->call.arguments.n_bytes > 200) {
            snprintf(more, sizeof more, "%zu bytes", v->call.arguments.n_bytes);
        }
        if (!v->call.titled) title_row(v, UI_MARK_RUN, UI_WARN, more, out);
        tail_rows(v, out);
    }
    if (v->question.n_bytes) {
        ds4_str asked = { 0 };
        ds4_str_addf(&asked, "? %s", v->question.data);
        ui_styled(&v->look, UI_WARN, slice(&asked), &styled);
        ui_split(ds4_str_text(&styled), styled.n_bytes, v->cols - 1, out);
        ds4_str_clear(&asked);
    }
    ds4_str_clear(&styled);
    queue_row(v, out);
    while (out->n > before + most) ds4_str_clear(&out->row[--out->n].text);
}

static void add_count(ds4_str *out, uint32_t n)
{
    if (n < 1000) ds4_str_addf(out, "%u", n);
    else ds4_str_addf(out, "%.1fk", n / 1000.0);
}

static void add_state(const ui_view *v, ds4_str *out)
{
    static const char *const names[] = { [DS4_AGENT_IDLE] = "ready",
                                         [DS4_AGENT_READING] = "reading",
                                         [DS4_AGENT_WRITING] = "writing",
                                         [DS4_AGENT_CALLING] = "running",
                                         [DS4_AGENT_COMPACTING] = "compacting",
                                         [DS4_AGENT_SAVING] = "saving" };
    const ds4_agent_status *s = &v->status;

    ds4_str_add_text(out, s->state <= DS4_AGENT_SAVING ? names[s->state] : "");
    if (s->state == DS4_AGENT_READING && v->n_total) {
        ds4_str_add_char(out, ' ');
        const uint32_t full = (uint32_t)((uint64_t)v->n_done * 10 / v->n_total);
        for (uint32_t i = 0; i < 10; i++) {
            ds4_str_add_text(out, ui_marks(&v->look, i < full ? UI_MARK_FULL : UI_MARK_EMPTY));
        }
        ds4_str_addf(out, " %u/%u", v->n_done, v->n_total);
    }
    if (s->state == DS4_AGENT_WRITING) ds4_str_addf(out, " %u tokens", s->n_written);
}

void ui_view_status(const ui_view *v, const char *hint, ui_rows *out)
{
    static const char *const modes[] = { "", "asks first", "read-only", "yolo" };
    const ds4_agent_status  *s = &v->status;
    const char *dot = ui_marks(&v->look, UI_MARK_DOT);
    ds4_str text = { 0 }, cut = { 0 };

    add_state(v, &text);
    if (s->n_ctx) {
        ds4_str_addf(&text, " %s context ", dot);
        add_count(&text, s->n_used);
        ds4_str_add_char(&text, '/');
        add_count(&text, s->n_ctx);
        ds4_str_addf(&text, " (%u%%)", (uint32_t)((uint64_t)s->n_used * 100 / s->n_ctx));
    }
    if (s->n_prompt)
        ds4_str_addf(&text, " %s cached %u%%", dot, (uint32_t)((uint64_t)s->n_cached * 100 / s->n_prompt));
    if (s->read_tps > 0) ds4_str_addf(&text, " %s in %.0f t/s", dot, s->read_tps);
    if (s->write_tps > 0) ds4_str_addf(&text, " %s out %.1f t/s", dot, s->write_tps);
    if (s->planning) ds4_str_addf(&text, " %s plan", dot);
    if (s->mode <= DS4_TOOLS_YOLO && *modes[s->mode]) ds4_str_addf(&text, " %s %s", dot, modes[s->mode]);
    if (*hint) {
        ds4_str_truncate(&text, 0);
        ds4_str_add_text(&text, hint);
    }
    ui_cut(&v->look, ds4_str_text(&text), text.n_bytes, v->cols - 1, &cut);
    ui_rows_add_text(out, &v->look, UI_DIM, ds4_str_text(&cut));
    ds4_str_clear(&text);
    ds4_str_clear(&cut);
}

void ui_view_clear(ui_view *v)
{
    ui_markdown_clear(&v->markdown);
    clear_call(&v->call);
    ui_rows_clear(&v->given);
    ds4_str_clear(&v->queued);
    ds4_str_clear(&v->question);
    ds4_str_clear(&v->root);
}
