/* mcp_stdio.c - an MCP server as a child process: messages are lines on its standard input and output.
 *
 * It gets a process group of its own, the project's folder, and few variables of the environment: keys and
 * tokens of the user are for those servers that name them in their configuration. What it says on standard
 * error is kept only as far as a person needs it when something fails. */
#include "agent/mcp_local.h"

#include "base/clock.h"
#include "base/knob.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEPT_ERROR = 2048, READ_BYTES = 65536, GRACE_MS = 2000, MAX_AT_ONCE = 64 };

#ifdef MSG_NOSIGNAL
enum { SEND_FLAGS = MSG_NOSIGNAL };
#else
enum { SEND_FLAGS = 0 };                /* SO_NOSIGPIPE does it there */
#endif

typedef struct stdio_wire {
    mcp_wire      wire;
    pid_t         pid;
    int           in, out, err;         /* a socket to its standard input; pipes; -1 when closed */
    bool          broken;               /* its output ended, or was no use */
    ds4_rpc_lines lines;
    ds4_str       to_send;              /* not yet taken by the pipe */
    ds4_str       said;                 /* the end of its standard error */
} stdio_wire;

/* ---- the child ------------------------------------------------------------------------------- */

static void close_fd(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

/* Closed in children, and none of the three standard files, over which the child's are put. */
static int kept_apart(int fd)
{
    if (fd < 0) return -1;
    const int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close(fd);
    return moved;
}

static bool open_channels(int in[2], int out[2], int err[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, in) != 0) return false;
    if (pipe(out) != 0 || pipe(err) != 0) return false;
    for (int i = 0; i < 2; i++) {
        in[i] = kept_apart(in[i]);
        out[i] = kept_apart(out[i]);
        err[i] = kept_apart(err[i]);
        if (in[i] < 0 || out[i] < 0 || err[i] < 0) return false;
    }
#ifdef SO_NOSIGPIPE
    const int yes = 1;
    setsockopt(in[0], SOL_SOCKET, SO_NOSIGPIPE, &yes, sizeof yes);
#endif
    const int ours[] = { in[0], out[0], err[0] };
    for (int i = 0; i < 3; i++) {
        if (fcntl(ours[i], F_SETFL, O_NONBLOCK) != 0) return false;
    }
    return true;
}

/* The variables that a server gets without being named, as the protocol's own libraries have it. */
static char **environment(char *const *named)
{
    static const char *const usual[] = { "HOME",  "LANG", "LC_ALL", "LOGNAME", "PATH",
                                         "SHELL", "TERM", "TMPDIR", "USER" };
    enum { N_USUAL = sizeof usual / sizeof *usual };
    size_t n = 0, n_named = 0;

    while (named[n_named]) n_named++;
    char **out = calloc(N_USUAL + n_named + 1, sizeof *out);
    for (size_t i = 0; out && i < N_USUAL; i++) {
        const char *value = ds4_environment(usual[i]);
        const size_t n_name = strlen(usual[i]);
        bool given = !value;
        for (size_t k = 0; k < n_named; k++) {
            given |= strncmp(named[k], usual[i], n_name) == 0 && named[k][n_name] == '=';
        }
        if (given) continue;
        ds4_str text = { 0 };
        ds4_str_addf(&text, "%s=%s", usual[i], value);
        out[n] = ds4_str_take(&text);
        if (out[n]) n++;
    }
    for (size_t k = 0; out && k < n_named; k++) {
        out[n] = strdup(named[k]);
        if (out[n]) n++;
    }
    return out;
}

static int spawn(const mcp_settings *s, const int in[2], const int out[2], const int err[2], pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t          attr;
    sigset_t                   none, usual;
    char                     **env = environment(s->env);
    int                        rc = ENOMEM;

    if (!env) return rc;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGINT);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGTERM);
    rc = posix_spawn_file_actions_adddup2(&actions, in[1], 0);
    if (!rc) rc = posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    if (!rc) rc = posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    if (!rc) rc = posix_spawn_file_actions_addchdir_np(&actions, s->cwd);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigdefault(&attr, &usual);
    posix_spawnattr_setsigmask(&attr, &none);
    if (!rc) rc = posix_spawnp(pid, s->command, &actions, &attr, s->args, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    for (size_t i = 0; env[i]; i++) free(env[i]);
    free(env);
    return rc;
}

/* ---- moving bytes ---------------------------------------------------------------------------- */

/* Take what is there. Returns false at the end of the stream. */
static bool drain(int fd, void (*take)(stdio_wire *, const char *, size_t), stdio_wire *w)
{
    char *part = malloc(READ_BYTES);
    bool  open = part != NULL;

    for (int i = 0; open && i < MAX_AT_ONCE; i++) {
        const ssize_t n = read(fd, part, READ_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        open = n > 0;
        if (open) take(w, part, (size_t)n);
    }
    free(part);
    return open;
}

static void take_output(stdio_wire *w, const char *data, size_t n)
{
    ds4_slice line;

    ds4_rpc_lines_add(&w->lines, data, n);
    while (ds4_rpc_lines_next(&w->lines, &line)) w->wire.receive(w->wire.ctx, line);
}

static void take_error(stdio_wire *w, const char *data, size_t n)
{
    ds4_str_add(&w->said, data, n);
    if (w->said.n_bytes <= KEPT_ERROR) return;
    memmove(w->said.data, w->said.data + w->said.n_bytes - KEPT_ERROR, KEPT_ERROR);
    ds4_str_truncate(&w->said, KEPT_ERROR);
}

static void push(stdio_wire *w)
{
    size_t done = 0;

    while (done < w->to_send.n_bytes && !w->broken) {
        const ssize_t n = send(w->in, w->to_send.data + done, w->to_send.n_bytes - done, SEND_FLAGS);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)) break;
        if (n <= 0) w->broken = true;
        else done += (size_t)n;
    }
    if (done == 0) return;
    memmove(w->to_send.data, w->to_send.data + done, w->to_send.n_bytes - done);
    ds4_str_truncate(&w->to_send, w->to_send.n_bytes - done);
}

