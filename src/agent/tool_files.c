/* tool_files.c - the tools read, more, write and edit. */
#include "agent/tools_local.h"

#include "agent/diff.h"
#include "base/sha256.h"
#include "text/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { USUAL_LINES = 500, MOST_LINES = 5000, MOST_TEXT = 16 << 20, MOST_SECRET_BYTES = 256 << 10 };

/* ---- what the model saw ------------------------------------------------------------------------ */

static tools_seen *find_seen(ds4_tools *t, const char *name)
{
    for (size_t i = 0; i < t->n_seen; i++) {
        if (strcmp(t->seen[i].name, name) == 0) return &t->seen[i];
    }
    return NULL;
}

static void tools_remember(ds4_tools *t, const char *name, ds4_slice content)
{
    tools_seen *s = find_seen(t, name);

    if (!s) {
        if (t->n_seen == TOOLS_MOST_SEEN) {
            free(t->seen[0].name);
            memmove(t->seen, t->seen + 1, (TOOLS_MOST_SEEN - 1) * sizeof *t->seen);
            t->n_seen--;
        }
        s = &t->seen[t->n_seen];
        s->name = strdup(name);
        if (!s->name) return;
        t->n_seen++;
    }
    ds4_sha256(content.n_bytes ? content.data : "", content.n_bytes, s->hash);
}

typedef enum freshness { NEVER_SEEN, AS_SEEN, CHANGED_SINCE } freshness;

static freshness how_fresh(ds4_tools *t, const char *name, ds4_slice content)
{
    uint8_t           hash[DS4_SHA256_BYTES];
    const tools_seen *s = find_seen(t, name);

    if (!s) return NEVER_SEEN;
    ds4_sha256(content.n_bytes ? content.data : "", content.n_bytes, hash);
    return memcmp(hash, s->hash, sizeof hash) == 0 ? AS_SEEN : CHANGED_SINCE;
}

static bool tool_load(tool_run *r, const char *name, ds4_str *out)
{
    ds4_err err;

    if (ds4_root_read(r->t->root, name, (size_t)r->t->limits.max_file_bytes, out, NULL, &err) == DS4_OK)
        return true;
    tool_fail(r, "%s", err.text);
    return false;
}

/* ---- read ------------------------------------------------------------------------------------------ */

static void add_numbered(ds4_slice text, size_t first, size_t n_lines, size_t max_bytes, ds4_str *out,
                         size_t *next)
{
    size_t at = 0, number = 1;
    const size_t begin = out->n_bytes, most = tool_line_bytes(max_bytes);

    while (at < text.n_bytes && number < first + n_lines) {
        const char     *end = memchr(text.data + at, '\n', text.n_bytes - at);
        const size_t    n = end ? (size_t)(end - text.data) - at : text.n_bytes - at;
        const ds4_slice line = { text.data + at, n > 0 && text.data[at + n - 1] == '\r' ? n - 1 : n };
        const size_t    shown = line.n_bytes < most ? line.n_bytes : most;
        if (number >= first) {
            if (out->n_bytes - begin + shown + 12 > max_bytes) break;
            ds4_str_addf(out, "%zu\t", number);
            tool_add_cut_line(line, most, out);
            ds4_str_add_char(out, '\n');
        }
        number++;
        at += n + 1;
    }
    *next = number;
}

static void set_file_rest(ds4_tools *t, const char *name, size_t next)
{
    char *copy = strdup(name);

    ds4_str_clear(&t->rest.text);
    free(t->rest.file);
    t->rest.file = copy;
    t->rest.next = next;
}

