/* dsml_block.c - see dsml_block.h. */
#include "text/dsml_block.h"

#include <stdlib.h>

/* ---- handing out text ---- */

void ds4_dsml_emit(ds4_dsml *r, size_t end)
{
    ds4_str *sink = ds4_dsml_thinking(r) ? &r->reasoning : &r->content;
    if (end > r->pos) {
        ds4_utf8_stream_add(&r->utf8, r->text.bytes.data + r->pos, end - r->pos, sink);
    }
    r->pos = end;
}

void ds4_dsml_change_state(ds4_dsml *r, size_t end, size_t next, ds4_dsml_state state)
{
    ds4_dsml_emit(r, end);
    ds4_utf8_stream_flush(&r->utf8, ds4_dsml_thinking(r) ? &r->reasoning : &r->content);
    r->pos = r->at = r->section = next;
    r->phase = DS4_DSML_PHASE_NONE;
    r->result.state = state;
}

size_t ds4_dsml_before_line_ends(const ds4_dsml *r, size_t end)
{
    const size_t first = r->pos > r->section ? r->pos : r->section;
    size_t n = 0;
    while (n < 2 && end - n > first && r->text.bytes.data[end - n - 1] == '\n') n++;
    return end - n;
}

/* ---- calls ---- */

static void open_call(ds4_dsml *r, const ds4_dsml_tag *tag)
{
    if (r->n_builds == r->capacity) {
        const uint32_t capacity = r->capacity ? r->capacity * 2 : 4;
        ds4_dsml_build *builds = realloc(r->builds, capacity * sizeof *builds);
        if (builds) r->builds = builds;
        ds4_dsml_call *calls = builds ? realloc(r->calls, capacity * sizeof *calls) : NULL;
        if (calls) r->calls = calls;
        if (!calls) {
            r->failed = true;
            return;
        }
        r->capacity = capacity;
    }
    if (r->changed > r->n_builds) r->changed = r->n_builds;
    ds4_dsml_build_open(&r->builds[r->n_builds++], tag->name, r->opt.tools, r->opt.n_tools);
}

static ds4_dsml_build *last_call(ds4_dsml *r)
{
    return &r->builds[r->n_builds - 1];
}

static void close_call(ds4_dsml *r, size_t end)
{
    ds4_dsml_build_close(last_call(r));
    r->block_oddities |= last_call(r)->oddities;
    if (ds4_dsml_build_failed(last_call(r))) r->failed = true;
    r->settled = end;
    r->phase = DS4_DSML_PHASE_BETWEEN;
}

