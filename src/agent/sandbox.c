/* sandbox.c - see sandbox.h. */
#include "agent/sandbox_local.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self 446
#endif
#endif

extern char **environ;

/* ---- what may be read -------------------------------------------------------------------- */

static void add_readable(ds4_sandbox *s, const char *home, const char *path)
{
    char        whole[DS4_ROOT_NAME_BYTES];
    struct stat st;

    if (s->n_readable == MOST_READABLE) return;
    if ((size_t)snprintf(whole, sizeof whole, "%s%s%s", home, home[0] ? "/" : "", path) >= sizeof whole)
        return;
    if (lstat(whole, &st) != 0) return;
    s->readable[s->n_readable] = strdup(whole);
    if (s->readable[s->n_readable]) s->n_readable++;
}

static void find_readable(ds4_sandbox *s)
{
    static const char *const system[] = {
        "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/gnu",
            "/sys",
        "/var/lib/dpkg", "/System", "/Library", "/private/etc", "/Applications",
    };
    /* Tool chains, and what git wants to know of its user; nothing that holds keys. */
    static const char *const tools[] = {
        ".gitconfig", ".config/git", ".cargo/bin", ".cargo/registry", ".cargo/git", ".cargo/env",
        ".cargo/config.toml", ".rustup", ".nvm", ".volta", ".fnm", ".bun", ".deno", ".asdf", ".pyenv",
            ".rbenv",
        ".rvm", ".sdkman", ".jenv", ".goenv", "go", ".local/bin", ".local/lib", ".local/pipx", ".ghcup",
            ".opam",
        ".dotnet", ".swiftly", ".juliaup", ".npm/_cacache", ".cache/go-build", ".m2/repository",
            ".gradle/caches",
        ".gradle/wrapper", ".nix-profile", "miniconda3", "anaconda3",
    };

    for (size_t i = 0; i < sizeof system / sizeof *system; i++) add_readable(s, "", system[i]);
    for (size_t i = 0; i < sizeof tools / sizeof *tools && s->home; i++) add_readable(s, s->home, tools[i]);
}

/* ---- the environment ------------------------------------------------------------------------ */

/* Passed on: what programs need to find their way. All else may be a key, or a way in (LD_PRELOAD, GIT_DIR).
   */
static bool passes(const char *entry)
{
    static const char *const names[] = {
        "PATH", "LANG", "LANGUAGE", "TERM", "COLORTERM", "NO_COLOR", "USER", "LOGNAME", "SHELL", "TZ", "HOME",
        "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "MAKEFLAGS", "PKG_CONFIG_PATH", "JAVA_HOME", "GOPATH",
        "GOROOT", "GOFLAGS", "RUSTUP_HOME", "VIRTUAL_ENV", "CONDA_PREFIX", "NVM_DIR", "NVM_BIN", "CI",
    };
    const size_t n = strcspn(entry, "=");

    if (strncmp(entry, "LC_", 3) == 0) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) == n && strncmp(entry, names[i], n) == 0) return true;
    }
    return false;
}

static void make_environment(const ds4_sandbox *s, const char *token, text_list *envp)
{
    bool has_path = false;

    for (char **e = environ; e && *e; e++) {
        if (!passes(*e)) continue;
        has_path |= strncmp(*e, "PATH=", 5) == 0;
        text_list_add(envp, *e);
    }
    if (!has_path) text_list_add(envp, "PATH=/usr/local/bin:/usr/bin:/bin");
    text_list_addf(envp, "TMPDIR=%s", s->temp);
    text_list_addf(envp, "XDG_CACHE_HOME=%s/cache", s->temp);
    text_list_addf(envp, "GOCACHE=%s/go-build", s->temp);
    text_list_addf(envp, "npm_config_cache=%s/npm", s->temp);
    text_list_addf(envp, "DS4_JOB=%s", token);
    /* Nothing waits for a terminal that is not there. */
    text_list_add(envp, "GIT_TERMINAL_PROMPT=0");
    text_list_add(envp, "GIT_PAGER=cat");
    text_list_add(envp, "PAGER=cat");
    text_list_add(envp, "GIT_OPTIONAL_LOCKS=0");
    text_list_add(envp, "DEBIAN_FRONTEND=noninteractive");
}

/* ---- preparing ---------------------------------------------------------------------------------- */

static void free_texts(char **text)
{
    for (size_t i = 0; text && text[i]; i++) free(text[i]);
    free(text);
}

void ds4_confine_clear(ds4_confine *c)
{
    free_texts(c->argv);
    free_texts(c->envp);
    free(c->filter);
    free(c->filter_alone);
    for (int i = 0; i < 2; i++) {
        if (c->notify[i] >= 0) close(c->notify[i]);
    }
    if (c->ruleset >= 0) close(c->ruleset);
    if (c->filter_fd >= 0) close(c->filter_fd);
    *c = (ds4_confine){ .ruleset = -1, .filter_fd = -1, .notify = { -1, -1 } };
}

static void add_shell(text_list *argv, const char *command)
{
    text_list_add(argv, "/bin/sh");
    text_list_add(argv, "-c");
    text_list_add(argv, command);
}