static void show_lines(tool_run *r, const char *name, ds4_slice text, size_t first, size_t n_lines)
{
    const size_t room = r->t->room > 1024 ? r->t->room - 256 : 768;
    const size_t total = tool_count_lines(text);
    size_t       next = first;

    if (total == 0) {
        ds4_str_addf(&r->body, "%s is empty.\n", name);
        return;
    }
    if (first > total) {
        tool_fail(r, "%s has %zu lines, so none from %zu", name, total, first);
        return;
    }
    add_numbered(text, first, n_lines, room, &r->body, &next);
    if (next <= total) {
        ds4_str_addf(&r->body, "[Lines %zu to %zu of %zu; call more to read on.]\n", first, next - 1, total);
        set_file_rest(r->t, name, next);
    }
    r->is_more = true;
}

/* A file that is too large to be held: its lines are read as they come. */
static void show_large(tool_run *r, const char *name, size_t first, size_t n_lines)
{
    enum { PIECE = 1 << 20 };
    ds4_err  err;
    ds4_str  part = { 0 };
    uint64_t number = 1, n_read = 0;
    int      fd = -1;
    char    *piece = malloc(PIECE);

    if (!piece || ds4_root_open_at(r->t->root, name, O_RDONLY, &fd, &err) != DS4_OK) {
        free(piece);
        tool_fail(r, "%s", fd < 0 && piece ? err.text : "no memory");
        return;
    }
    while (number < first + n_lines && part.n_bytes < 2u * r->t->room && !r->t->cancelled) {
        const ssize_t n = read(fd, piece, PIECE);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        if (n_read == 0 && tool_is_binary((ds4_slice){ piece, (size_t)n })) {
            tool_fail(r, "%s is a binary file", name);
            break;
        }
        n_read += (uint64_t)n;
        for (ssize_t at = 0; at < n && number < first + n_lines; at++) {
            if (number >= first) ds4_str_add_char(&part, piece[at]);
            number += piece[at] == '\n';
        }
    }
    close(fd);
    free(piece);
    size_t next = 1;
    ds4_str lines = { 0 };
    add_numbered((ds4_slice){ ds4_str_text(&part), part.n_bytes }, 1, n_lines, r->t->room - 256, &lines,
                 &next);
    /* The numbers count from the first line that was kept. */
    for (char *at = lines.data; at && *at && !r->failed; ) {
        const size_t own = strtoul(at, &at, 10);
        const char  *end = strchr(at, '\n');
        ds4_str_addf(&r->body, "%zu%.*s\n", own + first - 1, (int)(end - at), at);
        at = (char *)end + 1;
    }
    if (!r->failed) {
        ds4_str_addf(&r->body, "[From line %zu of a large file; call more to read on, or search in it.]\n",
                     first);
        set_file_rest(r->t, name, first + next - 1);
        r->is_more = true;
    }
    ds4_str_clear(&part);
    ds4_str_clear(&lines);
}

static void read_lines(tool_run *r, const char *name, size_t first, size_t n_lines)
{
    struct stat st;
    ds4_err     err;
    ds4_str     text = { 0 }, masked = { 0 };
    const bool  secret = !r->t->allow_secrets && ds4_secret_name(name);

    if (ds4_root_stat(r->t->root, name, &st, &err) != DS4_OK) {
        tool_fail(r, "%s", err.text);
        return;
    }
    if (S_ISREG(st.st_mode) && st.st_nlink == 1 && (uint64_t)st.st_size > r->t->limits.max_file_bytes &&
        !secret) {
        show_large(r, name, first, n_lines);
        return;
    }
    if (!tool_load(r, name, &text)) goto done;
    ds4_slice all = { ds4_str_text(&text), text.n_bytes };
    if (tool_is_binary(all)) {
        tool_fail(r, "%s is a binary file of %zu bytes", name, all.n_bytes);
        goto done;
    }
    tools_remember(r->t, name, all);
    if (secret) {
        ds4_secrets_mask(r->t->secrets, name, all, &masked);
        all = (ds4_slice){ ds4_str_text(&masked), masked.n_bytes };
        ds4_str_add_text(&r->body, "[Values in this file are masked; the user can allow them.]\n");
    }
    show_lines(r, name, all, first, n_lines);
    if (!r->failed) tool_add_notes(r, name);
done:
    ds4_str_clear(&text);
    ds4_str_clear(&masked);
}

