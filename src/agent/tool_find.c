/* tool_find.c - the tools search and list. */
#include "agent/tools_local.h"

#include "agent/ignore.h"
#include "agent/matcher.h"
#include "agent/walk.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USUAL_RESULTS = 100, MOST_RESULTS = 500, MOST_CONTEXT = 5, MOST_SECONDS = 20, MOST_LISTED = 500 };

/* ---- search -------------------------------------------------------------------------------- */

typedef struct search {
    tool_run    *r;
    ds4_matcher *matcher;
    const char  *glob;
    size_t       most, context;
    size_t       n_shown, n_found, n_files, n_with, n_large, n_limited, n_unread;
    uint64_t     end_ns;
    bool         out_of_time;
} search;

static size_t line_begin(ds4_slice text, size_t at)
{
    while (at > 0 && text.data[at - 1] != '\n') at--;
    return at;
}

static size_t line_end(ds4_slice text, size_t at)
{
    const char *end = memchr(text.data + at, '\n', text.n_bytes - at);
    return end ? (size_t)(end - text.data) : text.n_bytes;
}

static void show_line(search *s, size_t number, char sign, ds4_slice text, size_t begin)
{
    size_t end = line_end(text, begin);

    if (end > begin && text.data[end - 1] == '\r') end--;
    ds4_str_addf(&s->r->body, "  %zu%c ", number, sign);
    tool_add_cut_line((ds4_slice){ text.data + begin, end - begin },
                      tool_line_bytes(s->r->t->room), &s->r->body);
    ds4_str_add_char(&s->r->body, '\n');
}

/* Lines around a match that were not shown yet. */
static void show_before(search *s, ds4_slice text, size_t begin, size_t number, size_t shown_to)
{
    size_t n = 0, at = begin;

    while (n < s->context && at > 0 && number - n - 1 > shown_to) {
        at = line_begin(text, at - 1);
        n++;
    }
    for (; n > 0; n--, at = line_end(text, at) + 1) show_line(s, number - n, '-', text, at);
}

/* Matches of one file; those above the limit are counted. */
static void search_text(search *s, const char *name, ds4_slice text)
{
    size_t from = 0, number = 1, counted = 0, shown_to = 0, n_here = 0, begin = 0, end = 0;
    int    rc;

    while (from <= text.n_bytes && (rc = ds4_matcher_find(s->matcher, text, from, &begin, &end)) != 0) {
        if (rc < 0) {
            s->n_limited++;
            break;
        }
        const size_t line = line_begin(text, begin < text.n_bytes ? begin : text.n_bytes);
        for (; counted < line; counted++) number += text.data[counted] == '\n';
        s->n_found++;
        if (s->n_shown < s->most) {
            if (n_here == 0) ds4_str_addf(&s->r->body, "%s\n", name);
            show_before(s, text, line, number, shown_to);
            show_line(s, number, ':', text, line);
            shown_to = number;
            s->n_shown++;
            size_t at = line_end(text, line) + 1;
            for (size_t i = 0; i < s->context && at < text.n_bytes; i++, at = line_end(text, at) + 1) {
                size_t b = 0, e = 0;
                const ds4_slice up_to = { text.data, line_end(text, at) };
                if (ds4_matcher_find(s->matcher, up_to, at, &b, &e) == 1) break;
                show_line(s, ++shown_to, '-', text, at);
            }
        }
        n_here++;
        from = line_end(text, line) + 1;        /* one match of a line is enough */
        if (ds4_now_ns() > s->end_ns || s->r->t->cancelled) {
            s->out_of_time = true;
            break;
        }
    }
    s->n_with += n_here > 0;
}

static ds4_walk_next search_file(void *ctx, const ds4_walk_entry *e)
{
    search    *s = ctx;
    ds4_tools *t = s->r->t;
    ds4_str    text = { 0 }, masked = { 0 };

    if (ds4_now_ns() > s->end_ns || t->cancelled) {
        s->out_of_time = true;
        return DS4_WALK_STOP;
    }
    if (!S_ISREG(e->st->st_mode) || (s->glob && !ds4_glob_matches(s->glob, e->name))) return DS4_WALK_ON;
    if ((uint64_t)e->st->st_size > t->limits.max_file_bytes) {
        s->n_large++;
        return DS4_WALK_ON;
    }
    if (ds4_root_read(t->root, e->name, (size_t)t->limits.max_file_bytes, &text, NULL, NULL) == DS4_OK) {
        ds4_slice all = { ds4_str_text(&text), text.n_bytes };
        if (!tool_is_binary(all)) {
            s->n_files++;
            if (!t->allow_secrets && ds4_secret_name(e->name)) {
                ds4_secrets_mask(t->secrets, e->name, all, &masked);
                all = (ds4_slice){ ds4_str_text(&masked), masked.n_bytes };
            }
            search_text(s, e->name, all);
        }
    } else {
        s->n_unread++;
    }
    ds4_str_clear(&text);
    ds4_str_clear(&masked);
    return s->out_of_time ? DS4_WALK_STOP : DS4_WALK_ON;
}

