/* shell_job.c - see shell_job.h. */
#include "agent/shell_job.h"

#include "agent/process.h"
#include "base/clock.h"
#include "base/wait.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

static const uint64_t ms = 1000000;       /* nanoseconds */

/* A process that the command did not wait for has so long to end by itself before it is ended and told of:
 * the first program of a pipeline, say, notices only now that nobody reads it. */
enum { PATIENCE_MS = 200 };

struct ds4_shell_job {
    char           *command;
    char            token[40];
    pid_t           pid;            /* also its group and its session */
    int             output;
    int             listener;       /* see ds4_confine_answer(), or -1 */
    ds4_sandbox    *sandbox;
    bool            read_only;
    uint64_t        start_ns, limit_ns;
    pthread_t       thread;
    bool            has_thread;
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    atomic_bool     stop;
    ds4_shell_job_state   state;          /* under the lock, as all below */
    ds4_str         head, tail;     /* the tail is cut when it has twice its size */
    uint64_t        n_dropped;      /* bytes between head and tail */
    ds4_str         fresh;          /* not yet handed to the sink */
};

/* ---- what a command started ------------------------------------------------------------- */

#ifdef __linux__
/* Does a process have the token in its environment? Processes of other users cannot be asked. */
static bool has_token(const char *pid, const char *token)
{
    char    path[64], text[8192], want[64];
    bool    has = false;
    ds4_str all = { 0 };
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
    const int n_want = snprintf(want, sizeof want, "DS4_JOB=%s", token);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    while ((n = read(fd, text, sizeof text)) > 0 && all.n_bytes < (1u << 20))
        ds4_str_add(&all, text, (size_t)n);
    close(fd);
    for (size_t at = 0; at < all.n_bytes && !has; at += strlen(all.data + at) + 1)
        has = strncmp(all.data + at, want, (size_t)n_want) == 0;
    ds4_str_clear(&all);
    return has;
}

/* Is it one that the command started: in its group, with the token, or an orphan that came to us? Those were
 * below a confined command, of which no other is running. */
static bool was_started_by(const ds4_shell_job *j, const char *name, const ds4_process *p, bool orphans_too)
{
    return getpgid((pid_t)strtol(name, NULL, 10)) == j->pid || has_token(name, j->token) ||
           (orphans_too && p->parent == getpid() && ds4_process_is_confined(p));
}

/* Count what the command left and that still runs; those that have ended are buried. With `end` they are
 * killed. */
static unsigned look_at_left(const ds4_shell_job *j, bool orphans_too, bool end)
{
    unsigned       n = 0;
    struct dirent *entry;
    DIR           *dir = opendir("/proc");
    ds4_process    p;

    while (dir && (entry = readdir(dir)) != NULL) {
        const long pid = strtol(entry->d_name, NULL, 10);
        if (pid <= 1 || pid == getpid() || pid == j->pid || !ds4_process_look((int)pid, &p)) continue;
        if (!was_started_by(j, entry->d_name, &p, orphans_too)) continue;
        const bool runs = p.state != 'Z';
        n += runs;
        if (runs && end) kill((pid_t)pid, SIGKILL);
        if (p.parent == getpid() && (end || !runs)) waitpid((pid_t)pid, NULL, runs ? 0 : WNOHANG);
    }
    if (dir) closedir(dir);
    return n;
}

static void adopt_orphans(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}
#else
/* Elsewhere only the group is known. */
static unsigned look_at_left(const ds4_shell_job *j, bool orphans_too, bool end)
{
    (void)orphans_too;
    (void)end;
    return kill(-j->pid, 0) == 0;
}

static void adopt_orphans(void) {}
#endif

/* Jobs of this process whose command runs: orphans can be told apart only when there is no other. The lock is
 * held while one is born and while orphans are looked for, so that none is taken for an orphan. */
static pthread_mutex_t births = PTHREAD_MUTEX_INITIALIZER;
static unsigned        n_running;

