/* dsml.c - see dsml.h. The reader keeps the whole output and moves two places along it: up to
 * `pos` everything has been handed out, up to `at` it has been looked at. What lies between
 * is held back because it may become a tag. A block of calls is read from `at` on while
 * `pos` stays at its beginning, so that it can still turn out to be text. */
#include "text/dsml.h"

#include "text/dsml_block.h"

#include <stdlib.h>

/* ---- reading reasoning and content ---- */

/* A special token in the middle of text. Where nothing has been said yet it opens the
 * reasoning, or repeats the tag with which the prompt ended; elsewhere it is text. */
static void read_stray(ds4_dsml *r, ds4_sign sign, size_t at, size_t n_sign)
{
    const bool first = at == r->section && at == r->pos;
    const bool fresh = first && !r->opt.thinking && r->reasoning.n_bytes == 0;

    r->result.oddities |= DS4_DSML_STRAY_SPECIAL;
    if (sign == DS4_SIGN_THINK && ds4_dsml_thinking(r) && first) {
        ds4_dsml_change_state(r, at, at + n_sign, DS4_DSML_THINK);
    } else if (sign == DS4_SIGN_THINK && fresh) {
        ds4_dsml_change_state(r, at, at + n_sign, DS4_DSML_THINK);
    } else if (sign == DS4_SIGN_THINK_CLOSE && fresh) {
        ds4_dsml_change_state(r, at, at + n_sign, DS4_DSML_CONTENT);
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
        if (ds4_dsml_thinking(r)) r->result.oddities |= DS4_DSML_NO_THINK_CLOSE;
        ds4_dsml_change_state(r, at, at + n_sign, DS4_DSML_DONE);
        return true;
    case DS4_SIGN_THINK_CLOSE:
        if (ds4_dsml_thinking(r)) {
            ds4_dsml_change_state(r, at, at + n_sign, DS4_DSML_CONTENT);
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
    return !ds4_dsml_thinking(r) && tag->wrapped && (at == r->section || r->text.bytes.data[at - 1] == '\n');
}

static void open_block(ds4_dsml *r, size_t at, const ds4_dsml_tag *tag)
{
    const size_t begin = ds4_dsml_before_line_ends(r, at);

    ds4_dsml_emit(r, begin);
    r->block_oddities = at - begin == 2 ? 0 : DS4_DSML_SPACING;
    ds4_dsml_note_tag(r, tag);
    r->real = tag->real;
    r->wrapped = tag->wrapped;
    r->opened = at;
    r->settled = begin;
    r->phase = DS4_DSML_PHASE_BETWEEN;
    if (!ds4_dsml_thinking(r)) r->result.state = DS4_DSML_CALLS;
    /* Back over the space behind the wrapper, so that ds4_dsml_step_between() sees it. */
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
    ds4_dsml_emit(r, r->text.final ? end : ds4_dsml_before_line_ends(r, at));
    return false;
}

/* Behind the end of the turn. */
static bool step_done(ds4_dsml *r)
{
    const size_t at = ds4_dsml_next_candidate(&r->text, r->at), end = r->text.bytes.n_bytes;
    size_t       n_sign = 0;

    ds4_dsml_add_rest(r, at);
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
    case DS4_DSML_PHASE_BETWEEN: return ds4_dsml_step_between(r);
    case DS4_DSML_PHASE_INVOKE:  return ds4_dsml_step_invoke(r);
    case DS4_DSML_PHASE_VALUE:   return ds4_dsml_step_value(r);
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
        r->calls[i] = (ds4_dsml_call){ ds4_dsml_slice(&b->name), ds4_dsml_slice(&b->arguments),
                                       ds4_dsml_slice(&b->stream), b->n_values, b->complete };
    }
    r->changed = r->n_builds > 0 ? r->n_builds - 1 : 0;         /* the last one may grow */
    const bool hidden = ds4_dsml_thinking(r) && r->phase != DS4_DSML_PHASE_NONE;
    res->reasoning = ds4_dsml_slice(&r->reasoning);
    res->content = ds4_dsml_slice(&r->content);
    res->rest = ds4_dsml_slice(&r->rest);
    res->calls = r->calls;
    res->open = !hidden && ds4_dsml_call_is_open(r);
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
    if (cut && r->phase == DS4_DSML_PHASE_NONE && !r->failed && opener_is_cut(r)) ds4_dsml_cut_block(r);
    if (r->phase != DS4_DSML_PHASE_NONE && !r->failed) {
        const size_t end = r->text.bytes.n_bytes;
        ds4_dsml_end_inside(r, end, end, cut);
    }
    r->text.final = true;
    DS4_TRY(advance(r, err));
    if (r->result.state == DS4_DSML_THINK) r->result.oddities |= DS4_DSML_NO_THINK_CLOSE;
    if (r->result.state != DS4_DSML_DONE) {
        const size_t end = r->text.bytes.n_bytes;
        ds4_dsml_change_state(r, end, end, DS4_DSML_DONE);
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
    if (r->phase == DS4_DSML_PHASE_BETWEEN || r->phase == DS4_DSML_PHASE_INVOKE) return true;
    if (r->phase == DS4_DSML_PHASE_VALUE && r->builds[r->n_builds - 1].kind != DS4_VALUE_STRING) return true;
    return ds4_dsml_tag_has_begun(&r->text, r->at);
}
