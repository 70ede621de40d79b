/* ui_call.c - a call of the model in one line, also while it is being written. */
#include "app/agent/ui_view.h"

#include "text/pyjson.h"

#include <string.h>

enum { MAX_SHOWN = 400, MAX_KEY = 32 };

/* A string of JSON that may not have ended: what it stands for so far. text begins behind the quote. */
static size_t read_string(const char *text, size_t n_bytes, ds4_str *out)
{
    ds4_str quoted = { 0 };
    size_t  n = 0;

    while (n < n_bytes && text[n] != '"') n += text[n] == '\\' && n + 1 < n_bytes ? 2 : 1;
    if (n > n_bytes) n = n_bytes;
    size_t whole = n;                   /* without an escape that was cut */
    for (int tries = 0; tries < 8; tries++) {
        ds4_str_truncate(&quoted, 0);
        ds4_str_addf(&quoted, "\"%.*s\"", (int)(whole > 4 * MAX_SHOWN ? 4 * MAX_SHOWN : whole), text);
        const size_t before = out->n_bytes;
        if (ds4_pyjson_decode_string((ds4_slice){ quoted.data, quoted.n_bytes }, out, NULL) == DS4_OK) break;
        ds4_str_truncate(out, before);
        if (whole == 0) break;
        whole--;
    }
    ds4_str_clear(&quoted);
    return n < n_bytes ? n + 1 : n;
}

/* Append the value of the first text member called `name`, or of any when it is NULL. Returns whether there
 * was one. */
static bool find_text(ds4_slice json, const char *name, ds4_str *out)
{
    size_t at = 0;

    while (at < json.n_bytes && json.data[at] != '{') at++;
    for (at++; at < json.n_bytes;) {
        ds4_str key = { 0 }, value = { 0 };
        while (at < json.n_bytes && json.data[at] != '"') at++;
        if (at >= json.n_bytes) return false;
        at++;
        at += read_string(json.data + at, json.n_bytes - at, &key);
        while (at < json.n_bytes && strchr(" \t\r\n:", json.data[at])) at++;
        const bool text = at < json.n_bytes && json.data[at] == '"';
        if (text) at += 1 + read_string(json.data + at + 1, json.n_bytes - at - 1, &value);
        const bool wanted = text && (!name || strcmp(ds4_str_text(&key), name) == 0);
        if (wanted) ds4_str_add(out, ds4_str_text(&value), value.n_bytes);
        ds4_str_clear(&key);
        ds4_str_clear(&value);
        if (wanted) return true;
    }
    return false;
}

void ui_call_title(ds4_slice name, ds4_slice arguments, ds4_str *out)
{
    static const char *const telling[] = { "command", "path", "query", "pattern", "url", "message", NULL };
    ds4_str what = { 0 }, clean = { 0 };

    ui_scrub_text(name, true, out);
    if (arguments.n_bytes > 65536) arguments.n_bytes = 65536;
    for (size_t i = 0; i < sizeof telling / sizeof *telling; i++) {
        if (find_text(arguments, telling[i], &what)) break;
    }
    ui_scrub_text((ds4_slice){ ds4_str_text(&what), what.n_bytes }, false, &clean);
    const char  *text = ds4_str_text(&clean);
    const size_t n = strcspn(text, "\n"), most = n < MAX_SHOWN ? n : MAX_SHOWN;
    if (most) ds4_str_add_text(out, "  ");
    ds4_str_add(out, text, ds4_utf8_safe_bytes(text, most));
    if (text[n] || n > most) ds4_str_add_text(out, " ...");
    ds4_str_clear(&what);
    ds4_str_clear(&clean);
}