static unsigned see_left(const ds4_shell_job *j, bool end)
{
    pthread_mutex_lock(&births);
    const unsigned n = look_at_left(j, n_running <= 1, end);
    pthread_mutex_unlock(&births);
    return n;
}

static void count_running(int more)
{
    pthread_mutex_lock(&births);
    n_running += (unsigned)more;
    pthread_mutex_unlock(&births);
}

/* End the group and all that left it. New processes may be born while we look: looked until none is found.
 * Returns how many ran that were not about to end by themselves: none after patience_ms. */
static unsigned end_all(const ds4_shell_job *j, int patience_ms)
{
    const uint64_t end = ds4_now_ns() + (uint64_t)patience_ms * ms;
    unsigned       n_left = see_left(j, false);

    /* By the clock: a look at all processes of a busy machine takes its time. */
    while (n_left > 0 && ds4_now_ns() < end) {
        poll(NULL, 0, 10);
        n_left = see_left(j, false);
    }
    kill(-j->pid, SIGKILL);
    for (int round = 0; round < 20 && see_left(j, true) > 0; round++) continue;
    /* bwrap takes all of its processes with it; those that are seen have not noticed yet. */
    return ds4_sandbox_get_kind(j->sandbox) == DS4_SANDBOX_BWRAP ? 0 : n_left;
}

/* ---- output ------------------------------------------------------------------------------- */