/* The name without links of an argument. */
static bool real_path(tool_run *r, char real[DS4_ROOT_NAME_BYTES])
{
    char    name[DS4_ROOT_NAME_BYTES];
    ds4_err err;

    if (!tool_arg_path(r, "path", true, name)) return false;
    if (ds4_root_real(r->t->root, name, real, &err) == DS4_OK) return true;
    tool_fail(r, "%s", err.text);
    return false;
}

void tool_read(tool_run *r)
{
    static const char *const known[] = { "path", "start", "lines", NULL };
    char                     name[DS4_ROOT_NAME_BYTES];

    if (!tool_args_open(r, known)) return;
    const int64_t first = tool_arg_int(r, "start", 1, 1000000000, 1);
    const int64_t n = tool_arg_int(r, "lines", 1, MOST_LINES, USUAL_LINES);
    if (real_path(r, name)) read_lines(r, name, (size_t)first, (size_t)n);
}

void tool_more(tool_run *r)
{
    static const char *const known[] = { "from", NULL };
    ds4_tools               *t = r->t;

    if (!tool_args_open(r, known)) return;
    const int64_t from = tool_arg_int(r, "from", 1, 1000000000, (int64_t)(t->rest.next ? t->rest.next : 1));
    if (r->failed) return;
    if (t->rest.file) {
        char *name = strdup(t->rest.file);
        if (name) read_lines(r, name, (size_t)from, USUAL_LINES);
        free(name);
        return;
    }
    const ds4_slice all = { ds4_str_text(&t->rest.text), t->rest.text.n_bytes };
    const size_t    total = tool_count_lines(all);
    if (all.n_bytes == 0 || (size_t)from > total) {
        tool_fail(r, "nothing of the last result is left to show");
        return;
    }
    const size_t next = tool_add_lines(all, (size_t)from, t->room > 1024 ? t->room - 256 : 768, &r->body);
    if (next <= total)
        ds4_str_addf(&r->body, "[Lines %lld to %zu of %zu; call more to read on.]\n", (long long)from,
                     next - 1, total);
    t->rest.next = next;
    r->is_more = true;
}

/* ---- changing ------------------------------------------------------------------------------------------ */

void tool_add_change(tool_run *r, const char *name, ds4_slice before, ds4_slice after, bool made,
                     bool removed)
{
    ds4_tool_result *out = r->result;
    ds4_tool_change *more = realloc(out->changes, (out->n_changes + 1) * sizeof *more);

    if (!more) return;
    out->changes = more;
    ds4_tool_change *c = &more[out->n_changes];
    *c = (ds4_tool_change){ .path = strdup(name), .made = made, .removed = removed };
    if (!c->path) return;
    ds4_str_add(&c->before, before.data, before.n_bytes);
    ds4_str_add(&c->after, after.data, after.n_bytes);
    ds4_diff(name, before, after, made, removed, 3, &c->diff);
    out->n_changes++;
}

/* Programs outside of the sandbox obey what lies in .git: it is changed by git alone. */
static bool is_git(const char *name)
{
    for (const char *at = name; at; at = strchr(at, '/')) {
        at += *at == '/';
        const size_t n = strcspn(at, "/");
        if (n == 4 && strncasecmp(at, ".git", 4) == 0) return true;
    }
    return false;
}

/* Put a new content in place: asked, kept for undo, written, remembered. */
static void change_file(tool_run *r, const char *name, bool exists, ds4_slice before, ds4_slice after)
{
    ds4_tools *t = r->t;
    ds4_err    err;
    ds4_str    diff = { 0 }, what = { 0 };
    ds4_status rc = DS4_OK;

    ds4_diff(name, before, after, !exists, false, 3, &diff);
    ds4_str_addf(&what, "%s %s", exists ? "change" : "create", name);
    const bool may = tool_may_change(r, ds4_str_text(&what), &diff);
    ds4_str_clear(&what);
    if (may && t->undo) rc = ds4_undo_before(t->undo, name, &after, 0, &err);
    if (may && rc == DS4_OK) rc = ds4_root_write(t->root, name, after, 0, &err);
    if (rc != DS4_OK) tool_fail(r, "%s; nothing was changed", err.text);
    if (!r->failed) {
        tools_remember(t, name, after);
        tool_add_change(r, name, before, after, !exists, false);
    }
    ds4_str_clear(&diff);
}

