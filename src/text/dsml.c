/* dsml.c - see dsml.h. The reader keeps the whole output and moves two places along it: up to
 * `pos` everything has been handed out, up to `at` it has been looked at. What lies between
 * is held back because it may become a tag. A block of calls is read from `at` on while
 * `pos` stays at its beginning, so that it can still turn out to be text. */
#include "text/dsml.h"

#include "text/dsml_call.h"

#include <stdlib.h>

/* What is expected inside a block. */
typedef enum phase {
    PHASE_NONE,                 /* not in a block */
    PHASE_BETWEEN,              /* an invoke or the end of the block */
    PHASE_INVOKE,               /* a parameter or the end of the invoke */
    PHASE_VALUE,                /* the value of a parameter */
} phase;

struct ds4_dsml {
    ds4_dsml_options opt;
    ds4_dsml_text    text;
    size_t           pos, at;
    size_t           section;           /* where the reasoning or the content began */
    size_t           value;             /* where the open value began */
    size_t           value_done;        /* its bytes before here were handed on */
    size_t           opened;            /* where the first tag of the block begins */
    size_t           settled;           /* behind the last complete invoke */
    phase            phase;
    bool             real, wrapped;     /* of the open block: see ds4_dsml_tag */
    bool             finished;          /* ds4_dsml_finish() was called */
    unsigned         block_oddities;    /* count only if the block stays one */
    ds4_str          reasoning, content, rest;
    ds4_utf8_stream  utf8;              /* of reasoning or content */
    ds4_dsml_build  *builds;            /* [n_builds] calls, the last one may be open */
    ds4_dsml_call   *calls;             /* [capacity] as shown to the caller */
    uint32_t         n_builds, capacity;
    uint32_t         changed;           /* calls before this one are shown as they are */
    bool             failed;
    ds4_dsml_result  result;
};

/* ---- handing out text ---- */

static ds4_slice slice_of(const ds4_str *s)
{
    return (ds4_slice){ ds4_str_text(s), s->n_bytes };
}

static bool thinking(const ds4_dsml *r)
{
    return r->result.state == DS4_DSML_THINK;
}

/* Hand out the text before `end` as reasoning or content. */
static void emit(ds4_dsml *r, size_t end)
{
    ds4_str *sink = thinking(r) ? &r->reasoning : &r->content;
    if (end > r->pos) {
        ds4_utf8_stream_add(&r->utf8, r->text.bytes.data + r->pos, end - r->pos, sink);
    }
    r->pos = end;
}

/* Hand out the text before `end` and go on in another state behind it. */
static void change_state(ds4_dsml *r, size_t end, size_t next, ds4_dsml_state state)
{
    emit(r, end);
    ds4_utf8_stream_flush(&r->utf8, thinking(r) ? &r->reasoning : &r->content);
    r->pos = r->at = r->section = next;
    r->phase = PHASE_NONE;
    r->result.state = state;
}

/* Line ends before `end` that belong to a block that may begin there, at most two. */
static size_t before_line_ends(const ds4_dsml *r, size_t end)
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
    r->phase = PHASE_BETWEEN;
}

static void drop_last_call(ds4_dsml *r)
{
    ds4_dsml_build_clear(last_call(r));
    r->n_builds--;
    if (r->changed > r->n_builds) r->changed = r->n_builds;
}

static bool call_is_open(const ds4_dsml *r)
{
    return r->phase == PHASE_INVOKE || r->phase == PHASE_VALUE;
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

/* Append to rest what lies before `end`; special tokens that end a turn are left out. */
static void add_rest(ds4_dsml *r, size_t end)
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
    if (thinking(r)) r->block_oddities |= DS4_DSML_CALL_IN_THINK;
    r->result.oddities |= r->block_oddities;
    r->result.raw_calls = (ds4_slice){ NULL, end - r->pos };    /* lent by show() */
    r->section = r->pos;
    ds4_utf8_stream_flush(&r->utf8, thinking(r) ? &r->reasoning : &r->content);
    r->result.state = DS4_DSML_DONE;
    r->phase = PHASE_NONE;
    r->pos = r->at = next;
}

/* The block cannot be read on from `at`. Its complete calls stay calls and the remainder goes
 * to rest; without any it is text, and reading goes on as if it had been none. */