/* Send and receive what can be, waiting at most that long for something to happen. */
static void pump(stdio_wire *w, int wait_ms)
{
    struct pollfd fds[] = { { .fd = w->out, .events = POLLIN }, { .fd = w->err, .events = POLLIN },
                            { .fd = w->to_send.n_bytes ? w->in : -1, .events = POLLOUT } };

    if (poll(fds, 3, wait_ms) <= 0) return;
    if (fds[2].revents) push(w);
    if (fds[1].revents && !drain(w->err, take_error, w)) close_fd(&w->err);
    if (fds[0].revents && !drain(w->out, take_output, w)) w->broken = true;
    if (w->lines.held.failed || w->to_send.failed) w->broken = true;
}

static ds4_status exchange(mcp_wire *wire, ds4_slice message, mcp_wait *wait, ds4_err *err)
{
    stdio_wire *w = (stdio_wire *)wire;
    ds4_status  st;

    ds4_str_add(&w->to_send, message.data, message.n_bytes);
    push(w);
    w->lines.dropped = false;
    while (mcp_wait_on(wait, &st, err)) {
        if (w->lines.dropped) {
            return ds4_fail(err, DS4_E_LIMIT, "it sent a message of more than %zu bytes", w->lines.max_bytes);
        }
        if (w->broken) return ds4_fail(err, DS4_E_IO, "it ended, or closed its output");
        pump(w, DS4_MCP_POLL_MS);
    }
    return st;
}

static void post(mcp_wire *wire, ds4_slice message)
{
    stdio_wire *w = (stdio_wire *)wire;

    /* A server that asks and never reads the answers must not fill our memory with them. */
    if (w->to_send.n_bytes > w->lines.max_bytes) return;
    ds4_str_add(&w->to_send, message.data, message.n_bytes);
    push(w);
}

static bool look(mcp_wire *wire)
{
    stdio_wire *w = (stdio_wire *)wire;

    pump(w, 0);
    return !w->broken;
}

static void agreed(mcp_wire *wire, const char *version)
{
    (void)wire;
    (void)version;
}

static void explain(mcp_wire *wire, ds4_str *out)
{
    stdio_wire *w = (stdio_wire *)wire;

    if (w->broken) pump(w, DS4_MCP_POLL_MS);
    const char *text = ds4_str_text(&w->said);
    size_t      n = w->said.n_bytes, from = 0;
    while (n > 0 && strchr(" \r\n\t", text[n - 1])) n--;
    if (n > 200) from = n - 200;
    for (size_t i = from; i < n; i++) {
        const char c = text[i];
        ds4_str_add_char(out, (c >= ' ' && c < 0x7f) ? c : c == '\n' ? ' ' : '?');
    }
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static bool gone(stdio_wire *w, int ms)
{
    const uint64_t until = ds4_now_ns() + (uint64_t)ms * 1000000;

    for (;;) {
        const pid_t pid = waitpid(w->pid, NULL, WNOHANG);
        if (pid == w->pid || (pid < 0 && errno == ECHILD)) return true;
        if (ds4_now_ns() >= until) return false;
        if (w->err >= 0 && !drain(w->err, take_error, w)) close_fd(&w->err);     /* or it would wait for us */
        poll(NULL, 0, 10);
    }
}

/* As the protocol has it: its input is closed, then it is asked, then it is ended, with its children. */
static void close_wire(mcp_wire *wire)
{
    stdio_wire *w = (stdio_wire *)wire;

    w->wire.receive = NULL;
    close_fd(&w->in);
    close_fd(&w->out);
    w->broken = true;
    if (!gone(w, GRACE_MS)) {
        kill(-w->pid, SIGTERM);
        if (!gone(w, GRACE_MS)) {
            kill(-w->pid, SIGKILL);
            waitpid(w->pid, NULL, 0);
        }
    }
    kill(-w->pid, SIGTERM);             /* what it left behind */
    close_fd(&w->err);
    ds4_rpc_lines_clear(&w->lines);
    ds4_str_clear(&w->to_send);
    ds4_str_clear(&w->said);
    free(w);
}

static const mcp_wire_ops stdio_ops = { exchange, post, look, agreed, close_wire, explain };

ds4_status mcp_stdio_open(const mcp_settings *s, size_t max_bytes, mcp_wire **out, ds4_err *err)
{
    int         in[2] = { -1, -1 }, sout[2] = { -1, -1 }, serr[2] = { -1, -1 };
    stdio_wire *w = calloc(1, sizeof *w);
    int         rc;

    if (!w) return ds4_fail(err, DS4_E_NOMEM, "no memory for a server");
    rc = open_channels(in, sout, serr) ? spawn(s, in, sout, serr, &w->pid) : errno;
    close_fd(&in[1]);
    close_fd(&sout[1]);
    close_fd(&serr[1]);
    if (rc) {
        close_fd(&in[0]);
        close_fd(&sout[0]);
        close_fd(&serr[0]);
        free(w);
        return ds4_fail(err, DS4_E_IO, "cannot start %s: %s", s->command, strerror(rc));
    }
    w->wire.ops = &stdio_ops;
    w->in = in[0];
    w->out = sout[0];
    w->err = serr[0];
    w->lines.max_bytes = max_bytes;
    *out = &w->wire;
    return DS4_OK;
}
