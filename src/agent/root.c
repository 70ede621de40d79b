/* root.c - see root.h. */
#include "agent/root.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#endif
#if defined(__linux__) && defined(SYS_openat2)
#include <linux/openat2.h>
#define HAVE_OPENAT2 1
#else
#define HAVE_OPENAT2 0
#endif
#ifndef O_PATH
#define O_PATH (O_RDONLY | O_NONBLOCK | O_NOCTTY)     /* opens what the others would wait for */
#endif

struct ds4_root {
    int   fd;
    bool  walk;         /* openat2() is not to be used */
    char *path;
};

enum { MOST_LINKS = 40, MOST_DEPTH = 256 };

/* ---- opening one step, however the system can -------------------------------------- */

#if HAVE_OPENAT2
static int open_beneath(int dir, const char *name, int flags, uint64_t resolve)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve,
    };
    long fd;
    int  tries = 0;

    /* A rename elsewhere while `..` of a link is resolved says EAGAIN; the kernel asks for another try. */
    do fd = syscall(SYS_openat2, dir, name, &how, sizeof how);
    while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < 64)));
    return (int)fd;
}
#endif

/* The walk: folders that are open, from the root down, and what is still to be resolved. */
typedef struct walk {
    int  dir[MOST_DEPTH];
    int  depth;                 /* dir[0] is the root's and not ours to close */
    int  n_links;
    char rest[2 * DS4_ROOT_NAME_BYTES];
} walk;

static void walk_up(walk *w, int to)
{
    while (w->depth > to) close(w->dir[w->depth--]);
}

/* Take the first component off the rest; false at its end. */
static bool next_component(walk *w, char part[NAME_MAX + 1], bool *last)
{
    char  *at = w->rest + strspn(w->rest, "/");
    size_t n = strcspn(at, "/");

    part[0] = '\0';
    if (n == 0) return false;
    if (n > NAME_MAX) {
        memset(part, 'x', NAME_MAX);    /* the system would say the same of any name this long */
        part[NAME_MAX] = '\0';
    } else {
        memcpy(part, at, n);
        part[n] = '\0';
    }
    const char *after = at + n;
    *last = after[strspn(after, "/")] == '\0';
    memmove(w->rest, after, strlen(after) + 1);
    return true;
}

/* Put a link's text before the rest. Returns 0, or -1 with errno. */
static int follow(walk *w, int dir, const char *part)
{
    char          text[DS4_ROOT_NAME_BYTES];
    const ssize_t n = readlinkat(dir, part, text, sizeof text - 1);

    if (n < 0) return -1;
    text[n] = '\0';
    if (++w->n_links > MOST_LINKS) {
        errno = ELOOP;
        return -1;
    }
    if (text[0] == '/') {
        errno = EXDEV;
        return -1;
    }
    const size_t rest = strlen(w->rest);
    if ((size_t)n + 1 + rest + 1 > sizeof w->rest) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memmove(w->rest + n + 1, w->rest, rest + 1);
    memcpy(w->rest, text, (size_t)n);
    w->rest[n] = '/';
    return 0;
}

