/* open_pty.h - a pseudo-terminal for a test, also where a bare system mounted none. */
#ifndef DS4_TESTS_OPEN_PTY_H
#define DS4_TESTS_OPEN_PTY_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/mount.h>
#endif

/* A folder that was changed into with chroot often has no /dev/pts. Root may mount one, for as long
 * as it takes to open a terminal in it. Returns the master, -1 for none. */
static inline int open_pty_of_own(int *slave)
{
#if defined(__linux__) && defined(TIOCGPTPEER)
    char box[] = P_tmpdir "/ds4_pty_XXXXXX", path[64];
    int  fd = -1, unlocked = 0;

    if (!mkdtemp(box)) return -1;
    if (mount("devpts", box, "devpts", 0, "newinstance,ptmxmode=0666") == 0) {
        snprintf(path, sizeof path, "%s/ptmx", box);
        fd = open(path, O_RDWR | O_NOCTTY);
        if (fd >= 0 && ioctl(fd, TIOCSPTLCK, &unlocked) == 0) {
            *slave = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY);
        }
        umount2(box, MNT_DETACH);
    }
    rmdir(box);
    return *slave >= 0 ? fd : -1;
#else
    (void)slave;
    return -1;
#endif
}

/* Open a terminal: the master is returned, *slave is its other side. Returns -1 when there is none
 * to be had. */
static inline int test_open_pty(int *slave)
{
    const int fd = posix_openpt(O_RDWR | O_NOCTTY);

    *slave = fd >= 0 && grantpt(fd) == 0 && unlockpt(fd) == 0 && ptsname(fd)
           ? open(ptsname(fd), O_RDWR | O_NOCTTY) : -1;
    if (*slave >= 0) return fd;
    if (fd >= 0) close(fd);
    return open_pty_of_own(slave);
}

/* In the child: the terminal becomes its own, and its three standard files. */
static inline void test_become_of_pty(int master, int slave)
{
    close(master);                      /* or the program would keep its own terminal open */
    setsid();
#ifdef TIOCSCTTY
    ioctl(slave, TIOCSCTTY, 0);
#endif
    for (int i = 0; i < 3; i++) {
        if (dup2(slave, i) < 0) _exit(126);
    }
    if (slave > 2) close(slave);
}

#endif