static void take_output(ds4_shell_job *j, const char *data, size_t n)
{
    pthread_mutex_lock(&j->lock);
    j->state.n_bytes += n;
    /* Nobody may ever ask for it; the output itself is kept above. */
    if (j->fresh.n_bytes < DS4_SHELL_TAIL_BYTES) ds4_str_add(&j->fresh, data, n);
    const size_t room = DS4_SHELL_HEAD_BYTES - j->head.n_bytes, first = n < room ? n : room;
    ds4_str_add(&j->head, data, first);
    ds4_str_add(&j->tail, data + first, n - first);
    if (j->tail.n_bytes >= 2 * DS4_SHELL_TAIL_BYTES) {
        const size_t cut = j->tail.n_bytes - DS4_SHELL_TAIL_BYTES;
        memmove(j->tail.data, j->tail.data + cut, DS4_SHELL_TAIL_BYTES);
        ds4_str_truncate(&j->tail, DS4_SHELL_TAIL_BYTES);
        j->n_dropped += cut;
    }
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

/* Answer who asks and read what is there. False at the end of the output. */
static bool read_some(ds4_shell_job *j, bool open_output, int wait_ms)
{
    char          data[65536];
    struct pollfd p[2] = { { .fd = open_output ? j->output : -1, .events = POLLIN },
                           { .fd = j->listener, .events = POLLIN } };

    if (poll(p, 2, wait_ms) <= 0) return open_output;
    if (p[1].revents & POLLIN) {
        ds4_confine_answer(j->sandbox, j->read_only, j->listener, (int)j->pid);
    } else if (p[1].revents) {
        close(j->listener);             /* nobody is left who could ask */
        j->listener = -1;
    }
    if (!p[0].revents) return open_output;
    const ssize_t n = read(j->output, data, sizeof data);
    if (n > 0) take_output(j, data, (size_t)n);
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

/* ---- its thread ------------------------------------------------------------------------------ */

static void note_end(ds4_shell_job *j, int status)
{
    pthread_mutex_lock(&j->lock);
    j->state.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    j->state.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    j->state.run_ns = ds4_now_ns() - j->start_ns;
    pthread_mutex_unlock(&j->lock);
}

static void stop_if_due(ds4_shell_job *j, uint64_t *killed_ns)
{
    const uint64_t now = ds4_now_ns();
    const bool     late = j->limit_ns && now - j->start_ns >= j->limit_ns;

    if (!late && !atomic_load(&j->stop)) return;
    pthread_mutex_lock(&j->lock);
    if (*killed_ns == 0 && late && !atomic_load(&j->stop)) j->state.timed_out = true;
    j->state.killed = true;
    pthread_mutex_unlock(&j->lock);
    if (*killed_ns == 0) {
        *killed_ns = now;
        kill(-j->pid, SIGTERM);
    } else if (now - *killed_ns > 500 * ms) {
        end_all(j, 0);
    }
}

static void *watch(void *arg)
{
    ds4_shell_job *j = arg;
    bool     open_output = true;
    uint64_t killed_ns = 0;
    int      status = 0;

    for (;;) {
        open_output = read_some(j, open_output, 20);
        const pid_t rc = waitpid(j->pid, &status, WNOHANG);
        if (rc == j->pid || (rc < 0 && errno != EINTR)) break;
        stop_if_due(j, &killed_ns);
    }
    note_end(j, status);
    /* A last breath for those it left, whose output is wanted too. */
    for (uint64_t end = ds4_now_ns() + 50 * ms; open_output && ds4_now_ns() < end; )
        open_output = read_some(j, true, 10);
    const unsigned n_left = end_all(j, killed_ns ? 0 : PATIENCE_MS);
    count_running(-1);
    for (uint64_t end = ds4_now_ns() + 1000 * ms; open_output && ds4_now_ns() < end; )
        open_output = read_some(j, true, 10);
    pthread_mutex_lock(&j->lock);
    j->state.n_left = n_left;
    j->state.running = false;
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* ---- starting ----------------------------------------------------------------------------------- */

static void run_child(const ds4_confine *c, int output, int failure)
{
    sigset_t  none;
    const int null = open("/dev/null", O_RDONLY);

    /* A session of its own: no terminal to write into, and a group to end. */
    setsid();
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
#endif
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGQUIT, SIG_DFL);
    if (null >= 0 && dup2(null, 0) >= 0 && dup2(output, 1) >= 0 && dup2(output, 2) >= 0) ds4_confine_run(c);
    const int e = errno;
    (void)!write(failure, &e, sizeof e);
    raise(SIGKILL);
}

static void pipe_cloexec(int fds[2])
{
    if (pipe(fds) != 0) {
        fds[0] = fds[1] = -1;
        return;
    }
    fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    fcntl(fds[1], F_SETFD, FD_CLOEXEC);
}

static void close_fd(int fd)
{
    if (fd >= 0) close(fd);
}

/* Start the process. Returns 0, or what went wrong. */
static int start(ds4_shell_job *j, ds4_confine *c)
{
    int out[2], failure[2], e = 0;

    pipe_cloexec(out);
    pipe_cloexec(failure);
    j->pid = out[0] >= 0 && failure[0] >= 0 ? fork() : -1;
    if (j->pid == 0) run_child(c, out[1], failure[1]);
    if (j->pid < 0) e = errno;
    close_fd(out[1]);
    close_fd(failure[1]);
    if (j->pid > 0) j->listener = ds4_confine_listener(c);
    if (j->pid > 0 && read(failure[0], &e, sizeof e) == sizeof e) waitpid(j->pid, NULL, 0);
    close_fd(failure[0]);
    if (e != 0) {
        close_fd(out[0]);
        j->pid = 0;
        return e;
    }
    j->output = out[0];
    return 0;
}

static void make_token(char token[40])
{
    uint64_t  bits[2] = { ds4_now_ns(), (uint64_t)getpid() };
    const int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        (void)!read(fd, bits, sizeof bits);
        close(fd);
    }
    snprintf(token, 40, "%016llx%016llx", (unsigned long long)bits[0], (unsigned long long)bits[1]);
}

ds4_status ds4_shell_job_start(ds4_shell_job **out, ds4_sandbox *s, const char *command,
                               const ds4_confine_options *opt,
                         uint64_t limit_ns, ds4_err *err)
{
    ds4_confine c;
    ds4_shell_job    *j = calloc(1, sizeof *j);

    if (!j || !(j->command = strdup(command))) {
        free(j);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a command");
    }
    j->output = j->listener = -1;
    j->sandbox = s;
    j->read_only = opt->read_only;
    j->limit_ns = limit_ns;
    pthread_mutex_init(&j->lock, NULL);
    ds4_cond_init(&j->changed);
    make_token(j->token);
    ds4_status rc = ds4_confine_make(s, command, j->token, opt, &c, err);
    if (rc != DS4_OK) {
        ds4_shell_job_free(j);
        return rc;
    }
    adopt_orphans();
    j->start_ns = ds4_now_ns();
    pthread_mutex_lock(&births);
    const int e = start(j, &c);
    n_running += e == 0;
    pthread_mutex_unlock(&births);
    ds4_confine_clear(&c);
    if (e != 0) {
        ds4_shell_job_free(j);
        return ds4_fail(err, DS4_E_IO, "the command cannot be started: %s", strerror(e));
    }
    j->state = (ds4_shell_job_state){ .running = true, .exit_code = -1 };
    j->has_thread = pthread_create(&j->thread, NULL, watch, j) == 0;
    if (!j->has_thread) {
        kill(j->pid, SIGKILL);
        waitpid(j->pid, NULL, 0);
        end_all(j, 0);
        count_running(-1);
        ds4_shell_job_free(j);
        return ds4_fail(err, DS4_E_NOMEM, "no thread for a command");
    }
    *out = j;
    return DS4_OK;
}

/* ---- from outside ---------------------------------------------------------------------------------- */

ds4_shell_job_state ds4_shell_job_wait(ds4_shell_job *j, uint64_t until_ns, const volatile int *cancelled,
                           void (*sink)(void *ctx, ds4_slice bytes), void *ctx)
{
    pthread_mutex_lock(&j->lock);
    for (;;) {
        const bool     running = j->state.running;
        const uint64_t now = ds4_now_ns();
        if (sink && j->fresh.n_bytes > 0) {
            ds4_str fresh = j->fresh;
            j->fresh = (ds4_str){ 0 };
            pthread_mutex_unlock(&j->lock);
            sink(ctx, (ds4_slice){ fresh.data, fresh.n_bytes });
            ds4_str_clear(&fresh);
            pthread_mutex_lock(&j->lock);
            continue;
        }
        if (!running || now >= until_ns || (cancelled && *cancelled)) break;
        const uint64_t soon = now + 50 * ms;
        ds4_cond_wait_until(&j->changed, &j->lock, soon < until_ns ? soon : until_ns);
    }
    ds4_shell_job_state state = j->state;
    if (state.running) state.run_ns = ds4_now_ns() - j->start_ns;
    pthread_mutex_unlock(&j->lock);
    return state;
}

void ds4_shell_job_kill(ds4_shell_job *j)
{
    atomic_store(&j->stop, true);
    ds4_shell_job_wait(j, ds4_now_ns() + 10000 * ms, NULL, NULL, NULL);
}

void ds4_shell_job_free(ds4_shell_job *j)
{
    if (!j) return;
    if (j->has_thread) {
        atomic_store(&j->stop, true);
        pthread_join(j->thread, NULL);
    }
    close_fd(j->output);
    close_fd(j->listener);
    pthread_cond_destroy(&j->changed);
    pthread_mutex_destroy(&j->lock);
    ds4_str_clear(&j->head);
    ds4_str_clear(&j->tail);
    ds4_str_clear(&j->fresh);
    free(j->command);
    free(j);
}

void ds4_shell_job_output(ds4_shell_job *j, ds4_str *out)
{
    pthread_mutex_lock(&j->lock);
    ds4_str_add(out, ds4_str_text(&j->head), j->head.n_bytes);
    if (j->n_dropped)
        ds4_str_addf(out, "\n[%llu bytes of output were not kept]\n", (unsigned long long)j->n_dropped);
    ds4_str_add(out, ds4_str_text(&j->tail), j->tail.n_bytes);
    pthread_mutex_unlock(&j->lock);
}

const char *ds4_shell_job_command(const ds4_shell_job *j) { return j->command; }