static int step_into(walk *w, const char *part)
{
    if (w->depth + 1 >= MOST_DEPTH) {
        errno = ENAMETOOLONG;
        return -1;
    }
    const int fd = openat(w->dir[w->depth], part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return -1;
    w->dir[++w->depth] = fd;
    return 0;
}

/* Enter a component before the last one: 0 to go on, -1 with errno. */
static int walk_component(walk *w, const char *part, bool links)
{
    struct stat st;
    const int   dir = w->dir[w->depth];

    if (strcmp(part, ".") == 0) return 0;
    if (strcmp(part, "..") == 0) {
        if (w->depth == 0) {
            errno = EXDEV;
            return -1;
        }
        walk_up(w, w->depth - 1);
        return 0;
    }
    if (fstatat(dir, part, &st, AT_SYMLINK_NOFOLLOW) != 0) return -1;
    if (S_ISLNK(st.st_mode)) {
        if (links) return follow(w, dir, part);
        errno = ELOOP;
        return -1;
    }
    return step_into(w, part);
}

static int open_walk(int root, const char *name, int flags, bool links)
{
    char        part[NAME_MAX + 1];
    bool        last = false;
    int         fd = -1;
    struct stat st;
    walk        w = { .dir = { root } };

    if (strlen(name) >= DS4_ROOT_NAME_BYTES) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(w.rest, name, strlen(name) + 1);
    for (;;) {
        if (!next_component(&w, part, &last)) {     /* the folder itself, also at the end of a link */
            fd = openat(w.dir[w.depth], ".", flags | O_CLOEXEC);
            break;
        }
        const bool dots = strcmp(part, ".") == 0 || strcmp(part, "..") == 0;
        if (!last || dots) {
            if (walk_component(&w, part, links) != 0) break;
            continue;
        }
        if (links && fstatat(w.dir[w.depth], part, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode) &&
            !(flags & O_NOFOLLOW)) {
            if (follow(&w, w.dir[w.depth], part) != 0) break;
            continue;
        }
        fd = openat(w.dir[w.depth], part, flags | O_NOFOLLOW | O_CLOEXEC);
        break;
    }
    const int e = errno;
    walk_up(&w, 0);
    errno = e;
    return fd;
}

static int open_any(const ds4_root *root, const char *name, int flags, bool links)
{
#if HAVE_OPENAT2
    if (!root->walk) return open_beneath(root->fd, name, flags, links ? 0 : RESOLVE_NO_SYMLINKS);
#endif
    return open_walk(root->fd, name, flags, links);
}

static ds4_status refuse(ds4_err *err, const char *name, int e)
{
    switch (e) {
    case EXDEV: return ds4_fail(err, DS4_E_ARG, "%s leads outside of the root folder", name);
    case ELOOP: return ds4_fail(err, DS4_E_ARG, "%s: links in circles, or a link where none may be", name);
    default:    return ds4_fail(err, DS4_E_IO, "%s: %s", name, strerror(e));
    }
}

/* ---- the root ------------------------------------------------------------------------ */

ds4_status ds4_root_open(ds4_root **out, const char *path, ds4_err *err)
{
    ds4_root *root = calloc(1, sizeof *root);

    if (!root) return ds4_fail(err, DS4_E_NOMEM, "no memory for a root folder");
    root->fd = -1;
    root->path = realpath(path, NULL);
    if (!root->path) {
        const int e = errno;
        ds4_root_close(root);
        return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(e));
    }
    if (strcmp(root->path, "/") == 0 || strlen(root->path) >= DS4_ROOT_NAME_BYTES) {
        ds4_root_close(root);
        return ds4_fail(err, DS4_E_ARG,
                        "%s cannot be the root folder of an agent; choose a project's folder", path);
    }
    root->fd = open(root->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (root->fd < 0) {
        const int e = errno;
        ds4_root_close(root);
        return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(e));
    }
    /* Old kernels do not have the call, and some containers forbid it. */
    const int probe = open_any(root, ".", O_RDONLY | O_DIRECTORY, true);
    if (probe < 0) root->walk = true;
    else           close(probe);
    *out = root;
    return DS4_OK;
}

void ds4_root_close(ds4_root *root)
{
    if (!root) return;
    if (root->fd >= 0) close(root->fd);
    free(root->path);
    free(root);
}

int         ds4_root_fd(const ds4_root *root) { return root->fd; }
const char *ds4_root_path(const ds4_root *root) { return root->path; }
void        ds4_root_set_walk(ds4_root *root, bool walk_only) { root->walk = walk_only || !HAVE_OPENAT2; }

/* ---- names -------------------------------------------------------------------------- */

/* Append the components of text to out, which has n bytes; `..` takes one off. False when that leaves
 * the root or the name gets too long. */
