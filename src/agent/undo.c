/* undo.c - see undo.h. */
#include "agent/undo_local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- opening ------------------------------------------------------------------------------ */

void ds4_undo_close(ds4_undo *u)
{
    if (!u) return;
    undo_memory_clear(u);
    undo_tree_clear(&u->tree);
    ds4_keep_close(u->keep);
    if (u->journal >= 0) close(u->journal);
    if (u->dir >= 0) close(u->dir);
    free(u);
}

/* Is the open folder the root, or below it? Asked of the system, so that no link deceives. */
static bool lies_in(int dir, int root)
{
    struct stat inner, outer, above;
    int         fd = dup(dir);
    bool        in = true;

    if (fd < 0 || fstat(root, &outer) != 0) goto done;
    for (int i = 0; i < 4096; i++) {
        if (fstat(fd, &inner) != 0) break;
        if (inner.st_dev == outer.st_dev && inner.st_ino == outer.st_ino) break;
        const int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (up < 0 || fstat(up, &above) != 0) {
            if (up >= 0) close(up);
            break;
        }
        close(fd);
        fd = up;
        if (above.st_dev == inner.st_dev && above.st_ino == inner.st_ino) {
            in = false;
            break;
        }
    }
done:
    if (fd >= 0) close(fd);
    return in;
}

static ds4_status open_files(ds4_undo *u, const char *dir, ds4_err *err)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return ds4_fail(err, DS4_E_IO, "%s: %s", dir, strerror(errno));
    u->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (u->dir < 0) return ds4_fail(err, DS4_E_IO, "%s: %s", dir, strerror(errno));
    if (lies_in(u->dir, ds4_root_fd(u->root)))
        return ds4_fail(err, DS4_E_ARG, "%s lies in the root folder, where commands could change it", dir);
    u->journal = openat(u->dir, "journal", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (u->journal < 0) return ds4_fail(err, DS4_E_IO, "%s/journal: %s", dir, strerror(errno));
    DS4_TRY(ds4_keep_open(&u->keep, u->dir, "contents", err));
    DS4_TRY(undo_journal_read(u, err));
    return undo_tree_load(u, err);
}

ds4_status ds4_undo_open(ds4_undo **out, const ds4_root *root, const char *dir, const ds4_undo_limits *limits,
                         ds4_err *err)
{
    ds4_undo *u = calloc(1, sizeof *u);

    if (!u) return ds4_fail(err, DS4_E_NOMEM, "no memory for undo");
    u->root = root;
    u->dir = u->journal = -1;
    u->next_mark = 1;
    if (limits) u->limits = *limits;
    if (!u->limits.max_file_bytes) u->limits.max_file_bytes = 8u << 20;
    if (!u->limits.max_bytes) u->limits.max_bytes = 1u << 30;
    if (!u->limits.max_entries) u->limits.max_entries = 100000;
    ds4_status rc = open_files(u, dir, err);
    /* A command that a crash cut off: what it changed is written down now. */
    if (rc == DS4_OK && u->in_command) rc = ds4_undo_end(u, false, NULL, NULL, err);
    if (rc != DS4_OK) {
        ds4_undo_close(u);
        return rc;
    }
    if (u->n_records) ds4_root_sweep(root, u->record[u->n_records - 1].name);
    *out = u;
    return DS4_OK;
}

/* ---- marks and single changes --------------------------------------------------------------- */

ds4_status ds4_undo_mark(ds4_undo *u, uint64_t *mark, ds4_err *err)
{
    ds4_str        lines = { 0 };
    const uint64_t next = u->next_mark;

    undo_line_mark(&lines, next);
    ds4_status rc = undo_journal_add(u, &lines, err);
    ds4_str_clear(&lines);
    if (rc != DS4_OK) return rc;
    if (!undo_remember_mark(u, next)) return ds4_fail(err, DS4_E_NOMEM, "no memory for a mark");
    *mark = next;
    return DS4_OK;
}

