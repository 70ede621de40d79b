/* undo_restore.c - back to a mark of undo. */
#include "agent/undo_local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The work on one name. */
typedef struct step {
    const char *name;
    undo_state  is, becomes;
} step;

typedef struct way_back {
    ds4_undo *u;
    step     *step;
    size_t    n;
    ds4_str  *told;
    size_t    n_failed;
} way_back;

/* Records are ordered by name, those of a name by age. */
typedef struct key {
    const char *name;
    size_t      i;
} key;

static int key_order(const void *a, const void *b)
{
    const key *x = a, *y = b;
    const int  c = strcmp(x->name, y->name);
    return c != 0 ? c : x->i < y->i ? -1 : x->i > y->i;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const step *)a)->name, ((const step *)b)->name);
}

/* The length of the folder's part of a name. */
static size_t folder_bytes(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? (size_t)(slash - name) : 0;
}

static int by_folder(const void *a, const void *b)
{
    const char  *x = ((const step *)a)->name, *y = ((const step *)b)->name;
    const size_t n_x = folder_bytes(x), n_y = folder_bytes(y);
    const int    c = memcmp(x, y, n_x < n_y ? n_x : n_y);
    return c != 0 ? c : n_x < n_y ? -1 : n_x > n_y;
}

static bool is_one_of(const ds4_undo *u, const key *keys, size_t n, const undo_state *is)
{
    for (size_t i = 0; i < n; i++) {
        if (undo_state_eq(&u->record[keys[i].i].now, is) || undo_state_eq(&u->record[keys[i].i].was, is))
            return true;
    }
    return false;
}

/* Do the records of one name leave something to do? */
static ds4_status plan_name(way_back *w, const key *keys, size_t n, ds4_err *err)
{
    ds4_undo         *u = w->u;
    const undo_state *was = &u->record[keys[0].i].was;
    step              s = { .name = keys[0].name, .becomes = *was };

    DS4_TRY(undo_state_now(u, s.name, DS4_ROOT_MAX_FILE, true, &s.is, NULL, err));
    if (undo_state_eq(&s.is, was) || (s.is.kind == 'd' && was->kind == 'd')) return DS4_OK;
    if (was->kind == 'x') {
        ds4_str_addf(w->told, "left: %s (its earlier content was too large to keep)\n", s.name);
    } else if (!is_one_of(u, keys, n, &s.is)) {
        ds4_str_addf(w->told, "left: %s (somebody else changed it since)\n", s.name);
    } else {
        w->step[w->n++] = s;
    }
    return DS4_OK;
}

static ds4_status plan(way_back *w, size_t from, ds4_err *err)
{
    const size_t n = w->u->n_records - from;
    key         *keys = malloc((n ? n : 1) * sizeof *keys);
    ds4_status   rc = DS4_OK;

    w->step = calloc(n ? n : 1, sizeof *w->step);
    if (!keys || !w->step) {
        free(keys);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for undo");
    }
    for (size_t i = 0; i < n; i++) keys[i] = (key){ w->u->record[from + i].name, from + i };
    qsort(keys, n, sizeof *keys, key_order);
    for (size_t i = 0; i < n && rc == DS4_OK; ) {
        size_t k = i;
        while (k < n && strcmp(keys[k].name, keys[i].name) == 0) k++;
        rc = plan_name(w, keys + i, k - i, err);
        i = k;
    }
    free(keys);
    return rc;
}

/* Written down before anything happens, so that a crash leaves states that are known. */
static ds4_status announce(way_back *w, ds4_err *err)
{
    ds4_str    lines = { 0 };
    ds4_status rc = ds4_keep_sync(w->u->keep, err);

    for (size_t i = 0; i < w->n; i++)
        undo_line_change(&lines, w->step[i].name, &w->step[i].is, &w->step[i].becomes);
    if (rc == DS4_OK && lines.n_bytes > 0) rc = undo_journal_add(w->u, &lines, err);
    ds4_str_clear(&lines);
    return rc;
}

static void failed(way_back *w, const step *s, const char *why)
{
    w->n_failed++;
    ds4_str_addf(w->told, "failed: %s (%s)\n", s->name, why);
}

/* Take away what is there and is of another kind than what comes. */
static bool take_away(way_back *w, const step *s)
{
    ds4_err err;

    if (ds4_root_remove(w->u->root, s->name, &err) == DS4_OK) return true;
    if (s->is.kind == 'd' && s->becomes.kind == '-') {
        ds4_str_addf(w->told, "left: %s/ (not empty)\n", s->name);
    } else {
        failed(w, s, err.text);
    }
    return false;
}