static bool normalise(const char *text, char *out, size_t *n_out)
{
    size_t n = *n_out;

    while (*text) {
        text += strspn(text, "/");
        const size_t part = strcspn(text, "/");
        if (part == 0 || (part == 1 && text[0] == '.')) {
            text += part;
            continue;
        }
        if (part == 2 && text[0] == '.' && text[1] == '.') {
            if (n == 0) return false;
            while (n > 0 && out[n - 1] != '/') n--;
            if (n > 0) n--;
        } else {
            if (n + part + 2 > DS4_ROOT_NAME_BYTES) return false;
            if (n > 0) out[n++] = '/';
            memcpy(out + n, text, part);
            n += part;
        }
        text += part;
    }
    *n_out = n;
    out[n] = '\0';
    return true;
}

ds4_status ds4_root_name(const ds4_root *root, ds4_slice path, char out[DS4_ROOT_NAME_BYTES], ds4_err *err)
{
    char         text[DS4_ROOT_NAME_BYTES];
    const char  *from = text;
    const size_t n_root = strlen(root->path);
    size_t       n = 0;

    if (path.n_bytes == 0) return ds4_fail(err, DS4_E_ARG, "an empty path");
    if (path.n_bytes >= sizeof text)
        return ds4_fail(err, DS4_E_ARG, "a path of %zu bytes is too long", path.n_bytes);
    if (memchr(path.data, '\0', path.n_bytes)) return ds4_fail(err, DS4_E_ARG, "a path with a zero byte");
    memcpy(text, path.data, path.n_bytes);
    text[path.n_bytes] = '\0';
    if (text[0] == '/') {
        if (strncmp(text, root->path, n_root) != 0 || (text[n_root] != '/' && text[n_root] != '\0'))
            return ds4_fail(err, DS4_E_ARG, "%.200s is outside of the root folder; paths are relative to it",
                            text);
        from = text + n_root;
    }
    if (!normalise(from, out, &n))
        return ds4_fail(err, DS4_E_ARG, "%.200s is outside of the root folder; paths are relative to it",
                        text);
    if (n == 0) memcpy(out, ".", 2);
    return DS4_OK;
}

/* Resolve the links of a name one by one. Only text is handled here: what is opened later is checked
 * again by the system, without links. */
ds4_status ds4_root_real(const ds4_root *root, const char *name, char out[DS4_ROOT_NAME_BYTES], ds4_err *err)
{
    char   rest[2 * DS4_ROOT_NAME_BYTES], link[DS4_ROOT_NAME_BYTES];
    size_t n = 0;
    int    n_links = 0;

    if (strlen(name) >= DS4_ROOT_NAME_BYTES) return ds4_fail(err, DS4_E_ARG, "a path that is too long");
    memcpy(rest, name, strlen(name) + 1);
    out[0] = '\0';
    char *at = rest;
    while (*(at += strspn(at, "/"))) {
        const size_t part = strcspn(at, "/"), before = n;
        const char   end = at[part];
        at[part] = '\0';
        if (!normalise(at, out, &n)) return refuse(err, name, EXDEV);
        at[part] = end;
        at += part;
        if (n <= before) continue;
        /* The folders above have been resolved, so that only the last part may be a link. */
        const char *last = NULL;
        int         dir = -1;
        if (ds4_root_open_parent(root, out, false, &dir, &last, NULL) != DS4_OK) continue;
        const ssize_t n_link = readlinkat(dir, last, link, sizeof link - 1);
        close(dir);
        if (n_link < 0) continue;
        link[n_link] = '\0';
        if (link[0] == '/') return refuse(err, name, EXDEV);
        if (++n_links > MOST_LINKS) return refuse(err, name, ELOOP);
        const size_t n_rest = strlen(at);
        if ((size_t)n_link + 1 + n_rest >= sizeof rest) return refuse(err, name, ENAMETOOLONG);
        memmove(rest + n_link + 1, at, n_rest + 1);
        memcpy(rest, link, (size_t)n_link);
        rest[n_link] = '/';
        at = rest;
        n = before;
        out[n] = '\0';
    }
    if (n == 0) memcpy(out, ".", 2);
    return DS4_OK;
}

