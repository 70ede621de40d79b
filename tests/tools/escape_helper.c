/* escape_helper.c - system calls by which a command could leave its sandbox (escape_test.c).
 *
 *   escape_helper OUTSIDE NUMBER NAME     exit status 0 when the attempt NAME was successful, 1 when it was
 *   refused
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#endif

#ifdef __linux__
static int connect_unix(const char *path, bool abstract)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    const int          fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0) return 1;
    snprintf(a.sun_path + abstract, sizeof a.sun_path - 1, "%s", path);
    const socklen_t n = (socklen_t)(offsetof(struct sockaddr_un,
                                             sun_path) + abstract + strlen(path) + !abstract);
    return connect(fd, (struct sockaddr *)&a, n) == 0 && write(fd, "x", 1) == 1 ? 0 : 1;
}

static int connect_inet(int port, int type)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const int          fd = socket(AF_INET, type, 0);
    if (fd < 0) return 1;
    return connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && send(fd, "x", 1, 0) == 1 ? 0 : 1;
}

static int in_outside(char path[600], const char *outside, const char *name)
{
    return snprintf(path, 600, "%s/%s", outside, name) < 600;
}

static int try_more(const char *what, const char *outside, int number)
{
    char path[600];

    if (strcmp(what, "abstract") == 0) {
        snprintf(path, sizeof path, "ds4-escape-%d", number);
        return connect_unix(path, true);
    }
    if (strcmp(what, "tcp") == 0) return connect_inet(number, SOCK_STREAM);
    if (strcmp(what, "udp") == 0) return connect_inet(number, SOCK_DGRAM);
    if (strcmp(what, "raw") == 0) return socket(AF_PACKET, SOCK_RAW, 0) >= 0 ? 0 : 1;
    if (strcmp(what, "userns") == 0) return syscall(SYS_unshare, 0x10000000) == 0 ? 0 : 1;
    if (strcmp(what, "mount") == 0) return mount("none", outside, "tmpfs", 0, NULL) == 0 ? 0 : 1;
    if (strcmp(what, "chroot") == 0) return chroot("/") == 0 ? 0 : 1;
    if (strcmp(what, "bpf") == 0) return syscall(SYS_bpf, 0, NULL, 0) >= 0 || errno == EFAULT ? 0 : 1;
    if (strcmp(what, "keyring") == 0) return syscall(SYS_keyctl, 0, -3, 0) >= 0 ? 0 : 1;
    if (strcmp(what, "tiocsti") == 0) return ioctl(0, TIOCSTI, "x") == 0 ? 0 : 1;
    if (strcmp(what, "fds") == 0) {
        /* Is a file open that this program did not open? */
        for (int i = 3; i < 1024; i++) {
            if (fcntl(i, F_GETFD) >= 0) return 0;
        }
        return 1;
    }
    return 2;
}

static int try_it(const char *what, const char *outside, int number)
{
    char path[600], link_name[600];
    int  fd;

    in_outside(path, outside, "secret");
    in_outside(link_name, outside, "made");
    if (strcmp(what, "ptrace") == 0) return ptrace(PTRACE_ATTACH, number, NULL, NULL) == 0 ? 0 : 1;
    if (strcmp(what, "vm_read") == 0) {
        char         data[8];
        struct iovec mine = { data, 8 }, its = { (void *)&try_it, 8 };
        return process_vm_readv(number, &mine, 1, &its, 1, 0) > 0 ? 0 : 1;
    }
    if (strcmp(what, "io_uring") == 0) {
        char params[256] = { 0 };
        return syscall(SYS_io_uring_setup, 4, params) >= 0 ? 0 : 1;
    }
    if (strcmp(what, "tmpfile") == 0) {
        fd = open(outside, O_TMPFILE | O_WRONLY, 0600);
        return fd >= 0 ? 0 : 1;
    }
    if (strcmp(what, "tmpfile_link") == 0) {
        char from[64];
        fd = open(".", O_TMPFILE | O_WRONLY, 0600);
        snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
        return fd >= 0 && linkat(AT_FDCWD, from, AT_FDCWD, link_name, AT_SYMLINK_FOLLOW) == 0 ? 0 : 1;
    }
    if (strcmp(what, "handle") == 0) {
        struct file_handle *h = calloc(1, sizeof *h + 128);
        int                 mount_id;
        h->handle_bytes = 128;
        if (name_to_handle_at(AT_FDCWD, path, h, &mount_id, 0) != 0) return 1;
        return open_by_handle_at(open("/", O_RDONLY), h, O_RDWR) >= 0 ? 0 : 1;
    }
    if (strcmp(what, "rename") == 0) return rename("a.txt", link_name) == 0 ? 0 : 1;
    if (strcmp(what, "exchange") == 0)
        return syscall(SYS_renameat2, AT_FDCWD, "a.txt", AT_FDCWD, path, 2) == 0 ? 0 : 1;
    if (strcmp(what, "truncate") == 0) return truncate(path, 0) == 0 ? 0 : 1;
    if (strcmp(what, "open_trunc") == 0) return open(path, O_RDONLY | O_TRUNC) >= 0 ? 0 : 1;
    if (strcmp(what, "chmod") == 0) return chmod(path, 0777) == 0 ? 0 : 1;
    if (strcmp(what, "suid") == 0) return chmod("helper", 04755) == 0 ? 0 : 1;
    if (strcmp(what, "chown") == 0) return chown(path, 12345, 12345) == 0 ? 0 : 1;
    if (strcmp(what, "unix") == 0) {
        in_outside(path, outside, "socket");
        return connect_unix(path, false);
    }
    return try_more(what, outside, number);
}
#else
static int try_it(const char *what, const char *outside, int number)
{
    (void)what;
    (void)outside;
    (void)number;
    return 2;
}
#endif

int main(int argc, char **argv)
{
    return argc == 4 ? try_it(argv[3], argv[1], atoi(argv[2])) : 2;
}