static ds4_status put_link(const ds4_undo *u, const step *s, const char *target, ds4_err *err)
{
    const char *last = NULL;
    int         dir = -1;

    DS4_TRY(ds4_root_open_parent(u->root, s->name, true, &dir, &last, err));
    const int rc = symlinkat(target, dir, last), e = errno;
    close(dir);
    return rc == 0 ? DS4_OK : ds4_fail(err, DS4_E_IO, "%s: %s", s->name, strerror(e));
}

static void put_back(way_back *w, const step *s)
{
    ds4_undo   *u = w->u;
    ds4_str     content = { 0 };
    ds4_err     err;
    const char *last = NULL;
    int         dir = -1;
    ds4_status  rc;

    if (s->is.kind != '-' && (s->is.kind != 'f' || s->becomes.kind != 'f') && !take_away(w, s)) return;
    if (s->becomes.kind == 'd') {
        rc = ds4_root_open_parent(u->root, s->name, true, &dir, &last, &err);
        if (rc == DS4_OK && mkdirat(dir, last, s->becomes.mode) != 0 && errno != EEXIST)
            rc = ds4_fail(&err, DS4_E_IO, "%s", strerror(errno));
        if (dir >= 0) close(dir);
    } else {
        rc = ds4_keep_get(u->keep, s->becomes.hash, &content, &err);
        const ds4_slice all = { ds4_str_text(&content), content.n_bytes };
        if (rc == DS4_OK) rc = s->becomes.kind == 'l' ? put_link(u, s, all.data, &err) :
                               ds4_root_write(u->root, s->name, all, s->becomes.mode, &err);
    }
    if (rc != DS4_OK)                  failed(w, s, err.text);
    else if (s->becomes.kind != 'd') ds4_str_addf(w->told, "restored: %s\n", s->name);
    ds4_str_clear(&content);
}

/* Names are sorted, so that a folder comes before what it holds: back to front for what goes away, front to
 * back for what comes. */
static void perform(way_back *w)
{
    qsort(w->step, w->n, sizeof *w->step, by_folder);
    for (size_t i = 0; i < w->n; i++) {
        if (i == 0 || by_folder(&w->step[i - 1], &w->step[i]) != 0)
            ds4_root_sweep(w->u->root, w->step[i].name);
    }
    qsort(w->step, w->n, sizeof *w->step, by_name);
    for (size_t i = w->n; i-- > 0; ) {
        const step *s = &w->step[i];
        if (s->becomes.kind != '-') continue;
        if (take_away(w, s) && s->is.kind != 'd') ds4_str_addf(w->told, "removed: %s\n", s->name);
    }
    for (size_t i = 0; i < w->n; i++) {
        if (w->step[i].becomes.kind != '-') put_back(w, &w->step[i]);
    }
}

/* The end: what was done is remembered, and later marks are forgotten. */
static ds4_status conclude(way_back *w, uint64_t mark, ds4_err *err)
{
    ds4_str lines = { 0 };

    for (size_t i = 0; i < w->n; i++) {
        if (!undo_remember(w->u, w->step[i].name, &w->step[i].is, &w->step[i].becomes))
            return ds4_fail(err, DS4_E_NOMEM, "no memory for undo");
    }
    if (w->n_failed > 0) return ds4_fail(err, DS4_E_IO, "%zu files could not be restored", w->n_failed);
    undo_line_back(&lines, mark);
    const ds4_status rc = undo_journal_add(w->u, &lines, err);
    ds4_str_clear(&lines);
    if (rc == DS4_OK) undo_forget_marks(w->u, mark);
    return rc;
}

ds4_status ds4_undo_restore(ds4_undo *u, uint64_t mark, ds4_str *told, ds4_err *err)
{
    ds4_str  own = { 0 };
    way_back w = { .u = u, .told = told ? told : &own };
    size_t   i = 0;

    while (i < u->n_marks && u->mark[i] != mark) i++;
    if (i == u->n_marks)
        return ds4_fail(err, DS4_E_ARG, "the mark %llu is not known", (unsigned long long)mark);
    if (u->in_command) DS4_TRY(ds4_undo_end(u, true, NULL, NULL, err));
    if (u->n_damaged)
        ds4_str_addf(w.told, "left: %zu lines of the journal of changes cannot be read\n", u->n_damaged);
    ds4_status rc = plan(&w, u->mark_at[i], err);
    if (rc == DS4_OK) rc = announce(&w, err);
    if (rc == DS4_OK) {
        perform(&w);
        rc = conclude(&w, mark, err);
    }
    free(w.step);
    ds4_str_clear(&own);
    return rc;
}