static ds4_status prepare_landlock(const ds4_sandbox *s, const ds4_confine_options *opt, ds4_confine *c,
                                   ds4_err *err)
{
    seccomp_wants wants = { .internet = opt->network, .landlock = true, .abi = s->abi,
                            .spared_pid = (int)getpid() };

    c->ruleset = sandbox_landlock_rules(s, opt);
    if (c->ruleset < 0) return ds4_fail(err, DS4_E_IO, "the rules of the sandbox: %s", strerror(errno));
    c->filter_alone = sandbox_seccomp_filter(&wants);
    wants.asks = true;
    c->filter = sandbox_seccomp_filter(&wants);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, c->notify) != 0)
        return ds4_fail(err, DS4_E_IO, "the rules of the sandbox: %s", strerror(errno));
    for (int i = 0; i < 2; i++) fcntl(c->notify[i], F_SETFD, FD_CLOEXEC);
    if (!c->filter || !c->filter_alone) return ds4_fail(err, DS4_E_NOMEM, "no memory for the sandbox");
    c->drop_capabilities = c->no_new_privileges = true;
    return DS4_OK;
}

static ds4_status prepare_bwrap(const ds4_sandbox *s, const ds4_confine_options *opt, text_list *argv,
                                ds4_confine *c,
                                ds4_err *err)
{
    /* A network of one's own leads nowhere; with the real one, sockets of the desktop could be reached. */
    const seccomp_wants wants = { .internet = true, .unix_sockets = !opt->network };
    void               *filter = sandbox_seccomp_filter(&wants);

    if (filter) {
        c->filter_fd = sandbox_seccomp_file(filter);
        free(filter);
        if (c->filter_fd < 0)
            return ds4_fail(err, DS4_E_IO, "the filter of the sandbox: %s", strerror(errno));
    }
    sandbox_bwrap_args(s, opt, c->filter_fd, argv);
    return DS4_OK;
}

static ds4_status prepare_seatbelt(const ds4_sandbox *s, const ds4_confine_options *opt, text_list *argv,
                                   ds4_err *err)
{
    ds4_str profile = { 0 };

    sandbox_seatbelt_profile(s, opt, &profile);
    text_list_add(argv, "/usr/bin/sandbox-exec");
    text_list_add(argv, "-p");
    text_list_add(argv, ds4_str_text(&profile));
    const bool failed = profile.failed;
    ds4_str_clear(&profile);
    return failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for the sandbox") : DS4_OK;
}

ds4_status ds4_confine_make(ds4_sandbox *s, const char *command, const char *token,
                            const ds4_confine_options *opt,
                            ds4_confine *out, ds4_err *err)
{
    ds4_confine c = { .ruleset = -1, .filter_fd = -1, .notify = { -1, -1 },
                              .root_fd = ds4_root_fd(s->root) };
    text_list   argv = { 0 }, envp = { 0 };
    ds4_status  rc = DS4_OK;

    if (!opt->unconfined) {
        switch (s->kind) {
        case DS4_SANDBOX_LANDLOCK: rc = prepare_landlock(s, opt, &c, err); break;
        case DS4_SANDBOX_BWRAP:    rc = prepare_bwrap(s, opt, &argv, &c, err); break;
        case DS4_SANDBOX_SEATBELT: rc = prepare_seatbelt(s, opt, &argv, err); break;
        default: rc = ds4_fail(err, DS4_E_UNSUPPORTED, "there is no sandbox on this system"); break;
        }
    }
    add_shell(&argv, command);
    make_environment(s, token, &envp);
    c.argv = argv.text;
    c.envp = envp.text;
    if (rc == DS4_OK && (argv.failed || envp.failed))
        rc = ds4_fail(err, DS4_E_NOMEM, "no memory for a command");
    if (rc != DS4_OK) ds4_confine_clear(&c);
    else              *out = c;
    return rc;
}

/* ---- in the child ----------------------------------------------------------------------------------- */

#ifdef __linux__
/* Drop all capabilities but one, to use files of others: a container's root needs it for the files of a
 * volume, and Landlock still says which files. */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct   data[2], none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    const uint32_t                  keeps = 1u << CAP_DAC_OVERRIDE;

    for (int cap = 0; cap < 64; cap++) {
        if (cap != CAP_DAC_OVERRIDE) prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    }
    if (syscall(SYS_capget, &head, data) != 0) return -1;
    none[0].effective = data[0].effective & keeps;
    none[0].permitted = data[0].permitted & keeps;
    head.version = _LINUX_CAPABILITY_VERSION_3;
    return (int)syscall(SYS_capset, &head, none);
}

