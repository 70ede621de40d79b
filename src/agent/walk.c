/* walk.c - see walk.h. */
#include "agent/walk.h"

#include "agent/ignore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { USUAL_DEPTH = 64, USUAL_ENTRIES = 200000, MOST_IN_FOLDER = 200000 };

typedef struct tree {
    const ds4_root         *root;
    const ds4_walk_options *opt;
    ds4_walk_end           *end;
    ds4_ignore             *ignore;
    unsigned                max_depth;
    size_t                  max_entries;
    ds4_status              status;
    ds4_err                *err;
} tree;

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **name, size_t n)
{
    for (size_t i = 0; i < n; i++) free(name[i]);
    free(name);
}

/* The names in a folder, sorted. NULL with *n = 0 for an empty or unreadable one. */
static char **names_of(tree *t, int fd, size_t *n_out)
{
    char         **name = NULL;
    size_t         n = 0, capacity = 0;
    struct dirent *entry;
    const int      own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR           *dir = own >= 0 ? fdopendir(own) : NULL;

    *n_out = 0;
    if (!dir) {
        if (own >= 0) close(own);
        t->end->n_unreadable++;
        return NULL;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (n == MOST_IN_FOLDER) {
            t->end->bounded = true;
            break;
        }
        if (n == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            char **more = realloc(name, capacity * sizeof *more);
            if (!more) break;
            name = more;
        }
        name[n] = strdup(entry->d_name);
        if (!name[n]) break;
        n++;
    }
    if (entry && n < MOST_IN_FOLDER)
        t->status = ds4_fail(t->err, DS4_E_NOMEM, "no memory for the names in a folder");
    closedir(dir);
    if (n > 0) qsort(name, n, sizeof *name, by_name);
    *n_out = n;
    return name;
}

/* Add the patterns of a folder's .gitignore, or of .git/info/exclude at the top. */
static void read_ignore(tree *t, int dir, const char *file, const char *folder)
{
    struct stat st;
    char        piece[16384];
    ds4_str     text = { 0 };
    ssize_t     n;
    const int   fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0) return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        while (text.n_bytes < DS4_IGNORE_MAX_BYTES && (n = read(fd, piece, sizeof piece)) > 0)
            ds4_str_add(&text, piece, (size_t)n);
        const ds4_slice all = { ds4_str_text(&text), text.n_bytes };
        if (ds4_ignore_add(t->ignore, folder, all, NULL) != DS4_OK) t->end->bounded = true;
    }
    close(fd);
    ds4_str_clear(&text);
}

static bool is_git_store(const char *name)
{
    const size_t n = strlen(name);
    return n >= 8 && strcmp(name + n - 8, "/objects") == 0 &&
        (strncmp(name, ".git/", 5) == 0 || strstr(name, "/.git/"));
}

static bool going(const tree *t)
{
    return t->status == DS4_OK && !t->end->stopped;
}

static void enter(tree *t, int fd, const char *name, unsigned depth);

/* One name of a folder. at_top: the folder is the root itself. */
static void look_at(tree *t, int dir, const char *folder, const char *last, unsigned depth)
{
    char              name[DS4_ROOT_NAME_BYTES];
    struct stat       st;
    const bool        at_top = strcmp(folder, ".") == 0;

    if (t->end->n_entries >= t->max_entries) {
        t->end->bounded = t->end->stopped = true;
        return;
    }
    if ((size_t)snprintf(name, sizeof name, at_top ? "%s%s" : "%s/%s", at_top ? "" : folder,
                         last) >= sizeof name) {
        t->end->bounded = true;
        return;
    }
    if (fstatat(dir, last, &st, AT_SYMLINK_NOFOLLOW) != 0) return;
    const bool is_folder = S_ISDIR(st.st_mode), is_git = strcmp(last, ".git") == 0;
    if (is_git && !t->opt->git) return;
    if (t->opt->git && is_folder && is_git_store(name)) return;
    t->end->n_entries++;
    const ds4_walk_entry entry = { name, &st, dir, last };
    if (!t->opt->all && !is_git && ds4_ignore_matches(t->ignore, name, is_folder)) {
        t->end->n_ignored++;
        if (t->opt->skipped) t->opt->skipped(t->opt->ctx, &entry);
        return;
    }
    const ds4_walk_next next = t->opt->see(t->opt->ctx, &entry);
    if (next == DS4_WALK_STOP) t->end->stopped = true;
    if (next != DS4_WALK_ON || !is_folder) return;
    if (depth >= t->max_depth) {
        t->end->bounded = true;
        return;
    }
    const int fd = openat(dir, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        t->end->n_unreadable++;
        return;
    }
    enter(t, fd, name, depth + 1);
}

/* Everything in a folder; closes fd. */
static void enter(tree *t, int fd, const char *name, unsigned depth)
{
    const size_t n_patterns = ds4_ignore_count(t->ignore);
    size_t       n = 0;

    if (!t->opt->all) read_ignore(t, fd, ".gitignore", strcmp(name, ".") == 0 ? "" : name);
    char **last = names_of(t, fd, &n);
    for (size_t i = 0; i < n && going(t); i++) look_at(t, fd, name, last[i], depth);
    free_names(last, n);
    ds4_ignore_drop(t->ignore, n_patterns);
    close(fd);
}

/* The patterns of the folders above where the walk begins. */
static void read_above(tree *t, const char *name)
{
    char above[DS4_ROOT_NAME_BYTES];
    int  fd = -1;

    read_ignore(t, ds4_root_fd(t->root), ".git/info/exclude", "");
    if (strcmp(name, ".") == 0) return;
    read_ignore(t, ds4_root_fd(t->root), ".gitignore", "");
    for (const char *slash = name; (slash = strchr(slash, '/')) != NULL; slash++) {
        memcpy(above, name, (size_t)(slash - name));
        above[slash - name] = '\0';
        if (ds4_root_open_at(t->root, above, O_RDONLY | O_DIRECTORY, &fd, NULL) != DS4_OK) continue;
        read_ignore(t, fd, ".gitignore", above);
        close(fd);
    }
}

ds4_status ds4_walk(const ds4_root *root, const char *name, const ds4_walk_options *opt, ds4_walk_end *end,
                    ds4_err *err)
{
    struct stat st;
    char        real[DS4_ROOT_NAME_BYTES];
    int         fd = -1;
    tree        t = { .root = root, .opt = opt, .end = end, .err = err,
                      .max_depth = opt->max_depth ? opt->max_depth : USUAL_DEPTH,
                      .max_entries = opt->max_entries ? opt->max_entries : USUAL_ENTRIES };

    *end = (ds4_walk_end){ 0 };
    DS4_TRY(ds4_root_real(root, name, real, err));
    DS4_TRY(ds4_root_stat(root, real, &st, err));
    if (!S_ISDIR(st.st_mode)) {
        const char *last = NULL;
        DS4_TRY(ds4_root_open_parent(root, real, false, &fd, &last, err));
        const ds4_walk_entry entry = { real, &st, fd, last };
        end->n_entries = 1;
        opt->see(opt->ctx, &entry);
        close(fd);
        return DS4_OK;
    }
    DS4_TRY(ds4_root_open_at(root, real, O_RDONLY | O_DIRECTORY, &fd, err));
    t.ignore = ds4_ignore_create();
    if (!t.ignore) {
        close(fd);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a walk over %s", name);
    }
    if (!opt->all) read_above(&t, real);
    enter(&t, fd, real, 1);
    ds4_ignore_free(t.ignore);
    return t.status;
}