static void search_summary(search *s, const ds4_walk_end *end)
{
    ds4_str *out = &s->r->body;

    if (s->n_found == 0) {
        ds4_str_addf(out, "No match in %zu files.\n", s->n_files);
    } else if (s->n_shown < s->n_found) {
        ds4_str_addf(out,
                     "[%zu of %zu matching lines in %zu files are shown: narrow pattern, path or glob.]\n",
                     s->n_shown, s->n_found, s->n_with);
    } else {
        ds4_str_addf(out, "[%zu matching lines in %zu of %zu files.]\n", s->n_found, s->n_with, s->n_files);
    }
    if (s->out_of_time) ds4_str_add_text(out, "[The search was ended before all files were looked at.]\n");
    if (s->n_limited)
        ds4_str_addf(out,
                     "[In %zu files the pattern took too many steps; they were not searched to the end.]\n",
                     s->n_limited);
    if (s->n_unread) ds4_str_addf(out, "[%zu files could not be read.]\n", s->n_unread);
    if (s->n_large) ds4_str_addf(out, "[%zu files are too large and were not searched.]\n", s->n_large);
    if (end->bounded)
        ds4_str_add_text(out, "[The tree is too large or too deep: a part was not searched.]\n");
}

void tool_search(tool_run *r)
{
    static const char *const known[] = { "pattern", "path", "regex", "glob", "ignore_case", "context", "max",
                                         NULL };
    char                     name[DS4_ROOT_NAME_BYTES];
    search                   s = { .r = r, .end_ns = ds4_now_ns() + (uint64_t)MOST_SECONDS * 1000000000 };
    ds4_walk_end             end;
    ds4_err                  err;
    size_t                   n = 0, n_glob = 0;

    if (!tool_args_open(r, known)) return;
    const char *pattern = tool_arg_text(r, "pattern", true, DS4_MATCHER_MAX_PATTERN, &n);
    const bool  regex = tool_arg_bool(r, "regex", false), ignore_case = tool_arg_bool(r, "ignore_case",
                                                                                      false);
    s.glob = tool_arg_text(r, "glob", false, DS4_IGNORE_MAX_PATTERN, &n_glob);
    s.context = (size_t)tool_arg_int(r, "context", 0, MOST_CONTEXT, 0);
    s.most = (size_t)tool_arg_int(r, "max", 1, MOST_RESULTS, USUAL_RESULTS);
    if (!tool_arg_path(r, "path", false, name)) return;
    if (s.glob && n_glob == 0) s.glob = NULL;
    if (ds4_matcher_create(&s.matcher, (ds4_slice){ pattern, n }, regex, ignore_case, &err) != DS4_OK) {
        tool_fail(r, "%s", err.text);
        return;
    }
    const ds4_walk_options opt = { .see = search_file, .ctx = &s };
    if (ds4_walk(r->t->root, name, &opt, &end, &err) != DS4_OK) tool_fail(r, "%s", err.text);
    else                                                        search_summary(&s, &end);
    ds4_matcher_free(s.matcher);
}

/* ---- list ----------------------------------------------------------------------------------------- */

typedef struct listing {
    tool_run *r;
    size_t    n, n_more;
    size_t    prefix;               /* bytes of the folder's own name */
} listing;

static void add_size(ds4_str *out, uint64_t n)
{
    if (n < 10000)               ds4_str_addf(out, "%llu B", (unsigned long long)n);
    else if (n < 10000u << 10)   ds4_str_addf(out, "%llu KiB", (unsigned long long)(n >> 10));
    else                         ds4_str_addf(out, "%llu MiB", (unsigned long long)(n >> 20));
}

static ds4_walk_next list_entry(void *ctx, const ds4_walk_entry *e)
{
    listing *l = ctx;
    ds4_str *out = &l->r->body;

    if (l->n == MOST_LISTED) {
        l->n_more++;
        return DS4_WALK_ON;
    }
    l->n++;
    ds4_str_add_text(out, e->name + l->prefix);
    if (S_ISDIR(e->st->st_mode)) {
        ds4_str_add_text(out, "/\n");
    } else if (S_ISLNK(e->st->st_mode)) {
        ds4_str_add_text(out, "  (link)\n");
    } else if (S_ISREG(e->st->st_mode)) {
        ds4_str_add_text(out, "  ");
        add_size(out, (uint64_t)e->st->st_size);
        ds4_str_add_char(out, '\n');
    } else {
        ds4_str_add_text(out, "  (special)\n");
    }
    return DS4_WALK_ON;
}

void tool_list(tool_run *r)
{
    static const char *const known[] = { "path", "depth", NULL };
    char                     name[DS4_ROOT_NAME_BYTES], real[DS4_ROOT_NAME_BYTES];
    listing                  l = { .r = r };
    ds4_walk_end             end;
    ds4_err                  err;

    if (!tool_args_open(r, known)) return;
    const int64_t depth = tool_arg_int(r, "depth", 1, 16, 1);
    if (!tool_arg_path(r, "path", false, name)) return;
    ds4_status rc = ds4_root_real(r->t->root, name, real, &err);
    l.prefix = strcmp(real, ".") == 0 ? 0 : strlen(real) + 1;
    struct stat st;
    if (rc == DS4_OK) rc = ds4_root_stat(r->t->root, real, &st, &err);
    if (rc == DS4_OK && !S_ISDIR(st.st_mode)) l.prefix = 0;
    const ds4_walk_options opt = { .max_depth = (unsigned)depth, .see = list_entry, .ctx = &l };
    if (rc == DS4_OK) rc = ds4_walk(r->t->root, real, &opt, &end, &err);
    if (rc != DS4_OK) {
        tool_fail(r, "%s", err.text);
        return;
    }
    if (l.n == 0) ds4_str_addf(&r->body, "%s has no files that are not ignored.\n", name);
    if (l.n_more)
        ds4_str_addf(&r->body, "[%zu more names are not shown: list a folder below, or less depth.]\n",
                     l.n_more);
    if (end.n_ignored) ds4_str_addf(&r->body, "[%zu ignored names are not shown.]\n", end.n_ignored);
}
