/* sandbox_notify.c - what Landlock does not watch: permissions and times of files, and signals before Linux
   6.12.
 *
 * The owner of a file may change its mode and its times wherever it lies. So the filter hands these calls of
 * a
 * command to us: the thread that reads its output looks up the file beneath the root (or the temporary
 * folder)
 * and makes the change itself. Nothing is looked up twice, so that no race can slip another file in. A
 * signal is
 * sent by the caller when we have seen who would get it: its number cannot change meanwhile. */
#include "agent/sandbox_local.h"

#include "agent/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#ifdef SECCOMP_IOCTL_NOTIF_RECV
#define HAVE_NOTIFY 1
#endif
#endif

#ifdef HAVE_NOTIFY

enum { SYS_FCHMODAT2 = 452, HELD_CHANGES = 06000 /* set-user-ID and set-group-ID */ };

/* Read a text of another process, up to its zero byte. */
static bool read_text(pid_t pid, uint64_t address, char *out, size_t size)
{
    for (size_t n = 0; n < size; ) {
        const size_t page = 4096 - (size_t)((address + n) % 4096);
        struct iovec mine = { out + n, page < size - n ? page : size - n };
        struct iovec its = { (void *)(uintptr_t)(address + n), mine.iov_len };
        const ssize_t k = process_vm_readv(pid, &mine, 1, &its, 1, 0);
        if (k <= 0) return false;
        if (memchr(out + n, '\0', (size_t)k)) return true;
        n += (size_t)k;
    }
    return false;
}

/* Read the target of a link of /proc. */
static bool read_link_of(pid_t pid, const char *what, int fd, char *out, size_t size)
{
    char path[64];

    if (fd >= 0) snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
    else         snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
    const ssize_t n = readlink(path, out, size - 1);
    if (n <= 0) return false;
    out[n] = '\0';
    return true;
}

/* The absolute text of the path that a call names. address 0: the file of dir_fd itself. */
static bool path_of(pid_t pid, int dir_fd, uint64_t address, char out[2 * PATH_MAX])
{
    char text[PATH_MAX];

    if (address == 0) return read_link_of(pid, NULL, dir_fd, out, PATH_MAX);
    if (!read_text(pid, address, text, sizeof text)) return false;
    if (text[0] == '/') {
        memcpy(out, text, strlen(text) + 1);
        return true;
    }
    if (!read_link_of(pid, "cwd", dir_fd == AT_FDCWD ? -1 : dir_fd, out, PATH_MAX)) return false;
    const size_t n = strlen(out);
    if (text[0] == '\0') return true;
    snprintf(out + n, 2 * PATH_MAX - n, "/%s", text);
    return true;
}

/* Open what the path names, beneath one of the two folders. Returns -1 with errno. */
static int open_target(const ds4_sandbox *s, bool read_only, const char *path, bool follow)
{
    const ds4_root *roots[2] = { s->temp_root, read_only ? NULL : s->root };
    char            name[DS4_ROOT_NAME_BYTES];
    int             fd = -1;

    errno = EPERM;
    for (int i = 0; i < 2; i++) {
        const ds4_slice text = { path, strlen(path) };
        if (!roots[i] || ds4_root_name(roots[i], text, name, NULL) != DS4_OK) continue;
        const int flags = O_PATH | (follow ? 0 : O_NOFOLLOW);
        if (ds4_root_open_at(roots[i], name, flags, &fd, NULL) == DS4_OK) return fd;
        errno = ENOENT;
        return -1;
    }
    errno = EPERM;
    return -1;
}

typedef struct wish {
    int      dir_fd;
    uint64_t path, times;
    unsigned mode;
    bool     is_mode, follow;
} wish;

static bool read_wish(const struct seccomp_data *d, wish *w)
{
    *w = (wish){ .dir_fd = AT_FDCWD, .follow = true, .is_mode = true };
    switch (d->nr) {
#ifdef SYS_chmod
    case SYS_chmod:
        w->path = d->args[0];
        w->mode = (unsigned)d->args[1];
        return true;
#endif
    case SYS_fchmod:
        w->dir_fd = (int)d->args[0];
        w->mode = (unsigned)d->args[1];
        return true;
    case SYS_FCHMODAT2:
    case SYS_fchmodat:
        w->dir_fd = (int)d->args[0];
        w->path = d->args[1];
        w->mode = (unsigned)d->args[2];
        w->follow = d->nr == SYS_fchmodat || !(d->args[3] & AT_SYMLINK_NOFOLLOW);
        return true;
    case SYS_utimensat:
        w->dir_fd = (int)d->args[0];
        w->path = d->args[1];
        w->times = d->args[2];
        w->is_mode = false;
        w->follow = !(d->args[3] & AT_SYMLINK_NOFOLLOW);
        return true;
    default:
        return false;
    }
}