/* The folders above a name that are missing will be made with it. */
static void folders_above(ds4_undo *u, const char *name, ds4_str *lines)
{
    char              above[DS4_ROOT_NAME_BYTES];
    struct stat       st;
    const undo_state  none = { .kind = '-' }, folder = { .kind = 'd', .mode = 0755 };

    for (const char *slash = name; (slash = strchr(slash, '/')) != NULL; slash++) {
        memcpy(above, name, (size_t)(slash - name));
        above[slash - name] = '\0';
        if (ds4_root_stat(u->root, above, &st, NULL) == DS4_OK) continue;
        undo_line_change(lines, above, &none, &folder);
        if (!undo_remember(u, above, &none, &folder)) lines->failed = true;
    }
}

ds4_status ds4_undo_before(ds4_undo *u, const char *name, const ds4_slice *now, mode_t mode, ds4_err *err)
{
    undo_state was, next = { .kind = '-' };
    ds4_str    lines = { 0 };

    DS4_TRY(undo_state_now(u, name, DS4_ROOT_MAX_FILE, true, &was, NULL, err));
    if (was.kind == 'x') return ds4_fail(err, DS4_E_LIMIT, "%s is too large to be kept for undo", name);
    if (now) {
        next.kind = 'f';
        next.mode = mode ? mode & 0777 : was.kind == 'f' ? was.mode : 0644;
        DS4_TRY(ds4_keep_add(u->keep, *now, next.hash, err));
    }
    DS4_TRY(ds4_keep_sync(u->keep, err));
    const size_t n_before = u->n_records;
    if (now) folders_above(u, name, &lines);
    undo_line_change(&lines, name, &was, &next);
    ds4_status rc = undo_journal_add(u, &lines, err);
    ds4_str_clear(&lines);
    if (rc == DS4_OK && !undo_remember(u, name, &was, &next))
        rc = ds4_fail(err, DS4_E_NOMEM, "no memory for undo");
    if (rc != DS4_OK) undo_forget_records(u, n_before);
    return rc;
}

/* ---- commands --------------------------------------------------------------------------------- */

static void tell_limits(const ds4_undo *u, const undo_tree *t, ds4_str *told)
{
    if (!told || (t->n_ignored == 0 && t->n_large == 0 && !t->bounded && t->n_unreadable == 0)) return;
    ds4_str_add_text(told, "Not covered by undo:");
    const char *comma = "";
    if (t->n_ignored) {
        ds4_str_addf(told, " %zu ignored names", t->n_ignored);
        comma = ",";
    }
    if (t->n_large) {
        ds4_str_addf(told, "%s %zu files above %llu MiB or that cannot be read", comma, t->n_large,
                     (unsigned long long)(u->limits.max_file_bytes >> 20));
        comma = ",";
    }
    if (t->n_unreadable) {
        ds4_str_addf(told, "%s %zu folders that cannot be read", comma, t->n_unreadable);
        comma = ",";
    }
    if (t->bounded)
        ds4_str_addf(told, "%s what lies behind the first %zu names", comma, u->limits.max_entries);
    ds4_str_add_text(told, ".\n");
}

ds4_status ds4_undo_begin(ds4_undo *u, ds4_str *told, ds4_err *err)
{
    undo_tree  now = { 0 };
    ds4_str    lines = { 0 };

    /* A job that still runs has changed something: first the difference, then the new beginning. */
    if (u->in_command) DS4_TRY(ds4_undo_end(u, true, NULL, NULL, err));
    ds4_status rc = undo_tree_look(u, &u->tree, &now, err);
    if (rc == DS4_OK) rc = ds4_keep_sync(u->keep, err);
    if (rc != DS4_OK) {
        undo_tree_clear(&now);
        return rc;
    }
    undo_tree_clear(&u->tree);
    u->tree = now;
    DS4_TRY(undo_tree_save(u, err));
    undo_line_command(&lines, true);
    rc = undo_journal_add(u, &lines, err);
    ds4_str_clear(&lines);
    if (rc != DS4_OK) return rc;
    u->in_command = true;
    tell_limits(u, &u->tree, told);
    return DS4_OK;
}

typedef struct found {
    ds4_undo *u;
    ds4_str   lines;
    void    (*see)(void *ctx, const ds4_undo_change *change);
    void     *ctx;
    bool      failed;
} found;

