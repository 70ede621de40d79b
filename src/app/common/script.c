/* script.c - see script.h. */
#include "app/common/script.h"

#ifdef DS4_SCRIPTED_SAMPLING

#include "base/file.h"
#include "text/markers.h"
#include "text/pyjson.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 64 << 20, MAX_LINES = 4096 };

struct ds4_script {
    ds4_str text;
    struct {
        ds4_str when, say;
    } line[MAX_LINES];
    uint32_t n;
};

static ds4_status read_line(ds4_script *s, ds4_slice json, ds4_err *err)
{
    ds4_slice value;

    if (s->n == MAX_LINES) return ds4_fail(err, DS4_E_LIMIT, "too many lines in the script");
    if (ds4_pyjson_kind(json) == DS4_JSON_STRING) {
        return ds4_pyjson_decode_string(json, &s->line[s->n++].say, err);
    }
    DS4_TRY(ds4_pyjson_check(json, err));
    if (ds4_pyjson_get(json, "if", &value)) {
        DS4_TRY(ds4_pyjson_decode_string(value, &s->line[s->n].when, err));
    }
    if (!ds4_pyjson_get(json, "say", &value)) {
        return ds4_fail(err, DS4_E_FORMAT, "line %u of the script has no 'say'", s->n + 1);
    }
    return ds4_pyjson_decode_string(value, &s->line[s->n++].say, err);
}

ds4_status ds4_script_open(const char *path, ds4_script **out, ds4_err *err)
{
    ds4_script *s = calloc(1, sizeof *s);

    if (!s) return ds4_fail(err, DS4_E_NOMEM, "no memory for a script");
    ds4_status  st = ds4_file_read(path, MAX_BYTES, &s->text, err);
    const char *at = ds4_str_text(&s->text);
    while (st == DS4_OK && *at) {
        const size_t n = strcspn(at, "\n");
        if (n > 0) st = read_line(s, (ds4_slice){ at, n }, err);
        at += n + (at[n] == '\n');
    }
    if (st != DS4_OK) {
        ds4_script_free(s);
        return st;
    }
    *out = s;
    return DS4_OK;
}

void ds4_script_free(ds4_script *s)
{
    if (!s) return;
    for (uint32_t i = 0; i < s->n; i++) {
        ds4_str_clear(&s->line[i].when);
        ds4_str_clear(&s->line[i].say);
    }
    ds4_str_clear(&s->text);
    free(s);
}

/* Find the last words to the model. */
static ds4_slice last_turn(ds4_slice prompt)
{
    const ds4_slice mark = DS4_SLICE(DS4_MARK_USER);
    ds4_slice       rest = prompt;

    for (;;) {
        const char *at = memmem(rest.data, rest.n_bytes, mark.data, mark.n_bytes);
        if (!at) return rest;
        at += mark.n_bytes;
        rest.n_bytes -= (size_t)(at - rest.data);
        rest.data = at;
    }
}

ds4_status ds4_script_tokens(ds4_script *s, const ds4_vocab *v, ds4_slice prompt, ds4_tokens *out,
                             ds4_err *err)
{
    const ds4_slice turn = last_turn(prompt);

    for (uint32_t i = 0; i < s->n; i++) {
        const ds4_str *when = &s->line[i].when;
        if (when->n_bytes && !memmem(turn.data, turn.n_bytes, when->data, when->n_bytes)) continue;
        DS4_TRY(ds4_vocab_encode(v, ds4_str_text(&s->line[i].say), s->line[i].say.n_bytes,
                                 DS4_ENCODE_SPECIALS, out, err));
        ds4_tokens_add(out, ds4_vocab_specials(v)->eos);
        return DS4_OK;
    }
    return DS4_OK;
}

#else

ds4_status ds4_script_open(const char *path, ds4_script **out, ds4_err *err)
{
    (void)out;
    return ds4_fail(err, DS4_E_UNSUPPORTED, "--script %s: this build takes no scripts", path);
}

void ds4_script_free(ds4_script *s)
{
    (void)s;
}

ds4_status ds4_script_tokens(ds4_script *s, const ds4_vocab *v, ds4_slice prompt, ds4_tokens *out,
                             ds4_err *err)
{
    (void)s;
    (void)v;
    (void)prompt;
    (void)out;
    (void)err;
    return DS4_OK;
}

#endif
