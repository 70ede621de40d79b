/* sandbox_wrap.c - how bwrap and sandbox-exec are told what a command may do. */
#include "agent/sandbox_local.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void text_list_add(text_list *l, const char *text)
{
    if (l->failed) return;
    if (l->n + 1 >= l->capacity) {
        const size_t n = l->capacity ? 2 * l->capacity : 64;
        char       **more = realloc(l->text, n * sizeof *more);
        if (!more) {
            l->failed = true;
            return;
        }
        l->text = more;
        l->capacity = n;
    }
    l->text[l->n] = strdup(text);
    if (!l->text[l->n]) l->failed = true;
    else                l->n++;
    l->text[l->n] = NULL;
}

void text_list_addf(text_list *l, const char *fmt, ...)
{
    ds4_str text = { 0 };
    char    buf[2 * DS4_ROOT_NAME_BYTES];
    va_list args;

    va_start(args, fmt);
    const int n = vsnprintf(buf, sizeof buf, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof buf) l->failed = true;
    else text_list_add(l, buf);
    ds4_str_clear(&text);
}

static void add_three(text_list *l, const char *a, const char *b, const char *c)
{
    text_list_add(l, a);
    text_list_add(l, b);
    text_list_add(l, c);
}

/* A path that the sandbox sees as it is; a link such as /bin stays a link. */
static void show(text_list *argv, const char *path)
{
    char          target[PATH_MAX];
    const ssize_t n = readlink(path, target, sizeof target - 1);

    if (n > 0) {
        target[n] = '\0';
        add_three(argv, "--symlink", target, path);
    } else {
        add_three(argv, "--ro-bind-try", path, path);
    }
}

void sandbox_bwrap_args(const ds4_sandbox *s, const ds4_confine_options *opt, int filter_fd, text_list *argv)
{
    static const char *const first[] = {
        "/usr/bin/bwrap", "--unshare-user-try", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
        "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--tmpfs", "/tmp", "--proc", "/proc",
            "--dev", "/dev",
    };
    static const char *const git[] = { "config", "hooks", "config.worktree", "modules", "worktrees" };
    const char *root = ds4_root_path(s->root);
    char        path[DS4_ROOT_NAME_BYTES + 64];

    for (size_t i = 0; i < sizeof first / sizeof *first; i++) text_list_add(argv, first[i]);
    if (!opt->network) text_list_add(argv, "--unshare-net");
    for (int i = 0; i < s->n_readable; i++) show(argv, s->readable[i]);
    if (opt->network) {
        /* The address of the name server is often kept elsewhere. */
        char *resolv = realpath("/etc/resolv.conf", NULL);
        if (resolv && strncmp(resolv, "/etc/", 5) != 0) add_three(argv, "--ro-bind-try", resolv, resolv);
        free(resolv);
    }
    add_three(argv, "--bind", s->temp, s->temp);
    add_three(argv, opt->read_only ? "--ro-bind" : "--bind", root, root);
    for (size_t i = 0; i < sizeof git / sizeof *git && !opt->read_only; i++) {
        snprintf(path, sizeof path, "%s/.git/%s", root, git[i]);
        /* Submodules and work trees have settings of their own inside; all of them stay as they are. */
        add_three(argv, "--ro-bind-try", path, path);
    }
    /* The empty folders above what is shown: nothing written there would last, so it fails at once. */
    text_list_add(argv, "--remount-ro");
    text_list_add(argv, "/");
    text_list_add(argv, "--chdir");
    text_list_add(argv, root);
    if (filter_fd >= 0) {
        text_list_add(argv, "--seccomp");
        text_list_addf(argv, "%d", filter_fd);
    }
    text_list_add(argv, "--");
}

/* A string of the profile's language. */
static void quote(ds4_str *out, const char *text)
{
    ds4_str_add_char(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') ds4_str_add_char(out, '\\');
        ds4_str_add_char(out, *text);
    }
    ds4_str_add_char(out, '"');
}

static void rule(ds4_str *out, const char *what, const char *how, const char *path, const char *below)
{
    ds4_str whole = { 0 };

    ds4_str_addf(&whole, "%s%s", path, below);
    ds4_str_addf(out, "(%s (%s ", what, how);
    quote(out, ds4_str_text(&whole));
    ds4_str_add_text(out, "))\n");
    if (whole.failed) out->failed = true;
    ds4_str_clear(&whole);
}

void sandbox_seatbelt_profile(const ds4_sandbox *s, const ds4_confine_options *opt, ds4_str *out)
{
    const char *root = ds4_root_path(s->root);

    ds4_str_add_text(out, "(version 1)\n(allow default)\n(deny file-write*)\n"
                          "(allow file-write* (literal \"/dev/null\") (literal \"/dev/zero\"))\n");
    /* Reading: nothing of the home but what is named after it; later rules win. */
    if (s->home) rule(out, "deny file-read-data", "subpath", s->home, "");
    for (int i = 0; i < s->n_readable; i++) rule(out, "allow file-read*", "subpath", s->readable[i], "");
    rule(out, "allow file-read* file-write*", "subpath", s->temp, "");
    rule(out, opt->read_only ? "allow file-read*" : "allow file-read* file-write*", "subpath", root, "");
    rule(out, "deny file-write*", "subpath", root, "/.git/hooks");
    rule(out, "deny file-write*", "literal", root, "/.git/config");
    if (!opt->network) ds4_str_add_text(out, "(deny network*)\n");
    ds4_str_add_text(out, "(deny process-info* (target others))\n(deny signal (target others))\n"
                          "(deny mach-priv*)\n(deny system-socket)\n");
}