static bool is_text(const ds4_str *s)
{
    return s->n_bytes == 0 || !memchr(s->data, '\0', s->n_bytes);
}

/* Did a tool write this very state down as the last one of the name? */
static bool is_known(const ds4_undo *u, const char *name, const undo_state *now)
{
    const undo_record *last = undo_newest(u, name);
    return last && undo_state_eq(&last->now, now);
}

static void note_change(found *f, const char *name, const undo_state *was, const undo_state *now)
{
    enum { MOST_SHOWN = 512 << 10 };
    ds4_str before = { 0 }, after = { 0 };

    if (undo_state_eq(was, now) || (was->kind == 'd' && now->kind == 'd') || is_known(f->u, name, now))
        return;
    undo_line_change(&f->lines, name, was, now);
    if (!undo_remember(f->u, name, was, now)) f->failed = true;
    if (!f->see) return;
    ds4_undo_change c = { .name = name, .made = was->kind == '-', .removed = now->kind == '-',
                          .kept = was->kind != 'x' };
    if ((was->kind == 'f' || was->kind == '-') && (now->kind == 'f' || now->kind == '-')) {
        c.is_text = (was->kind == '-' || ds4_keep_get(f->u->keep, was->hash, &before, NULL) == DS4_OK) &&
                    (now->kind == '-' || ds4_keep_get(f->u->keep, now->hash, &after, NULL) == DS4_OK) &&
                    is_text(&before) && is_text(&after) && before.n_bytes + after.n_bytes <= MOST_SHOWN;
        c.before = (ds4_slice){ ds4_str_text(&before), before.n_bytes };
        c.after = (ds4_slice){ ds4_str_text(&after), after.n_bytes };
    }
    f->see(f->ctx, &c);
    ds4_str_clear(&before);
    ds4_str_clear(&after);
}

static void compare(found *f, const undo_tree *was, const undo_tree *now)
{
    const undo_state none = { .kind = '-' };
    size_t           i = 0, k = 0;

    while (i < was->n || k < now->n) {
        const int c = i == was->n ? 1 : k == now->n ? -1 : strcmp(was->entry[i].name, now->entry[k].name);
        if (c == 0) {
            note_change(f, was->entry[i].name, &was->entry[i].state, &now->entry[k].state);
        } else if (c < 0) {
            /* Out of sight is not gone: it may be ignored now. */
            undo_state state;
            const char *name = was->entry[i].name;
            if (undo_state_now(f->u, name, f->u->limits.max_file_bytes, true, &state, NULL, NULL) == DS4_OK)
                note_change(f, name, &was->entry[i].state, &state);
        } else if (!undo_tree_ignores(was, now->entry[k].name) && !was->bounded) {
            note_change(f, now->entry[k].name, &none, &now->entry[k].state);
        }
        i += c <= 0;
        k += c >= 0;
    }
}

ds4_status ds4_undo_end(ds4_undo *u, bool more_follows, ds4_undo_see_fn *see, void *ctx, ds4_err *err)
{
    undo_tree now = { 0 };
    found     f = { .u = u, .see = see, .ctx = ctx };

    if (!u->in_command) return DS4_OK;
    ds4_status rc = undo_tree_look(u, &u->tree, &now, err);
    if (rc != DS4_OK) {
        undo_tree_clear(&now);
        return rc;
    }
    compare(&f, &u->tree, &now);
    if (!more_follows) undo_line_command(&f.lines, false);
    if (f.failed) rc = ds4_fail(err, DS4_E_NOMEM, "no memory for undo");
    if (rc == DS4_OK) rc = ds4_keep_sync(u->keep, err);
    if (rc == DS4_OK && f.lines.n_bytes > 0) rc = undo_journal_add(u, &f.lines, err);
    ds4_str_clear(&f.lines);
    undo_tree_clear(&u->tree);
    u->tree = now;
    if (rc != DS4_OK) return rc;
    u->in_command = more_follows;
    return more_follows ? undo_tree_save(u, err) : DS4_OK;
}
