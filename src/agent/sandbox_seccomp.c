/* sandbox_seccomp.c - the system calls that a command of a model may not make.
 *
 * The filter refuses: other processes' memory, mounts and namespaces, io_uring (its calls would pass the
 * filter unseen), keys, modules, clocks, device files, sockets unless they lead nowhere, and input pushed
 * into a
 * terminal. Programs of another architecture are refused as a whole. */
#include "agent/sandbox_local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#ifdef __x86_64__
#define OUR_ARCH AUDIT_ARCH_X86_64
#else
#define OUR_ARCH AUDIT_ARCH_AARCH64
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

#ifndef SECCOMP_RET_USER_NOTIF
#define SECCOMP_RET_USER_NOTIF 0x7fc00000U
#endif

enum { MOST_STEPS = 512, HELD_BITS = 06000 /* set-user-ID, set-group-ID */ };

typedef struct filter {
    struct sock_fprog  prog;
    struct sock_filter step[MOST_STEPS];
} filter;

static void add(filter *f, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
    if (f->prog.len < MOST_STEPS) f->step[f->prog.len++] = (struct sock_filter){ code, yes, no, k };
}

static void load(filter *f, size_t offset)
{
    add(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void load_number(filter *f) { load(f, offsetof(struct seccomp_data, nr)); }

/* The low half of an argument: all that are looked at are ints. Both architectures are little-endian. */
static void load_arg(filter *f, int i) { load(f, offsetof(struct seccomp_data, args) + 8 * (size_t)i); }

static void give(filter *f, uint32_t verdict) { add(f, BPF_RET | BPF_K, verdict, 0, 0); }
static void refuse_with(filter *f, int e) { give(f, SECCOMP_RET_ERRNO | (uint32_t)e); }

/* With the call's number loaded: this call is refused. */
static void deny(filter *f, long number, int e)
{
    add(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1);
    refuse_with(f, e);
}

/* With the call's number loaded: we make this call, or nobody does. */
static void hand_over(filter *f, long number, bool to_us)
{
    add(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1);
    give(f, to_us ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_ERRNO | EPERM);
}

/* Begin what is asked of one call only; end_call() says how much is skipped for others. */
static unsigned begin_call(filter *f, long number)
{
    add(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 0);
    return f->prog.len - 1u;
}

static void end_call(filter *f, unsigned at)
{
    give(f, SECCOMP_RET_ALLOW);
    f->step[at].jf = (uint8_t)(f->prog.len - 1u - at);
}

/* With an argument loaded. */
static void deny_equal(filter *f, uint32_t value, int e)
{
    add(f, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    refuse_with(f, e);
}

static void deny_bits(filter *f, uint32_t bits, int e)
{
    add(f, BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1);
    refuse_with(f, e);
}

/* ---- the rules -------------------------------------------------------------------------- */

static const long never[] = {
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, SYS_mount, SYS_umount2, SYS_pivot_root,
    SYS_chroot, SYS_unshare, SYS_setns, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_keyctl,
        SYS_add_key,
    SYS_request_key, SYS_kexec_load, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_reboot,
    SYS_swapon, SYS_swapoff, SYS_sethostname, SYS_setdomainname, SYS_settimeofday, SYS_clock_settime,
    SYS_adjtimex, SYS_clock_adjtime, SYS_acct, SYS_quotactl, SYS_open_by_handle_at, SYS_name_to_handle_at,
    SYS_syslog, SYS_vhangup, SYS_lookup_dcookie, SYS_fanotify_init, SYS_setxattr, SYS_lsetxattr,
    SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr, SYS_fchownat,
#ifdef SYS_chown
    SYS_chown, SYS_lchown,
#endif
#ifdef SYS_iopl
    SYS_iopl, SYS_ioperm, SYS_modify_ldt,
#endif
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
    /* Newer calls by their numbers, which all architectures share. */
    428 /* open_tree */, 429 /* move_mount */, 430 /* fsopen */, 431 /* fsconfig */, 432 /* fsmount */,
    433 /* fspick */, 438 /* pidfd_getfd */, 440 /* process_madvise */, 442 /* mount_setattr */,
    443 /* quotactl_fd */, 448 /* process_mrelease */, 463 /* setxattrat */, 466 /* removexattrat */,
    467 /* open_tree_attr */,
};

static void sockets(filter *f, const seccomp_wants *w)
{
    static const uint32_t internet[] = { AF_INET, AF_INET6, AF_NETLINK };
    const unsigned at = begin_call(f, SYS_socket);

    load_arg(f, 0);
    for (size_t i = 0; i < 3 && w->internet; i++) {
        add(f, BPF_JMP | BPF_JEQ | BPF_K, internet[i], 0, 1);
        give(f, SECCOMP_RET_ALLOW);
    }
    if (w->unix_sockets) {
        add(f, BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 0, 1);
        give(f, SECCOMP_RET_ALLOW);
    }
    refuse_with(f, EACCES);
    end_call(f, at);
}

static void namespaces(filter *f)
{
    const unsigned at = begin_call(f, SYS_clone);

    load_arg(f, 0);
    deny_bits(f, CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                 CLONE_NEWNET, EPERM);
    end_call(f, at);
    load_number(f);
    deny(f, SYS_clone3, ENOSYS);        /* its flags lie in memory; libraries go on with clone() */
}

static void device_files(filter *f, long number, int i_mode)
{
    const unsigned at = begin_call(f, number);

    load_arg(f, i_mode);
    add(f, BPF_ALU | BPF_AND | BPF_K, S_IFMT, 0, 0);
    deny_equal(f, S_IFCHR, EPERM);
    deny_equal(f, S_IFBLK, EPERM);
    load_arg(f, i_mode);
    deny_bits(f, HELD_BITS, EPERM);
    end_call(f, at);
    load_number(f);
}

/* A file that is made gets no set-user-ID. O_TRUNC empties a file that is opened for reading, which Landlock
 * took for reading before its version 3. */
static void openings(filter *f, long number, int i_flags, bool truncates)
{
    const unsigned at = begin_call(f, number);

    load_arg(f, i_flags);
    add(f, BPF_JMP | BPF_JSET | BPF_K, O_CREAT | (O_TMPFILE & ~O_DIRECTORY), 0, 3);
    load_arg(f, i_flags + 1);
    deny_bits(f, HELD_BITS, EPERM);
    if (truncates) {
        load_arg(f, i_flags);
        add(f, BPF_ALU | BPF_AND | BPF_K, O_TRUNC | O_ACCMODE, 0, 0);
        deny_equal(f, O_TRUNC | O_RDONLY, EACCES);
    }
    end_call(f, at);
    load_number(f);
}

/* Permissions and times of files, which Landlock does not watch. */
static void attributes(filter *f, const seccomp_wants *w)
{
    static const struct { long number; int i_mode; } changes[] = {
#ifdef SYS_chmod
        { SYS_chmod, 1 },
#endif
        { SYS_fchmod, 1 }, { SYS_fchmodat, 2 }, { 452 /* fchmodat2 */, 2 },
    };

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        if (!w->landlock) {             /* bwrap shows nothing that could be changed */
            const unsigned at = begin_call(f, changes[i].number);
            load_arg(f, changes[i].i_mode);
            deny_bits(f, HELD_BITS, EPERM);
            end_call(f, at);
            load_number(f);
        } else {
            hand_over(f, changes[i].number, w->asks);
        }
    }
    if (!w->landlock) return;
    if (w->asks) hand_over(f, SYS_utimensat, true);
#ifdef SYS_utime
    deny(f, SYS_utime, EPERM);
    deny(f, SYS_utimes, EPERM);
    deny(f, SYS_futimesat, EPERM);
#endif
}

static void terminals(filter *f)
{
    const unsigned at = begin_call(f, SYS_ioctl);

    load_arg(f, 1);
    deny_equal(f, TIOCSTI, EPERM);
    deny_equal(f, 0x541C /* TIOCLINUX */, EPERM);
    deny_equal(f, TIOCSCTTY, EPERM);
    deny_equal(f, 0x40086602 /* FS_IOC_SETFLAGS */, EPERM);
    deny_equal(f, 0x401C5820 /* FS_IOC_FSSETXATTR */, EPERM);
    end_call(f, at);
    load_number(f);
}

/* Landlock keeps signals among the processes of a command from its version 6 on. */
static void signals(filter *f, const seccomp_wants *w)
{
    static const long numbers[] = { SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo,
                                    SYS_rt_tgsigqueueinfo };

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const unsigned at = begin_call(f, numbers[i]);
        load_arg(f, 0);
        deny_equal(f, (uint32_t)w->spared_pid, EPERM);
        deny_equal(f, UINT32_MAX, EPERM);           /* everybody */
        add(f, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1); /* the caller's own group */
        give(f, SECCOMP_RET_ALLOW);
        if (w->asks) give(f, SECCOMP_RET_USER_NOTIF);
        end_call(f, at);
        load_number(f);
    }
    deny(f, 424 /* pidfd_send_signal */, ENOSYS);
}

void *sandbox_seccomp_filter(const seccomp_wants *w)
{
    filter *f = calloc(1, sizeof *f);

    if (!f) return NULL;
    load(f, offsetof(struct seccomp_data, arch));
    add(f, BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0);
    give(f, SECCOMP_RET_KILL_PROCESS);
    load_number(f);
#ifdef __x86_64__
    add(f, BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);    /* the x32 numbers of the same calls */
    refuse_with(f, ENOSYS);
#endif
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) deny(f, never[i], EPERM);
    for (long number = 425; number <= 427; number++) deny(f, number, ENOSYS);       /* io_uring */
    sockets(f, w);
    load_number(f);
    namespaces(f);
#ifdef SYS_mknod
    device_files(f, SYS_mknod, 1);
#endif
    device_files(f, SYS_mknodat, 2);
    terminals(f);
    if (w->landlock && w->abi < 6) signals(f, w);
    if (w->landlock && w->abi < 3) {
        deny(f, SYS_truncate, EACCES);
        deny(f, 437 /* openat2: its flags lie in memory */, ENOSYS);
    }
    const bool truncates = w->landlock && w->abi < 3;
#ifdef SYS_open
    openings(f, SYS_open, 1, truncates);
#endif
#ifdef SYS_creat
    const unsigned at = begin_call(f, SYS_creat);
    load_arg(f, 1);
    deny_bits(f, HELD_BITS, EPERM);
    end_call(f, at);
    load_number(f);
#endif
    openings(f, SYS_openat, 2, truncates);
    attributes(f, w);
    give(f, SECCOMP_RET_ALLOW);
    f->prog.filter = f->step;
    if (f->prog.len >= MOST_STEPS) {
        free(f);
        return NULL;
    }
    return f;
}

int sandbox_seccomp_file(const void *prog)
{
    const filter *f = prog;
    const size_t  n = f->prog.len * sizeof f->step[0];
    int           fds[2];

    /* A pipe holds it: the filter is smaller than the smallest pipe. */
    if (n > 4096 || pipe(fds) != 0) return -1;
    const bool ok = write(fds[1], f->step, n) == (ssize_t)n;
    close(fds[1]);
    if (ok) return fds[0];
    close(fds[0]);
    return -1;
}

int sandbox_seccomp_enter(const void *prog)
{
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, prog, 0, 0);
}

#else

void *sandbox_seccomp_filter(const seccomp_wants *w)
{
    (void)w;
    return NULL;
}

int sandbox_seccomp_file(const void *prog)
{
    (void)prog;
    return -1;
}

int sandbox_seccomp_enter(const void *prog)
{
    (void)prog;
    errno = ENOSYS;
    return -1;
}

#endif