/* ---- what has a name ------------------------------------------------------------------- */

ds4_status ds4_root_open_at(const ds4_root *root, const char *name, int flags, int *fd, ds4_err *err)
{
    if (flags & O_CREAT) return ds4_fail(err, DS4_E_ARG, "files are created by ds4_root_write()");
    *fd = open_any(root, name, flags & O_PATH ? flags : flags | O_NONBLOCK | O_NOCTTY, true);
    return *fd < 0 ? refuse(err, name, errno) : DS4_OK;
}

ds4_status ds4_root_stat(const ds4_root *root, const char *name, struct stat *st, ds4_err *err)
{
    const int fd = open_any(root, name, O_PATH, true);

    if (fd < 0) return refuse(err, name, errno);
    const int rc = fstat(fd, st), e = errno;
    close(fd);
    return rc != 0 ? refuse(err, name, e) : DS4_OK;
}

ds4_status ds4_root_open_parent(const ds4_root *root, const char *name, bool make, int *fd, const char **last,
                                ds4_err *err)
{
    char        above[DS4_ROOT_NAME_BYTES];
    const char *slash = strrchr(name, '/');

    *last = slash ? slash + 1 : name;
    if (strcmp(name, ".") == 0) return ds4_fail(err, DS4_E_ARG, "the root folder itself has no parent here");
    if (!slash) {
        *fd = open_any(root, ".", O_RDONLY | O_DIRECTORY, false);
        return *fd < 0 ? refuse(err, name, errno) : DS4_OK;
    }
    memcpy(above, name, (size_t)(slash - name));
    above[slash - name] = '\0';
    *fd = open_any(root, above, O_RDONLY | O_DIRECTORY, false);
    if (*fd < 0 && errno == ENOENT && make) {
        const char *part = NULL;
        int         dir = -1;
        DS4_TRY(ds4_root_open_parent(root, above, true, &dir, &part, err));
        const int rc = mkdirat(dir, part, 0777), e = errno;
        close(dir);
        if (rc != 0 && e != EEXIST) return refuse(err, above, e);
        *fd = open_any(root, above, O_RDONLY | O_DIRECTORY, false);
    }
    return *fd < 0 ? refuse(err, name, errno) : DS4_OK;
}

static ds4_status check_regular(const char *name, const struct stat *st, ds4_err *err)
{
    if (S_ISDIR(st->st_mode)) return ds4_fail(err, DS4_E_ARG, "%s is a folder", name);
    if (!S_ISREG(st->st_mode))
        return ds4_fail(err, DS4_E_ARG, "%s is not a regular file (a device, FIFO or socket)", name);
    if (st->st_nlink > 1)
        return ds4_fail(err, DS4_E_ARG,
                        "%s has %ju names (hard links), and another may be outside of the root folder",
                        name, (uintmax_t)st->st_nlink);
    return DS4_OK;
}

ds4_status ds4_root_read(const ds4_root *root, const char *name, size_t max_bytes, ds4_str *out,
                         struct stat *st,
                         ds4_err *err)
{
    struct stat facts;
    char        piece[65536];
    int         fd = -1;
    size_t      total = 0;

    DS4_TRY(ds4_root_open_at(root, name, O_RDONLY, &fd, err));
    ds4_status rc = fstat(fd, &facts) != 0 ? refuse(err, name, errno) : check_regular(name, &facts, err);
    if (rc == DS4_OK && (uintmax_t)facts.st_size > max_bytes)
        rc = ds4_fail(err, DS4_E_LIMIT, "%s has %ju bytes, at most %zu are handled", name,
                      (uintmax_t)facts.st_size, max_bytes);
    while (rc == DS4_OK) {
        const ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) rc = refuse(err, name, errno);
        if (n <= 0) break;
        total += (size_t)n;
        if (total > max_bytes)
            rc = ds4_fail(err, DS4_E_LIMIT, "%s grew above %zu bytes while it was read", name, max_bytes);
        else
            ds4_str_add(out, piece, (size_t)n);
    }
    close(fd);
    if (rc == DS4_OK && out->failed) rc = ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its content", name);
    if (rc == DS4_OK && st) *st = facts;
    return rc;
}