static void refuse_block(ds4_dsml *r)
{
    if (call_is_open(r)) drop_last_call(r);
    r->result.oddities |= DS4_DSML_MALFORMED;
    r->phase = PHASE_NONE;
    if (r->n_builds == 0 || thinking(r)) {
        while (r->n_builds > 0) drop_last_call(r);
        if (!thinking(r)) r->result.state = DS4_DSML_CONTENT;
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
    if (r->n_builds == 0 || (thinking(r) && !all_known(r))) {
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

static void note_tag(ds4_dsml *r, const ds4_dsml_tag *tag)
{
    if (tag->odd) r->block_oddities |= DS4_DSML_VARIANT;
}

/* The limit fell into a block: what is not closed is no call, and no text either. */
static void cut_block(ds4_dsml *r)
{
    if (call_is_open(r)) drop_last_call(r);
    r->result.oddities |= r->block_oddities | DS4_DSML_CUT;
    ds4_utf8_stream_flush(&r->utf8, &r->content);
    r->phase = PHASE_NONE;
    if (r->n_builds > 0) r->pos = r->settled;
    r->at = r->pos;
    r->result.state = DS4_DSML_DONE;
}

/* The output ends inside a block, at `end`; behind it reading goes on at `next`. */
static void end_inside(ds4_dsml *r, size_t end, size_t next, bool cut)
{
    const bool residue = skip_space(r, r->at) < end;

    if (cut && !thinking(r)) {
        cut_block(r);
    } else if (!cut && r->phase == PHASE_BETWEEN && !r->wrapped && r->n_builds > 0) {
        end_block(r, r->settled, residue ? r->settled : next);
    } else if (!cut && r->phase != PHASE_VALUE && !residue) {
        r->block_oddities |= DS4_DSML_UNCLOSED;
        if (r->phase == PHASE_INVOKE) close_call(r, end);
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

/* Each step returns true if it moved on, false if it needs more text. */

static bool step_between(ds4_dsml *r)
{
    const size_t at = skip_space(r, r->at);
    ds4_dsml_tag tag;
    size_t       n_sign = 0;

    const ds4_sign sign = sign_at(r, at, &n_sign);
    if (sign == DS4_SIGN_MORE) return false;
    if (sign == DS4_SIGN_END) {
        end_inside(r, at, at + n_sign, false);
        return true;
    }
    const ds4_found invoke = ds4_dsml_match_invoke(&r->text, at, &tag);
    if (invoke == DS4_FOUND_YES) {
        note_spacing(r, r->at, at, false);
        note_tag(r, &tag);
        open_call(r, &tag);
        r->at = tag.end;
        r->phase = PHASE_INVOKE;
        return true;
    }
    const ds4_found close = ds4_dsml_match_close_block(&r->text, at, &tag);
    if (close == DS4_FOUND_YES) {
        note_spacing(r, r->at, at, false);
        note_tag(r, &tag);
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

/* What ends a call whose own closing tag is missing: the end of the block, or another call. */
static ds4_found implied_end(const ds4_dsml *r, size_t at)
{
    ds4_dsml_tag    tag;
    const ds4_found close = ds4_dsml_match_close_block(&r->text, at, &tag);

    if (close == DS4_FOUND_YES) return tag.real || !r->real ? close : DS4_FOUND_NO;
    const ds4_found next = ds4_dsml_match_invoke(&r->text, at, &tag);
    if (next == DS4_FOUND_YES) return tag.real || !r->real ? next : DS4_FOUND_NO;
    return close == DS4_FOUND_MORE || next == DS4_FOUND_MORE ? DS4_FOUND_MORE : DS4_FOUND_NO;
}

static bool step_invoke(ds4_dsml *r)
{
    const size_t at = skip_space(r, r->at);
    ds4_dsml_tag tag;
    size_t       n_sign = 0;

    const ds4_sign sign = sign_at(r, at, &n_sign);
    if (sign == DS4_SIGN_MORE) return false;
    if (sign == DS4_SIGN_END) {
        end_inside(r, at, at + n_sign, false);
        return true;
    }
    const ds4_found parameter = ds4_dsml_match_parameter(&r->text, at, &tag);
    if (parameter == DS4_FOUND_YES) {
        note_spacing(r, r->at, at, false);
        note_tag(r, &tag);
        ds4_dsml_build_parameter(last_call(r), &tag);
        r->value = r->value_done = r->at = tag.end;
        r->phase = PHASE_VALUE;
        return true;
    }
    const ds4_found close = ds4_dsml_match_close_invoke(&r->text, at, &tag);
    if (close == DS4_FOUND_YES) {
        note_spacing(r, r->at, at, last_call(r)->n_parameters == 0);
        note_tag(r, &tag);
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

static bool step_value(ds4_dsml *r)
{
    const size_t at = ds4_dsml_next_candidate(&r->text, r->at);
    ds4_dsml_tag tag;
    size_t       n_sign = 0;

    emit_value(r, at);
    r->at = at;
    if (at >= r->text.bytes.n_bytes) return false;

    const ds4_sign sign = ds4_dsml_sign_at(&r->text, at, &n_sign);
    if (sign == DS4_SIGN_END) {
        end_inside(r, at, at + n_sign, false);
        return true;
    }
    if (sign == DS4_SIGN_THINK_CLOSE && thinking(r)) {
        refuse_block(r);        /* it was only thought about */
        return true;
    }
    const ds4_found close = ds4_dsml_match_close_parameter(&r->text, at, r->real, &tag);
    if (close == DS4_FOUND_MORE || sign == DS4_SIGN_MORE) return false;
    if (close == DS4_FOUND_YES) {
        note_tag(r, &tag);
        const ds4_slice whole = { r->text.bytes.data + r->value, at - r->value };
        ds4_dsml_build_value_end(last_call(r), whole);
        r->at = tag.end;
        r->phase = PHASE_INVOKE;
        return true;
    }
    /* A value does not hold the special token in a tag that ends its call. */
    const ds4_found ends = r->real ? ds4_dsml_match_close_invoke(&r->text, at, &tag) : DS4_FOUND_NO;
    if (ends == DS4_FOUND_MORE) return false;
    if (ends == DS4_FOUND_YES && tag.real) {
        const ds4_slice whole = { r->text.bytes.data + r->value, at - r->value };
        r->block_oddities |= DS4_DSML_UNCLOSED;
        ds4_dsml_build_value_end(last_call(r), whole);
        r->phase = PHASE_INVOKE;
    } else {
        r->at = at + 1;
    }
    return true;
}

/* ---- reading reasoning and content ---- */

/* A special token in the middle of text. Where nothing has been said yet it opens the
 * reasoning, or repeats the tag with which the prompt ended; elsewhere it is text. */
static void read_stray(ds4_dsml *r, ds4_sign sign, size_t at, size_t n_sign)
{
    const bool first = at == r->section && at == r->pos;
    const bool fresh = first && !r->opt.thinking && r->reasoning.n_bytes == 0;

    r->result.oddities |= DS4_DSML_STRAY_SPECIAL;
    if (sign == DS4_SIGN_THINK && thinking(r) && first) {
        change_state(r, at, at + n_sign, DS4_DSML_THINK);
    } else if (sign == DS4_SIGN_THINK && fresh) {
        change_state(r, at, at + n_sign, DS4_DSML_THINK);
    } else if (sign == DS4_SIGN_THINK_CLOSE && fresh) {
        change_state(r, at, at + n_sign, DS4_DSML_CONTENT);
    } else {
        r->at = at + n_sign;
    }
}

/* True when a special token lies at `at` and was dealt with. */
static bool read_sign(ds4_dsml *r, size_t at)
{
    size_t n_sign = 0;
    const ds4_sign sign = ds4_dsml_sign_at(&r->text, at, &n_sign);

    switch (sign) {
    case DS4_SIGN_END:
        if (thinking(r)) r->result.oddities |= DS4_DSML_NO_THINK_CLOSE;
        change_state(r, at, at + n_sign, DS4_DSML_DONE);
        return true;
    case DS4_SIGN_THINK_CLOSE:
        if (thinking(r)) {
            change_state(r, at, at + n_sign, DS4_DSML_CONTENT);
            return true;
        }
        read_stray(r, sign, at, n_sign);
        return true;
    case DS4_SIGN_THINK:
    case DS4_SIGN_DSML:
        read_stray(r, sign, at, n_sign);
        return true;
    default:
        return false;
    }
}

/* A block without the special token must be wrapped and begin a line, as quotations in prose
 * rarely do. */
static bool may_open(const ds4_dsml *r, size_t at, const ds4_dsml_tag *tag)
{
    if (tag->real) return true;
    return !thinking(r) && tag->wrapped && (at == r->section || r->text.bytes.data[at - 1] == '\n');
}

static void open_block(ds4_dsml *r, size_t at, const ds4_dsml_tag *tag)
{
    const size_t begin = before_line_ends(r, at);

    emit(r, begin);
    r->block_oddities = at - begin == 2 ? 0 : DS4_DSML_SPACING;
    note_tag(r, tag);
    r->real = tag->real;
    r->wrapped = tag->wrapped;
    r->opened = at;
    r->settled = begin;
    r->phase = PHASE_BETWEEN;
    if (!thinking(r)) r->result.state = DS4_DSML_CALLS;
    /* Back over the space behind the wrapper, so that step_between() sees it. */
    r->at = tag->end;
    while (tag->wrapped && r->text.bytes.data[r->at - 1] != '>') r->at--;
    if (!tag->wrapped) r->block_oddities |= DS4_DSML_VARIANT;
}

static bool step_text(ds4_dsml *r)
{
    const size_t at = ds4_dsml_next_candidate(&r->text, r->at), end = r->text.bytes.n_bytes;
    ds4_dsml_tag tag;
    size_t       n_sign;

    r->at = at;
    if (at < end) {
        if (ds4_dsml_sign_at(&r->text, at, &n_sign) != DS4_SIGN_MORE) {
            if (read_sign(r, at)) return true;
            const ds4_found found = ds4_dsml_match_opener(&r->text, at, &tag);
            if (found == DS4_FOUND_YES && may_open(r, at, &tag)) {
                open_block(r, at, &tag);
                return true;
            }
            if (found != DS4_FOUND_MORE) {
                r->at = at + 1;
                return true;
            }
        }
    }
    emit(r, r->text.final ? end : before_line_ends(r, at));
    return false;
}

/* Behind the end of the turn. */
static bool step_done(ds4_dsml *r)
{
    const size_t at = ds4_dsml_next_candidate(&r->text, r->at), end = r->text.bytes.n_bytes;
    size_t       n_sign = 0;

    add_rest(r, at);
    r->at = at;
    if (at >= end) return false;
    const ds4_sign sign = ds4_dsml_sign_at(&r->text, at, &n_sign);
    if (sign == DS4_SIGN_MORE) return false;
    if (sign == DS4_SIGN_END) {
        r->pos = r->at = at + n_sign;
    } else {
        r->at = at + 1;
    }
    return true;
}

static bool step(ds4_dsml *r)
{
    if (r->failed) return false;
    switch (r->phase) {
    case PHASE_BETWEEN: return step_between(r);
    case PHASE_INVOKE:  return step_invoke(r);
    case PHASE_VALUE:   return step_value(r);
    default:            return r->result.state == DS4_DSML_DONE ? step_done(r) : step_text(r);
    }
}

/* ---- showing what was read ---- */

static bool has_failed(const ds4_dsml *r)
{
    bool failed = r->failed || r->text.bytes.failed || r->reasoning.failed || r->content.failed ||
                  r->rest.failed;
    if (r->n_builds > 0) failed = failed || ds4_dsml_build_failed(&r->builds[r->n_builds - 1]);
    return failed;
}

/* Bring the result up to date. */
static void show(ds4_dsml *r)
{
    ds4_dsml_result *res = &r->result;

    for (uint32_t i = r->changed; i < r->n_builds; i++) {
        const ds4_dsml_build *b = &r->builds[i];
        r->calls[i] = (ds4_dsml_call){ slice_of(&b->name), slice_of(&b->arguments),
                                       slice_of(&b->stream), b->n_values, b->complete };
    }
    r->changed = r->n_builds > 0 ? r->n_builds - 1 : 0;         /* the last one may grow */
    const bool hidden = thinking(r) && r->phase != PHASE_NONE;
    res->reasoning = slice_of(&r->reasoning);
    res->content = slice_of(&r->content);
    res->rest = slice_of(&r->rest);
    res->calls = r->calls;
    res->open = !hidden && call_is_open(r);
    res->n_calls = hidden ? 0 : r->n_builds - (res->open ? 1 : 0);
    if (res->raw_calls.n_bytes > 0) res->raw_calls.data = r->text.bytes.data + r->section;
}

static ds4_status advance(ds4_dsml *r, ds4_err *err)
{
    while (step(r)) continue;
    if (has_failed(r)) return ds4_fail(err, DS4_E_NOMEM, "no memory for the model's output");
    show(r);
    return DS4_OK;
}

/* ---- public functions ---- */

ds4_status ds4_dsml_create(const ds4_dsml_options *opt, ds4_dsml **out, ds4_err *err)
{
    ds4_dsml *r = calloc(1, sizeof *r);
    if (!r) return ds4_fail(err, DS4_E_NOMEM, "no memory for a reader of the model's output");
    r->opt = *opt;
    r->text.vocab = opt->vocab;
    r->result.state = opt->thinking ? DS4_DSML_THINK : DS4_DSML_CONTENT;
    ds4_str_add(&r->text.bytes, "", 0);         /* from now on it has data */
    if (r->text.bytes.failed) {
        ds4_dsml_free(r);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a reader of the model's output");
    }
    show(r);
    *out = r;
    return DS4_OK;
}

void ds4_dsml_free(ds4_dsml *r)
{
    if (!r) return;
    for (uint32_t i = 0; i < r->n_builds; i++) ds4_dsml_build_clear(&r->builds[i]);
    free(r->builds);
    free(r->calls);
    ds4_dsml_text_clear(&r->text);
    ds4_str_clear(&r->reasoning);
    ds4_str_clear(&r->content);
    ds4_str_clear(&r->rest);
    free(r);
}

ds4_status ds4_dsml_token(ds4_dsml *r, int32_t id, ds4_err *err)
{
    if (!ds4_dsml_text_add_token(&r->text, id)) r->failed = true;
    return advance(r, err);
}

ds4_status ds4_dsml_bytes(ds4_dsml *r, const char *data, size_t n_bytes, ds4_err *err)
{
    ds4_str_add(&r->text.bytes, data, n_bytes);
    if (r->text.bytes.failed) r->failed = true;
    return advance(r, err);
}

/* The limit fell into what opens a block: the special token is there, the first call is not. */
static bool opener_is_cut(const ds4_dsml *r)
{
    size_t       n_sign = 0;
    ds4_dsml_tag tag;

    if (r->result.state != DS4_DSML_CONTENT || r->at + 1 >= r->text.bytes.n_bytes) return false;
    if (ds4_dsml_sign_at(&r->text, r->at + 1, &n_sign) != DS4_SIGN_DSML) return false;
    return ds4_dsml_match_opener(&r->text, r->at, &tag) == DS4_FOUND_MORE;
}

ds4_status ds4_dsml_finish(ds4_dsml *r, bool cut, ds4_err *err)
{
    if (r->finished) return DS4_OK;
    r->finished = true;
    if (cut && r->phase == PHASE_NONE && !r->failed && opener_is_cut(r)) cut_block(r);
    if (r->phase != PHASE_NONE && !r->failed) {
        const size_t end = r->text.bytes.n_bytes;
        end_inside(r, end, end, cut);
    }
    r->text.final = true;
    DS4_TRY(advance(r, err));
    if (r->result.state == DS4_DSML_THINK) r->result.oddities |= DS4_DSML_NO_THINK_CLOSE;
    if (r->result.state != DS4_DSML_DONE) {
        const size_t end = r->text.bytes.n_bytes;
        change_state(r, end, end, DS4_DSML_DONE);
        show(r);
    }
    return DS4_OK;
}

const ds4_dsml_result *ds4_dsml_get(const ds4_dsml *r)
{
    return &r->result;
}

bool ds4_dsml_in_structure(const ds4_dsml *r)
{
    if (r->phase == PHASE_BETWEEN || r->phase == PHASE_INVOKE) return true;
    if (r->phase == PHASE_VALUE && r->builds[r->n_builds - 1].kind != DS4_VALUE_STRING) return true;
    return ds4_dsml_tag_has_begun(&r->text, r->at);
}