/* Returns 0 or what went wrong. */
static int grant(const ds4_sandbox *s, bool read_only, int listener, const struct seccomp_notif *n)
{
    char            path[2 * PATH_MAX], own[64];
    struct timespec times[2];
    uint64_t        id = n->id;
    wish            w;
    const pid_t     pid = (pid_t)n->pid;

    if (!read_wish(&n->data, &w)) return EPERM;
    if (w.is_mode && (w.mode & HELD_CHANGES)) return EPERM;
    if (w.path == 0 && w.dir_fd < 0) return EBADF;
    if (!path_of(pid, w.dir_fd, w.path, path)) return w.path ? EFAULT : EBADF;
    if (w.times) {
        struct iovec mine = { times, sizeof times }, its = { (void *)(uintptr_t)w.times, sizeof times };
        if (process_vm_readv(pid, &mine, 1, &its, 1, 0) != (ssize_t)sizeof times) return EFAULT;
    }
    /* The path is the caller's only if it still waits. */
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) != 0) return ENOENT;
    const int fd = open_target(s, read_only, path, w.follow);
    if (fd < 0) return errno;
    snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    int rc = w.is_mode ? chmod(own, w.mode & 01777) :
                         utimensat(fd, "", w.times ? times : NULL, AT_EMPTY_PATH);
    if (rc != 0 && !w.is_mode && w.follow) rc = utimensat(AT_FDCWD, own, w.times ? times : NULL, 0);
    const int e = rc == 0 ? 0 : errno;
    close(fd);
    return e;
}

/* Is the process below the command's first one, or an orphan of a confined one? */
static bool is_below(pid_t pid, pid_t leader)
{
    for (int i = 0; i < 256; i++) {
        ds4_process p;
        if (pid == leader) return true;
        if (!ds4_process_look((int)pid, &p)) return false;
        if (p.parent == getpid()) return ds4_process_is_confined(&p);
        pid = p.parent;
    }
    return false;
}

static bool is_signal(int number)
{
    return number == SYS_kill || number == SYS_tkill || number == SYS_tgkill ||
        number == SYS_rt_sigqueueinfo ||
           number == SYS_rt_tgsigqueueinfo;
}

/* A group is that of its first process. */
static bool may_signal(const struct seccomp_data *d, pid_t leader)
{
    const pid_t pid = (pid_t)d->args[0];
    return pid != -1 && pid != 0 && is_below(pid < 0 ? -pid : pid, leader);
}

void ds4_confine_answer(const ds4_sandbox *s, bool read_only, int listener, int leader)
{
    /* Newer kernels may write more than our header knows of. */
    union { struct seccomp_notif n; char room[512]; } request;
    union { struct seccomp_notif_resp r; char room[512]; } reply;

    memset(&request, 0, sizeof request);
    memset(&reply, 0, sizeof reply);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request.n) != 0) return;
    reply.r.id = request.n.id;
    if (!is_signal(request.n.data.nr))
                           reply.r.error = -grant(s, read_only, listener, &request.n);
    else if (may_signal(&request.n.data, (pid_t)leader))
         reply.r.flags = 1 /* SECCOMP_USER_NOTIF_FLAG_CONTINUE */;
    else                                                  reply.r.error = -EPERM;
    (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply.r);
}

int sandbox_seccomp_listen(const void *prog)
{
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, prog);
}

/* ---- the listener's way from the child to us ------------------------------------------------ */

bool sandbox_send_fd(int socket_fd, int fd)
{
    char            byte = 'l';
    struct iovec    data = { &byte, 1 };
    union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control;
    struct msghdr   m = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                          .msg_controllen = sizeof control };
    struct cmsghdr *c = &control.head;

    memset(&control, 0, sizeof control);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    return sendmsg(socket_fd, &m, MSG_NOSIGNAL) == 1;
}

int ds4_confine_listener(ds4_confine *c)
{
    char            byte = 0;
    int             fd = -1;
    struct iovec    data = { &byte, 1 };
    union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control;
    struct msghdr   m = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                          .msg_controllen = sizeof control };

    if (c->notify[0] < 0) return -1;
    close(c->notify[1]);            /* only the child has it now: its end is seen */
    c->notify[1] = -1;
    const ssize_t n = recvmsg(c->notify[0], &m, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *head = n == 1 ? CMSG_FIRSTHDR(&m) : NULL;
    if (head && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
    return fd;
}

#else

void ds4_confine_answer(const ds4_sandbox *s, bool read_only, int listener, int leader)
{
    (void)leader;
    (void)s;
    (void)read_only;
    (void)listener;
}

int sandbox_seccomp_listen(const void *prog)
{
    (void)prog;
    errno = ENOSYS;
    return -1;
}

bool sandbox_send_fd(int socket_fd, int fd)
{
    (void)socket_fd;
    (void)fd;
    return false;
}

int ds4_confine_listener(ds4_confine *c)
{
    (void)c;
    return -1;
}

#endif
