/* sandbox_landlock.c - the rules of Landlock: which files a command may touch.
 *
 * The numbers are those of the kernel's interface (landlock(7)), written here because the headers of a system
 * are often older than its kernel. */
#include "agent/sandbox_local.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#endif

enum {
    FS_EXECUTE = 1 << 0, FS_WRITE_FILE = 1 << 1, FS_READ_FILE = 1 << 2, FS_READ_DIR = 1 << 3,
    FS_REMOVE_DIR = 1 << 4, FS_REMOVE_FILE = 1 << 5, FS_MAKE_CHAR = 1 << 6, FS_MAKE_DIR = 1 << 7,
    FS_MAKE_REG = 1 << 8, FS_MAKE_SOCK = 1 << 9, FS_MAKE_FIFO = 1 << 10, FS_MAKE_BLOCK = 1 << 11,
    FS_MAKE_SYM = 1 << 12, FS_REFER = 1 << 13, FS_TRUNCATE = 1 << 14, FS_IOCTL_DEV = 1 << 15,
    FS_ABI1 = (1 << 13) - 1,
    SCOPE_ABSTRACT_SOCKETS = 1 << 0, SCOPE_SIGNALS = 1 << 1,
    RULE_PATH_BENEATH = 1, CREATE_VERSION = 1,
};

typedef struct ruleset_attr {
    uint64_t fs, net, scoped;
} ruleset_attr;

typedef struct path_beneath_attr {
    uint64_t allowed;
    int32_t  fd;
} __attribute__((packed)) path_beneath_attr;

static uint64_t handled(int abi)
{
    return FS_ABI1 | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) | (abi >= 5 ? FS_IOCTL_DEV : 0);
}

int sandbox_landlock_abi(void)
{
    const long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
    return abi > 0 ? (int)abi : 0;
}

static int allow_fd(int ruleset, int fd, uint64_t allowed)
{
    struct stat st;

    if (fstat(fd, &st) != 0) return -1;
    /* Rights of folders on a file are an error. */
    if (!S_ISDIR(st.st_mode))
        allowed &= FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV;
    const path_beneath_attr rule = { allowed, fd };
    return (int)syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0);
}

/* A path that is not there needs no rule. */
static int allow(int ruleset, const char *path, uint64_t allowed)
{
    const int fd = open(path, O_PATH | O_CLOEXEC);

    if (fd < 0) return 0;
    const int rc = allow_fd(ruleset, fd, allowed);
    close(fd);
    return rc;
}

int sandbox_landlock_rules(const ds4_sandbox *s, const ds4_confine_options *opt)
{
    static const char *const devices[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                           "/dev/urandom" };
    const uint64_t     all = handled(s->abi), reads = FS_EXECUTE | FS_READ_FILE | FS_READ_DIR;
    const uint64_t     writes = all & ~(uint64_t)(FS_MAKE_CHAR | FS_MAKE_BLOCK | FS_IOCTL_DEV);
    const ruleset_attr attr = { .fs = all, .scoped = s->abi >= 6 ? SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS :
                                0 };
    const size_t       size = s->abi >= 6 ? sizeof attr : s->abi >= 4 ? 16 : 8;
    const int          ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    int                rc = 0;

    if (ruleset < 0) return -1;
    for (size_t i = 0; i < sizeof devices / sizeof *devices && rc == 0; i++)
        rc = allow(ruleset, devices[i], all & (FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV));
    for (int i = 0; i < s->n_readable && rc == 0; i++) rc = allow(ruleset, s->readable[i], reads);
    if (rc == 0) rc = allow(ruleset, "/proc", FS_READ_FILE | FS_READ_DIR);
    if (rc == 0) rc = allow(ruleset, s->temp, writes);
    if (rc == 0) rc = allow_fd(ruleset, ds4_root_fd(s->root), opt->read_only ? reads : writes);
    if (rc != 0) {
        const int e = errno;
        close(ruleset);
        errno = e;
        return -1;
    }
    return ruleset;
}

#else

int sandbox_landlock_abi(void) { return 0; }

int sandbox_landlock_rules(const ds4_sandbox *s, const ds4_confine_options *opt)
{
    (void)s;
    (void)opt;
    errno = ENOSYS;
    return -1;
}

#endif