static int confine(const ds4_confine *c)
{
    if (c->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    if (c->drop_capabilities && drop_capabilities() != 0) return -1;
    if (c->ruleset >= 0 && syscall(SYS_landlock_restrict_self, c->ruleset, 0) != 0) return -1;
    if (!c->filter) return 0;
    /* Another listener above us, as some containers have, leaves no room for ours. */
    const int listener = sandbox_seccomp_listen(c->filter);
    if (listener < 0) return sandbox_seccomp_enter(c->filter_alone);
    return sandbox_send_fd(c->notify[1], listener) ? 0 : -1;
}
#else
static int confine(const ds4_confine *c)
{
    (void)c;
    return 0;
}
#endif

/* No file that this process has open gets into the command, whoever opened it and how. */
static void close_files(int kept)
{
#ifdef SYS_close_range
    const long rc = syscall(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
#else
    const long rc = -1;
#endif
    for (int fd = 3; rc != 0 && fd < 4096; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (kept >= 0) fcntl(kept, F_SETFD, 0);
}

void ds4_confine_run(const ds4_confine *c)
{
    const struct rlimit no_core = { 0, 0 };

    close_files(c->filter_fd);
    setrlimit(RLIMIT_CORE, &no_core);
    if (fchdir(c->root_fd) != 0 || confine(c) != 0) return;
    execve(c->argv[0], c->argv, c->envp);
}

/* ---- finding out -------------------------------------------------------------------------------------- */

/* Run a command that must be able to write in the temporary folder, and what it writes beside it must not
 * arrive: it fails, or lands in a /tmp of its own. */
static bool works(ds4_sandbox *s)
{
    const ds4_confine_options opt = { .network = false };
    ds4_confine               c;
    char                      path[DS4_ROOT_NAME_BYTES + 16];
    int                       status = -1;
    pid_t                     pid;

    snprintf(path, sizeof path, "%s.probe", s->temp);
    unlink(path);
    if (ds4_confine_make(s, ": >\"$TMPDIR/probe\" && rm \"$TMPDIR/probe\" && { (: >\"$TMPDIR.probe\"); :; }",
                         "probe", &opt, &c, NULL) != DS4_OK) return false;
    pid = fork();
    if (pid == 0) {
        const int null = open("/dev/null", O_RDWR);
        for (int fd = 0; fd < 3 && null >= 0; fd++) dup2(null, fd);
        ds4_confine_run(&c);
        raise(SIGKILL);
    }
    ds4_confine_clear(&c);
    if (pid < 0) return false;
    for (int i = 0; i < 500; i++) {
        const pid_t rc = waitpid(pid, &status, WNOHANG);
        if (rc == pid || (rc < 0 && errno != EINTR)) break;
        if (i == 499) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            status = -1;
        }
        poll(NULL, 0, 10);
    }
    const bool outside = access(path, F_OK) == 0;
    unlink(path);
    return status == 0 && !outside;
}

static void choose(ds4_sandbox *s, unsigned without)
{

    static const char all[] = "they write in this folder only and have no network.";

    s->abi = sandbox_landlock_abi();
    s->kind = DS4_SANDBOX_BWRAP;
    if (!(without & DS4_SANDBOX_WITHOUT_BWRAP) && access("/usr/bin/bwrap", X_OK) == 0 && works(s)) {
        snprintf(s->sentence, sizeof s->sentence, "Commands are confined by bwrap and seccomp: %s", all);
        return;
    }
    s->kind = DS4_SANDBOX_LANDLOCK;
    if (!(without & DS4_SANDBOX_WITHOUT_LANDLOCK) && s->abi > 0 && works(s)) {
        snprintf(s->sentence, sizeof s->sentence,
                 "Commands are confined by Landlock (version %d) and seccomp: %s", s->abi, all);
        return;
    }
    s->kind = DS4_SANDBOX_SEATBELT;
    if (!(without & DS4_SANDBOX_WITHOUT_SEATBELT) && access("/usr/bin/sandbox-exec", X_OK) == 0 && works(s)) {
        snprintf(s->sentence, sizeof s->sentence, "Commands are confined by sandbox-exec: %s", all);
        return;
    }
    s->kind = DS4_SANDBOX_NONE;
    snprintf(s->sentence, sizeof s->sentence,
             "Commands are not confined: no sandbox works on this system, so each is asked first.");
}

ds4_status ds4_sandbox_open(ds4_sandbox **out, const ds4_root *root, const char *temp, const char *home,
                            unsigned without,
                            ds4_err *err)
{
    ds4_sandbox *s = calloc(1, sizeof *s);

    if (s) {
        s->root = root;
        s->temp = realpath(temp, NULL);
        s->home = home && home[0] == '/' ? strdup(home) : NULL;
    }
    if (!s || !s->temp) {
        ds4_sandbox_close(s);
        return ds4_fail(err, DS4_E_IO, "%s: no folder for temporary files", temp);
    }
    const ds4_status rc = ds4_root_open(&s->temp_root, s->temp, err);
    if (rc != DS4_OK) {
        ds4_sandbox_close(s);
        return rc;
    }
    find_readable(s);
    choose(s, without);
    *out = s;
    return DS4_OK;
}

void ds4_sandbox_close(ds4_sandbox *s)
{
    if (!s) return;
    for (int i = 0; i < s->n_readable; i++) free(s->readable[i]);
    ds4_root_close(s->temp_root);
    free(s->temp);
    free(s->home);
    free(s);
}

ds4_sandbox_kind ds4_sandbox_get_kind(const ds4_sandbox *s) { return s->kind; }
const char      *ds4_sandbox_sentence(const ds4_sandbox *s) { return s->sentence; }
