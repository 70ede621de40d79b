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

static int wait_for(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return status;
}

/* Let the call fail: it becomes one that does not exist, and gets another result. */
static void refuse(pid_t child, struct user_regs_struct *r)
{
    r->orig_rax = (unsigned long long)-1;
    ptrace(PTRACE_SETREGS, child, NULL, r);
    ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    const int status = wait_for(child);
    if (!WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, child, NULL, r) != 0) return;
    r->rax = (unsigned long long)-ENOSPC;
    ptrace(PTRACE_SETREGS, child, NULL, r);
}

static walk_end trace(pid_t child, walk_fault fault, int n)
{
    walk_end end = { .possible = true };
    bool     entering = false, needs_room = false;
    int      count = 0;

    for (;;) {
        struct user_regs_struct r;
        end.status = wait_for(child);
        if (!WIFSTOPPED(end.status)) return end;
        const int sig = WSTOPSIG(end.status);
        if (sig != (SIGTRAP | 0x80)) {
            const long pass = sig == SIGTRAP || sig == SIGSTOP ? 0 : sig;
            ptrace(PTRACE_SYSCALL, child, NULL, pass);
            continue;
        }
        entering = !entering;
        if (entering && ptrace(PTRACE_GETREGS, child, NULL, &r) == 0 && changes(&r, &needs_room)) {
            const bool mine = fault == WALK_KILL || needs_room;
            count += mine;
            end.reached |= mine && count == n;
            if (end.reached && fault == WALK_KILL) {
                kill(child, SIGKILL);
                end.status = wait_for(child);
                return end;
            }
            if (end.reached && needs_room) {
                refuse(child, &r);
                entering = false;
            }
        }
        ptrace(PTRACE_SYSCALL, child, NULL, NULL);
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
    const int status = wait_for(child);
    if (!WIFSTOPPED(status)) return (walk_end){ .possible = false };
    ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    return trace(child, fault, n);
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
