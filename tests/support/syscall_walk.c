/* syscall_walk.c - see syscall_walk.h. */
#include "support/syscall_walk.h"

#if defined(__linux__) && defined(__x86_64__)

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* Calls that change what is in a folder; those that need room are told apart. */
static bool changes(const struct user_regs_struct *r, bool *needs_room)
{
    *needs_room = false;
    switch ((long)r->orig_rax) {
    case SYS_write: case SYS_pwrite64: case SYS_writev: case SYS_pwritev: case SYS_fsync:
    case SYS_fdatasync: case SYS_mkdir:
        *needs_room = true;
        return true;
    case SYS_open:
        *needs_room = (r->rsi & O_CREAT) != 0;
        return *needs_room;
    case SYS_openat:
        *needs_room = (r->rdx & O_CREAT) != 0;
        return *needs_room;
    case SYS_rename: case SYS_renameat: case SYS_renameat2: case SYS_unlink: case SYS_unlinkat:
    case SYS_ftruncate: case SYS_fallocate:
        return true;
    default:
        return false;
    }
}

/* Threads of the child; each is inside a call or not. */
enum { MOST_THREADS = 16 };

typedef struct tracer {
    pid_t child, thread[MOST_THREADS];
    bool  entering[MOST_THREADS];
    int   n;
} tracer;

static bool *entering(tracer *t, pid_t thread)
{
    int i = 0;

    while (i < t->n && t->thread[i] != thread) i++;
    if (i == t->n && t->n < MOST_THREADS) {
        t->thread[t->n++] = thread;
        t->entering[i] = false;
    }
    return &t->entering[i < MOST_THREADS ? i : 0];
}

/* What happens next in any thread of the child, which is the only one this process has. */
static int wait_for(pid_t child, pid_t *who)
{
    int status = 0;
    while ((*who = waitpid(child, &status, __WALL)) < 0 && errno == EINTR) {}
    return status;
}

/* Let the call fail: it becomes one that does not exist, and gets another result. */
static void refuse(pid_t thread, struct user_regs_struct *r)
{
    pid_t who;

    r->orig_rax = (unsigned long long)-1;
    ptrace(PTRACE_SETREGS, thread, NULL, r);
    ptrace(PTRACE_SYSCALL, thread, NULL, NULL);
    const int status = wait_for(thread, &who);
    if (!WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, thread, NULL, r) != 0) return;
    r->rax = (unsigned long long)-ENOSPC;
    ptrace(PTRACE_SETREGS, thread, NULL, r);
}

static walk_end trace(tracer *t, walk_fault fault, int n)
{
    walk_end end = { .possible = true };
    bool     needs_room = false;
    int      count = 0;

    for (;;) {
        struct user_regs_struct r;
        pid_t                   who;
        const int               status = wait_for(-1, &who);
        if (who < 0) return end;
        if (!WIFSTOPPED(status)) {
            if (who != t->child) continue;
            end.status = status;
            return end;
        }
        const int sig = WSTOPSIG(status);
        bool     *enters = entering(t, who);
        if (sig != (SIGTRAP | 0x80)) {
            const long pass = sig == SIGTRAP || sig == SIGSTOP ? 0 : sig;
            ptrace(PTRACE_SYSCALL, who, NULL, pass);
            continue;
        }
        *enters = !*enters;
        if (*enters && ptrace(PTRACE_GETREGS, who, NULL, &r) == 0 && changes(&r, &needs_room)) {
            const bool mine = fault == WALK_KILL || needs_room;
            count += mine;
            end.reached |= mine && count == n;
            if (end.reached && fault == WALK_KILL) {
                kill(t->child, SIGKILL);
                do end.status = wait_for(-1, &who);
                while (who > 0 && (who != t->child || WIFSTOPPED(end.status)));
                return end;
            }
            if (end.reached && needs_room) {
                refuse(who, &r);
                *enters = false;
            }
        }
        ptrace(PTRACE_SYSCALL, who, NULL, NULL);
    }
}

walk_end syscall_walk(void (*fn)(void *ctx), void *ctx, walk_fault fault, int n)
{
    const pid_t child = fork();

    if (child == 0) {
        setenv("CMOCKA_TEST_ABORT", "1", 1);   /* a failure ends the child, not one test of it */
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(250);
        raise(SIGSTOP);
        fn(ctx);
        _exit(0);
    }
    tracer    t = { .child = child };
    pid_t     who;
    const int status = wait_for(child, &who);
    if (!WIFSTOPPED(status)) return (walk_end){ .possible = false };
    ptrace(PTRACE_SETOPTIONS, child, NULL,
           PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE);
    ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    return trace(&t, fault, n);
}

#else

walk_end syscall_walk(void (*fn)(void *ctx), void *ctx, walk_fault fault, int n)
{
    (void)fn;
    (void)ctx;
    (void)fault;
    (void)n;
    return (walk_end){ .possible = false };
}

#endif
