/* guard.c - git's settings and hooks before a command, put back after it.
 *
 * Whoever runs git later runs it outside of the sandbox, and git runs what its settings, hooks and attributes
 * name. A command may commit and branch, but what git would run stays what it was. */
#include "agent/tools_local.h"

#include "agent/walk.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { MOST_FILES = 4096, MOST_BYTES = 1 << 20 };

typedef struct guarded {
    char   *name;
    char    kind;               /* 'f' a file, 'l' a link */
    mode_t  mode;
    ds4_str content;
    bool    met;                /* in the look that compares */
} guarded;

struct guard {
    guarded *file;
    size_t   n, capacity;
    bool     failed;
};

static bool is_config(const char *last)
{
    return strcmp(last, "config") == 0 || strcmp(last, "config.worktree") == 0;
}

/* A folder that git takes for a repository, whatever its name. */
static bool looks_like_repository(int dir)
{
    return faccessat(dir, "HEAD", F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
           faccessat(dir, "objects", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Is this what git reads to know what to run? */
static bool is_guarded(const ds4_walk_entry *e)
{
    const char *git = strncmp(e->name, ".git/", 5) == 0 ? e->name : strstr(e->name, "/.git/");

    if (strcmp(e->last, ".git") == 0) return true;      /* a file that names the folder */
    if (is_config(e->last) && looks_like_repository(e->dir)) return true;
    if (!git) return false;
    git += *git == '/';
    if (strncmp(git, ".git/refs/", 10) == 0 || strncmp(git, ".git/logs/", 10) == 0) return false;
    if (is_config(e->last) || strcmp(e->last, "commondir") == 0 || strcmp(e->last, "gitdir") == 0)
        return true;
    const size_t n = strlen(git);
    if (strstr(git, "/hooks/")) return n < 7 || strcmp(git + n - 7, ".sample") != 0;
    return n > 16 && strcmp(git + n - 16, "/info/attributes") == 0;
}

/* ---- settings that run nothing ----------------------------------------------------------- */

static bool is_one_of(ds4_slice word, const char *const *list)
{
    for (; *list; list++) {
        if (strlen(*list) == word.n_bytes && strncasecmp(word.data, *list, word.n_bytes) == 0) return true;
    }
    return false;
}

static ds4_slice first_word(ds4_slice line)
{
    size_t n = 0;
    while (n < line.n_bytes && (isalnum((unsigned char)line.data[n]) || line.data[n] == '-')) n++;
    return (ds4_slice){ line.data, n };
}

/* Does this line of a configuration name no program? *harmless_section is that of the lines before. */
static bool is_harmless(ds4_slice line, bool *harmless_section)
{
    static const char *const sections[] = { "core", "user", "branch", "remote", "init", NULL };
    static const char *const keys[] = { "repositoryformatversion", "filemode", "bare", "logallrefupdates",
                                        "symlinks",
                                        "ignorecase", "precomposeunicode", "name", "email", "remote",
                                            "merge", "fetch",
                                        "url", "defaultbranch", NULL };
    while (line.n_bytes > 0 && isspace((unsigned char)line.data[0])) {
        line.data++;
        line.n_bytes--;
    }
    while (line.n_bytes > 0 && isspace((unsigned char)line.data[line.n_bytes - 1])) line.n_bytes--;
    if (line.n_bytes == 0) return true;
    if (line.data[line.n_bytes - 1] == '\\') return false;      /* goes on in the next line */
    if (line.data[0] == '[') {
        *harmless_section = is_one_of(first_word((ds4_slice){ line.data + 1, line.n_bytes - 1 }), sections) &&
                            line.data[line.n_bytes - 1] == ']' &&
                            memchr(line.data, ']', line.n_bytes) == line.data + line.n_bytes - 1;
        return *harmless_section;
    }
    return *harmless_section && is_one_of(first_word(line), keys) &&
        !memmem(line.data, line.n_bytes, "ext::", 5) &&
           !memmem(line.data, line.n_bytes, "[", 1);
}

/* The lines that are not harmless, one after the other. */
static void essence(ds4_slice text, ds4_str *out)
{
    bool harmless_section = false;

    for (size_t at = 0; at < text.n_bytes; ) {
        const char     *end = memchr(text.data + at, '\n', text.n_bytes - at);
        const size_t    n = end ? (size_t)(end - text.data) - at : text.n_bytes - at;
        const ds4_slice line = { text.data + at, n };
        if (!is_harmless(line, &harmless_section)) {
            ds4_str_add(out, line.data, line.n_bytes);
            ds4_str_add_char(out, '\n');
        }
        at += n + 1;
    }
}

/* May a configuration become this? before is empty for a new one. */
static bool may_become(ds4_slice before, ds4_slice after)
{
    ds4_str a = { 0 }, b = { 0 };

    essence(before, &a);
    essence(after, &b);
    const bool may = !a.failed && !b.failed && a.n_bytes == b.n_bytes &&
                     memcmp(ds4_str_text(&a), ds4_str_text(&b), a.n_bytes) == 0;
    ds4_str_clear(&a);
    ds4_str_clear(&b);
    return may;
}

/* ---- taking --------------------------------------------------------------------------------- */

static guarded *add(struct guard *g, const char *name)
{
    if (g->n == MOST_FILES) return NULL;
    if (g->n == g->capacity) {
        const size_t n = g->capacity ? 2 * g->capacity : 64;
        guarded     *more = realloc(g->file, n * sizeof *more);
        if (!more) return NULL;
        g->file = more;
        g->capacity = n;
    }
    guarded *f = &g->file[g->n];
    memset(f, 0, sizeof *f);
    f->name = strdup(name);
    if (!f->name) return NULL;
    g->n++;
    return f;
}

/* The content of a file or a link; more than MOST_BYTES is no setting of anybody. */
static bool content_of(const ds4_walk_entry *e, ds4_str *out)
{
    char    piece[16384];
    ssize_t n;

    if (S_ISLNK(e->st->st_mode)) {
        n = readlinkat(e->dir, e->last, piece, sizeof piece);
        if (n > 0) ds4_str_add(out, piece, (size_t)n);
        return n > 0 && !out->failed;
    }
    const int fd = openat(e->dir, e->last, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false;
    while ((n = read(fd, piece, sizeof piece)) > 0 && out->n_bytes <= MOST_BYTES)
        ds4_str_add(out, piece, (size_t)n);
    close(fd);
    return n == 0 && out->n_bytes <= MOST_BYTES && !out->failed;
}

static ds4_walk_next keep(void *ctx, const ds4_walk_entry *e)
{
    struct guard *g = ctx;
    guarded      *f;

    if (S_ISDIR(e->st->st_mode) || !is_guarded(e)) return DS4_WALK_ON;
    f = add(g, e->name);
    if (!f) {
        g->failed = true;
        return DS4_WALK_STOP;
    }
    f->kind = S_ISLNK(e->st->st_mode) ? 'l' : 'f';
    f->mode = e->st->st_mode & 0777;
    if (!content_of(e, &f->content)) g->failed = true;
    return DS4_WALK_ON;
}

struct guard *guard_take(const ds4_root *root)
{
    struct guard          *g = calloc(1, sizeof *g);
    ds4_walk_end           end;
    const ds4_walk_options opt = { .all = true, .git = true, .see = keep, .ctx = g };

    if (g && (ds4_walk(root, ".", &opt, &end, NULL) != DS4_OK || g->failed)) {
        guard_free(g);
        return NULL;
    }
    return g;
}

void guard_free(struct guard *g)
{
    if (!g) return;
    for (size_t i = 0; i < g->n; i++) {
        free(g->file[i].name);
        ds4_str_clear(&g->file[i].content);
    }
    free(g->file);
    free(g);
}

/* ---- comparing ------------------------------------------------------------------------------ */

typedef struct check {
    const struct guard *g;
    char               *bad[MOST_FILES];        /* names that are new or differ */
    size_t              n_bad;
} check;

static guarded *find(const struct guard *g, const char *name)
{
    for (size_t i = 0; i < g->n; i++) {
        if (strcmp(g->file[i].name, name) == 0) return &g->file[i];
    }
    return NULL;
}

static ds4_walk_next compare(void *ctx, const ds4_walk_entry *e)
{
    check  *c = ctx;
    ds4_str now = { 0 };

    if (S_ISDIR(e->st->st_mode) || !is_guarded(e)) return DS4_WALK_ON;
    guarded   *f = find(c->g, e->name);
    const char kind = S_ISLNK(e->st->st_mode) ? 'l' : 'f';
    const bool readable = content_of(e, &now);
    const ds4_slice is = { ds4_str_text(&now), now.n_bytes };
    const ds4_slice was = f ? (ds4_slice){ ds4_str_text(&f->content), f->content.n_bytes } : DS4_SLICE("");
    const bool equal = f && f->kind == kind && (kind == 'l' || f->mode == (e->st->st_mode & 0777)) &&
                       ds4_slice_eq(is, was);
    const bool same = readable && (equal || (kind == 'f' && is_config(e->last) && (!f || f->kind == 'f') &&
                                             may_become(was, is)));
    ds4_str_clear(&now);
    if (f) f->met = same;
    if (!same && c->n_bad < MOST_FILES && (c->bad[c->n_bad] = strdup(e->name)) != NULL) c->n_bad++;
    return DS4_WALK_ON;
}

static bool put_back(const guarded *f, const ds4_root *root)
{
    const char *last = NULL;
    int         dir = -1;

    (void)!ds4_root_remove(root, f->name, NULL);
    if (f->kind == 'f')
        return ds4_root_write(root, f->name, (ds4_slice){ ds4_str_text(&f->content), f->content.n_bytes },
                              f->mode,
                              NULL) == DS4_OK;
    if (ds4_root_open_parent(root, f->name, true, &dir, &last, NULL) != DS4_OK) return false;
    const bool ok = symlinkat(ds4_str_text(&f->content), dir, last) == 0;
    close(dir);
    return ok;
}

unsigned guard_check(const struct guard *g, const ds4_root *root, ds4_str *told)
{
    check                  c = { .g = g };
    ds4_walk_end           end;
    unsigned               n = 0;
    const ds4_walk_options opt = { .all = true, .git = true, .see = compare, .ctx = &c };

    for (size_t i = 0; i < g->n; i++) g->file[i].met = false;
    (void)!ds4_walk(root, ".", &opt, &end, NULL);
    for (size_t i = 0; i < c.n_bad; i++) {
        if (!find(g, c.bad[i])) {
            (void)!ds4_root_remove(root, c.bad[i], NULL);
            ds4_str_addf(told, "%s%s", n++ ? ", " : "", c.bad[i]);
        }
        free(c.bad[i]);
    }
    for (size_t i = 0; i < g->n; i++) {
        if (g->file[i].met) continue;
        const bool ok = put_back(&g->file[i], root);
        ds4_str_addf(told, "%s%s%s", n++ ? ", " : "", g->file[i].name, ok ? "" : " (failed)");
    }
    return n;
}