static void drop_last_call(ds4_dsml *r)
{
    ds4_dsml_build_clear(last_call(r));
    r->n_builds--;
    if (r->changed > r->n_builds) r->changed = r->n_builds;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t skip_space(const ds4_dsml *r, size_t at)
{
    const char *data = r->text.bytes.data;
    while (at < r->text.bytes.n_bytes && is_space(data[at])) at++;
    return at;
}

/* ---- the end of a block ---- */

void ds4_dsml_add_rest(ds4_dsml *r, size_t end)
{
    for (size_t i = r->pos; i < end; i++) {
        if (!is_space(r->text.bytes.data[i])) r->result.oddities |= DS4_DSML_TEXT_AFTER;
    }
    if (end > r->pos) ds4_str_add(&r->rest, r->text.bytes.data + r->pos, end - r->pos);
    r->pos = end;
}

/* The block is over: calls are calls. Its bytes end before `end`; reading goes on at `next`. */
static void accept_block(ds4_dsml *r, size_t end, size_t next)
{
    if (ds4_dsml_thinking(r)) r->block_oddities |= DS4_DSML_CALL_IN_THINK;
    r->result.oddities |= r->block_oddities;
    r->result.raw_calls = (ds4_slice){ NULL, end - r->pos };    /* lent by show() */
    r->section = r->pos;
    ds4_utf8_stream_flush(&r->utf8, ds4_dsml_thinking(r) ? &r->reasoning : &r->content);
    r->result.state = DS4_DSML_DONE;
    r->phase = DS4_DSML_PHASE_NONE;
    r->pos = r->at = next;
}

/* The block cannot be read on from `at`. Its complete calls stay calls and the remainder goes
 * to rest; without any it is text, and reading goes on as if it had been none. */
static void refuse_block(ds4_dsml *r)
{
    if (ds4_dsml_call_is_open(r)) drop_last_call(r);
    r->result.oddities |= DS4_DSML_MALFORMED;
    r->phase = DS4_DSML_PHASE_NONE;
    if (r->n_builds == 0 || ds4_dsml_thinking(r)) {
        while (r->n_builds > 0) drop_last_call(r);
        if (!ds4_dsml_thinking(r)) r->result.state = DS4_DSML_CONTENT;
        if (r->at <= r->opened) r->at = r->opened + 1;          /* not the same block again */
        return;
    }
    r->result.oddities |= r->block_oddities;
    ds4_utf8_stream_flush(&r->utf8, &r->content);
    r->pos = r->at = r->settled;
    r->result.state = DS4_DSML_DONE;
}

/* The names in a block inside reasoning must be those of tools. */
static bool all_known(const ds4_dsml *r)
{
    for (uint32_t i = 0; i < r->n_builds; i++) {
        if (!r->builds[i].known) return false;
    }
    return true;
}

/* The block ended in order. */
static void end_block(ds4_dsml *r, size_t end, size_t next)
{
    if (r->n_builds == 0 || (ds4_dsml_thinking(r) && !all_known(r))) {
        refuse_block(r);
    } else {
        accept_block(r, end, next);
    }
}

/* ---- reading a block ---- */

/* White space before a tag, as it was trained: one line end, or two in an empty invoke. */
static void note_spacing(ds4_dsml *r, size_t from, size_t to, bool may_be_two)
{
    const char *data = r->text.bytes.data + from;
    const bool one = to - from == 1 && data[0] == '\n';
    const bool two = may_be_two && to - from == 2 && data[0] == '\n' && data[1] == '\n';
    if (!one && !two) r->block_oddities |= DS4_DSML_SPACING;
}

void ds4_dsml_note_tag(ds4_dsml *r, const ds4_dsml_tag *tag)
{
    if (tag->odd) r->block_oddities |= DS4_DSML_VARIANT;
}

void ds4_dsml_cut_block(ds4_dsml *r)
{
    if (ds4_dsml_call_is_open(r)) drop_last_call(r);
    r->result.oddities |= r->block_oddities | DS4_DSML_CUT;
    ds4_utf8_stream_flush(&r->utf8, &r->content);
    r->phase = DS4_DSML_PHASE_NONE;
    if (r->n_builds > 0) r->pos = r->settled;
    r->at = r->pos;
    r->result.state = DS4_DSML_DONE;
}

void ds4_dsml_end_inside(ds4_dsml *r, size_t end, size_t next, bool cut)
{
    const bool residue = skip_space(r, r->at) < end;

    if (cut && !ds4_dsml_thinking(r)) {
        ds4_dsml_cut_block(r);
    } else if (!cut && r->phase == DS4_DSML_PHASE_BETWEEN && !r->wrapped && r->n_builds > 0) {
        end_block(r, r->settled, residue ? r->settled : next);
    } else if (!cut && r->phase != DS4_DSML_PHASE_VALUE && !residue) {
        r->block_oddities |= DS4_DSML_UNCLOSED;
        if (r->phase == DS4_DSML_PHASE_INVOKE) close_call(r, end);
        end_block(r, end, next);
    } else {
        refuse_block(r);
    }
}

/* The special token at a place, NONE behind the text. */
static ds4_sign sign_at(const ds4_dsml *r, size_t at, size_t *n_bytes)
{
    return at < r->text.bytes.n_bytes ? ds4_dsml_sign_at(&r->text, at, n_bytes) : DS4_SIGN_NONE;
}

/* Does a sign of the model's stand where a tag may? An end ends the block. The step returns *moved then. */
static bool stopped_by_sign(ds4_dsml *r, size_t at, bool *moved)
{
    size_t         n_sign = 0;
    const ds4_sign sign = sign_at(r, at, &n_sign);

    *moved = sign == DS4_SIGN_END;
    if (sign == DS4_SIGN_END) ds4_dsml_end_inside(r, at, at + n_sign, false);
    return sign == DS4_SIGN_END || sign == DS4_SIGN_MORE;
}

/* Each step returns true if it moved on, false if it needs more text. */

bool ds4_dsml_step_between(ds4_dsml *r)
{
    const size_t at = skip_space(r, r->at);
    ds4_dsml_tag tag;
    bool         moved = false;

    if (stopped_by_sign(r, at, &moved)) return moved;
    const ds4_found invoke = ds4_dsml_match_invoke(&r->text, at, &tag);
    if (invoke == DS4_FOUND_YES) {
        note_spacing(r, r->at, at, false);
        ds4_dsml_note_tag(r, &tag);
        open_call(r, &tag);
        r->at = tag.end;
        r->phase = DS4_DSML_PHASE_INVOKE;
        return true;
    }
    const ds4_found close = ds4_dsml_match_close_block(&r->text, at, &tag);
    if (close == DS4_FOUND_YES) {
        note_spacing(r, r->at, at, false);
        ds4_dsml_note_tag(r, &tag);
        end_block(r, tag.end, tag.end);
        return true;
    }
    if (invoke == DS4_FOUND_MORE || close == DS4_FOUND_MORE) return false;
    if (at >= r->text.bytes.n_bytes) return false;
    if (!r->wrapped && r->n_builds > 0) {
        end_block(r, r->settled, r->settled);
    } else {
        r->at = at;
        refuse_block(r);
    }
    return true;
}

/* Find the end of a call whose own closing tag is missing: the end of the block, or another call. */
static ds4_found implied_end(const ds4_dsml *r, size_t at)
{
    ds4_dsml_tag    tag;
    const ds4_found close = ds4_dsml_match_close_block(&r->text, at, &tag);

    if (close == DS4_FOUND_YES) return tag.real || !r->real ? close : DS4_FOUND_NO;
    const ds4_found next = ds4_dsml_match_invoke(&r->text, at, &tag);
    if (next == DS4_FOUND_YES) return tag.real || !r->real ? next : DS4_FOUND_NO;
    return close == DS4_FOUND_MORE || next == DS4_FOUND_MORE ? DS4_FOUND_MORE : DS4_FOUND_NO;
}

bool ds4_dsml_step_invoke(ds4_dsml *r)
{
    const size_t at = skip_space(r, r->at);
    ds4_dsml_tag tag;
    bool         moved = false;

    if (stopped_by_sign(r, at, &moved)) return moved;
    const ds4_found parameter = ds4_dsml_match_parameter(&r->text, at, &tag);
    if (parameter == DS4_FOUND_YES) {
        note_spacing(r, r->at, at, false);
        ds4_dsml_note_tag(r, &tag);
        ds4_dsml_build_parameter(last_call(r), &tag);
        r->value = r->value_done = r->at = tag.end;
        r->phase = DS4_DSML_PHASE_VALUE;
        return true;
    }
    const ds4_found close = ds4_dsml_match_close_invoke(&r->text, at, &tag);
    if (close == DS4_FOUND_YES) {
        note_spacing(r, r->at, at, last_call(r)->n_parameters == 0);
        ds4_dsml_note_tag(r, &tag);
        close_call(r, tag.end);
        r->at = tag.end;
        return true;
    }
    if (parameter == DS4_FOUND_MORE || close == DS4_FOUND_MORE) return false;
    if (at >= r->text.bytes.n_bytes) return false;
    const ds4_found implied = implied_end(r, at);
    if (implied == DS4_FOUND_MORE) return false;
    r->at = at;
    if (implied == DS4_FOUND_YES) {
        r->block_oddities |= DS4_DSML_UNCLOSED;
        close_call(r, at);
    } else {
        refuse_block(r);
    }
    return true;
}

/* Hand on the bytes of the value before `end`. */
static void emit_value(ds4_dsml *r, size_t end)
{
    ds4_dsml_build_value(last_call(r), r->text.bytes.data + r->value_done, end - r->value_done);
    r->value_done = end;
}

bool ds4_dsml_step_value(ds4_dsml *r)
{
    const size_t at = ds4_dsml_next_candidate(&r->text, r->at);
    ds4_dsml_tag tag;
    size_t       n_sign = 0;

    emit_value(r, at);
    r->at = at;
    if (at >= r->text.bytes.n_bytes) return false;

    const ds4_sign sign = ds4_dsml_sign_at(&r->text, at, &n_sign);
    if (sign == DS4_SIGN_END) {
        ds4_dsml_end_inside(r, at, at + n_sign, false);
        return true;
    }
    if (sign == DS4_SIGN_THINK_CLOSE && ds4_dsml_thinking(r)) {
        refuse_block(r);        /* it was only thought about */
        return true;
    }
    const ds4_found close = ds4_dsml_match_close_parameter(&r->text, at, r->real, &tag);
    if (close == DS4_FOUND_MORE || sign == DS4_SIGN_MORE) return false;
    if (close == DS4_FOUND_YES) {
        ds4_dsml_note_tag(r, &tag);
        const ds4_slice whole = { r->text.bytes.data + r->value, at - r->value };
        ds4_dsml_build_value_end(last_call(r), whole);
        r->at = tag.end;
        r->phase = DS4_DSML_PHASE_INVOKE;
        return true;
    }
    /* A value does not hold the special token in a tag that ends its call. */
    const ds4_found ends = r->real ? ds4_dsml_match_close_invoke(&r->text, at, &tag) : DS4_FOUND_NO;
    if (ends == DS4_FOUND_MORE) return false;
    if (ends == DS4_FOUND_YES && tag.real) {
        const ds4_slice whole = { r->text.bytes.data + r->value, at - r->value };
        r->block_oddities |= DS4_DSML_UNCLOSED;
        ds4_dsml_build_value_end(last_call(r), whole);
        r->phase = DS4_DSML_PHASE_INVOKE;
    } else {
        r->at = at + 1;
    }
    return true;
}