/* The present content, when there is one. */
static bool load_present(tool_run *r, const char *name, bool *exists, ds4_str *text)
{
    struct stat st;

    *exists = ds4_root_stat(r->t->root, name, &st, NULL) == DS4_OK;
    return !*exists || tool_load(r, name, text);
}

static bool may_touch(tool_run *r, const char *name)
{
    if (!is_git(name)) return true;
    tool_fail(r, "%s belongs to git; use the tool git or git's own commands", name);
    return false;
}

void tool_write(tool_run *r)
{
    static const char *const known[] = { "path", "content", NULL };
    char                     name[DS4_ROOT_NAME_BYTES];
    ds4_str                  before = { 0 };
    bool                     exists = false;
    size_t                   n = 0;

    if (!tool_args_open(r, known)) return;
    const char *content = tool_arg_text(r, "content", true, (size_t)r->t->limits.max_file_bytes, &n);
    if (!content || !real_path(r, name) || !may_touch(r, name) || !load_present(r, name, &exists, &before))
        goto done;
    const ds4_slice old = { ds4_str_text(&before), before.n_bytes }, new = { content, n };
    const freshness f = exists ? how_fresh(r->t, name, old) : AS_SEEN;
    if (f == NEVER_SEEN && old.n_bytes > 0) {
        tool_fail(r, "%s exists with %zu bytes; read it before it is replaced", name, old.n_bytes);
    } else if (f == CHANGED_SINCE) {
        tool_fail(r, "%s was changed since it was read; read it again", name);
    } else if (exists && ds4_slice_eq(old, new)) {
        ds4_str_addf(&r->body, "%s has this content already.\n", name);
    } else {
        change_file(r, name, exists, old, new);
        if (!r->failed)
            ds4_str_addf(&r->body, "%s %s, %zu lines.\n", exists ? "Replaced" : "Created", name,
                         tool_count_lines(new));
    }
    if (!r->failed) tool_add_notes(r, name);
done:
    ds4_str_clear(&before);
}

/* ---- edit ---------------------------------------------------------------------------------------------- */

static size_t line_of(ds4_slice text, size_t at)
{
    size_t n = 1;
    for (size_t i = 0; i < at; i++) n += text.data[i] == '\n';
    return n;
}

/* All places of old, replaced. Fails when there is none, or more than one and not all are meant. */
static bool replace(tool_run *r, const char *name, ds4_slice text, ds4_slice old, ds4_slice new, bool all,
                    ds4_str *out,
                    size_t *n_places)
{
    size_t  at = 0, n = 0, first = 0, second = 0;

    while (at + old.n_bytes <= text.n_bytes) {
        const char *hit = memmem(text.data + at, text.n_bytes - at, old.data, old.n_bytes);
        if (!hit) break;
        const size_t place = (size_t)(hit - text.data);
        if (n == 0) first = place;
        if (n == 1) second = place;
        if (++n > 1 && !all) break;
        ds4_str_add(out, text.data + at, place - at);
        ds4_str_add(out, new.data, new.n_bytes);
        if (out->n_bytes > r->t->limits.max_file_bytes) {
            tool_fail(r, "%s would grow above %llu bytes", name,
                      (unsigned long long)r->t->limits.max_file_bytes);
            return false;
        }
        at = place + old.n_bytes;
    }
    if (n == 0) {
        tool_fail(r, "'old' was not found in %s; it must be the exact text without line numbers", name);
    } else if (n > 1 && !all) {
        tool_fail(r, "'old' is in %s more than once (lines %zu and %zu); give more lines of it, or all=true",
                  name,
                  line_of(text, first), line_of(text, second));
    }
    if (r->failed) return false;
    ds4_str_add(out, text.data + at, text.n_bytes - at);
    *n_places = n;
    return true;
}