static int write_all(int fd, const char *data, size_t n_bytes)
{
    while (n_bytes > 0) {
        const ssize_t n = write(fd, data, n_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        data += n;
        n_bytes -= (size_t)n;
    }
    return 0;
}

/* A name that nobody else takes: O_EXCL settles who has it. */
static const char temp_name[] = ".ds4-%ld-%u.part";

static int create_beside(int dir, char temp[64])
{
    for (unsigned i = 0; i < 100; i++) {
        snprintf(temp, 64, temp_name, (long)getpid(), i);
        const int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

ds4_status ds4_root_write(const ds4_root *root, const char *name, ds4_slice content, mode_t mode,
                          ds4_err *err)
{
    const char *last = NULL;
    int         dir = -1;
    struct stat st;
    char        temp[64];

    DS4_TRY(ds4_root_open_parent(root, name, true, &dir, &last, err));
    ds4_status rc = DS4_OK;
    if (fstatat(dir, last, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        rc = check_regular(name, &st, err);
        if (mode == 0) mode = st.st_mode & 0777;
    } else if (errno != ENOENT) {
        rc = refuse(err, name, errno);
    }
    if (rc != DS4_OK) {
        close(dir);
        return rc;
    }
    const int fd = create_beside(dir, temp);
    if (fd < 0) {
        rc = refuse(err, name, errno);
    } else {
        bool ok = write_all(fd, content.data, content.n_bytes) == 0 && fchmod(fd, mode ? mode : 0644) == 0 &&
                  fsync(fd) == 0;
        if (!ok) rc = refuse(err, name, errno);
        if (close(fd) != 0 && ok) rc = refuse(err, name, errno);
        if (rc == DS4_OK && renameat(dir, temp, dir, last) != 0) rc = refuse(err, name, errno);
        if (rc != DS4_OK) unlinkat(dir, temp, 0);
        else              (void)fsync(dir);
    }
    close(dir);
    return rc;
}

void ds4_root_sweep(const ds4_root *root, const char *name)
{
    const char    *last = NULL;
    int            fd = -1;
    struct dirent *entry;

    if (ds4_root_open_parent(root, name, false, &fd, &last, NULL) != DS4_OK) return;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        long     pid = 0;
        unsigned i = 0;
        char     again[64];
        if (sscanf(entry->d_name, temp_name, &pid, &i) != 2 || pid <= 0) continue;
        snprintf(again, sizeof again, temp_name, pid, i);
        if (strcmp(again, entry->d_name) != 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH) continue;
        unlinkat(fd, entry->d_name, 0);
    }
    closedir(dir);
}

ds4_status ds4_root_remove(const ds4_root *root, const char *name, ds4_err *err)
{
    const char *last = NULL;
    int         dir = -1;
    struct stat st;

    ds4_err     why = { 0 };
    ds4_status  rc = ds4_root_open_parent(root, name, false, &dir, &last, &why);
    if (rc != DS4_OK) {
        const int fd = open_any(root, name, O_PATH, false);
        if (fd < 0 && errno == ENOENT) return DS4_OK;
        if (fd >= 0) close(fd);
        return ds4_fail(err, rc, "%s", why.text);
    }
    if (fstatat(dir, last, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (unlinkat(dir, last, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) != 0) rc = refuse(err, name, errno);
    } else if (errno != ENOENT) {
        rc = refuse(err, name, errno);
    }
    close(dir);
    return rc;
}