/* Files with CR LF are edited with the LF alone that the model saw. */
static bool only_crlf(ds4_slice text)
{
    size_t n_lf = 0, n_crlf = 0;
    for (size_t i = 0; i < text.n_bytes; i++) {
        if (text.data[i] != '\n') continue;
        n_lf++;
        n_crlf += i > 0 && text.data[i - 1] == '\r';
    }
    return n_lf > 0 && n_lf == n_crlf;
}

static void with_crlf(ds4_slice text, ds4_str *out)
{
    for (size_t i = 0; i < text.n_bytes; i++) {
        if (text.data[i] == '\n' && (i == 0 || text.data[i - 1] != '\r')) ds4_str_add_char(out, '\r');
        ds4_str_add_char(out, text.data[i]);
    }
}

static void edit_text(tool_run *r, const char *name, ds4_slice text, ds4_slice old, ds4_slice new, bool all)
{
    ds4_str out = { 0 }, old_crlf = { 0 }, new_crlf = { 0 };
    size_t  n_places = 0;

    if (only_crlf(text)) {
        with_crlf(old, &old_crlf);
        with_crlf(new, &new_crlf);
        old = (ds4_slice){ ds4_str_text(&old_crlf), old_crlf.n_bytes };
        new = (ds4_slice){ ds4_str_text(&new_crlf), new_crlf.n_bytes };
    }
    if (replace(r, name, text, old, new, all, &out, &n_places)) {
        if (out.failed) {
            tool_fail(r, "no memory for the edit");
        } else {
            change_file(r, name, true, text, (ds4_slice){ ds4_str_text(&out), out.n_bytes });
        }
    }
    if (!r->failed) {
        const ds4_str *diff = &r->result->changes[r->result->n_changes - 1].diff;
        ds4_str_addf(&r->body, "Edited %s, %zu place%s.\n", name, n_places, n_places == 1 ? "" : "s");
        if (r->t->allow_secrets || !ds4_secret_name(name))
            ds4_str_add(&r->body, ds4_str_text(diff), diff->n_bytes);
    }
    ds4_str_clear(&out);
    ds4_str_clear(&old_crlf);
    ds4_str_clear(&new_crlf);
}

void tool_edit(tool_run *r)
{
    static const char *const known[] = { "path", "old", "new", "all", NULL };
    char                     name[DS4_ROOT_NAME_BYTES];
    ds4_str                  text = { 0 };
    size_t                   n_old = 0, n_new = 0;

    if (!tool_args_open(r, known)) return;
    const char *old = tool_arg_text(r, "old", true, MOST_TEXT, &n_old);
    const char *new = tool_arg_text(r, "new", true, MOST_TEXT, &n_new);
    const bool  all = tool_arg_bool(r, "all", false);
    if (!r->failed && n_old == 0) tool_fail(r, "'old' is empty; use write for a new file");
    if (!r->failed && n_old == n_new && memcmp(old, new, n_old) == 0)
        tool_fail(r, "'old' and 'new' are the same");
    if (r->failed || !real_path(r, name) || !may_touch(r, name) || !tool_load(r, name, &text)) goto done;
    const ds4_slice all_text = { ds4_str_text(&text), text.n_bytes };
    if (how_fresh(r->t, name, all_text) == CHANGED_SINCE) {
        tool_fail(r, "%s was changed since it was read; read it again", name);
    } else if (tool_is_binary(all_text)) {
        tool_fail(r, "%s is a binary file", name);
    } else {
        edit_text(r, name, all_text, (ds4_slice){ old, n_old }, (ds4_slice){ new, n_new }, all);
    }
    if (!r->failed) tool_add_notes(r, name);
done:
    ds4_str_clear(&text);
}
