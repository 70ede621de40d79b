/* file_at.c - see file_at.h. */
#include "base/file_at.h"

#include <errno.h>
#include <unistd.h>

size_t ds4_read_at(int fd, void *data, size_t n_bytes, uint64_t offset)
{
    size_t done = 0;

    errno = 0;
    while (done < n_bytes) {
        const ssize_t n = pread(fd, (char *)data + done, n_bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break;
        errno = 0;                      /* of an interruption before */
        if (n == 0) break;
        done += (size_t)n;
    }
    return done;
}

bool ds4_write_at(int fd, const void *data, size_t n_bytes, uint64_t offset)
{
    size_t done = 0;

    while (done < n_bytes) {
        const ssize_t n = pwrite(fd, (const char *)data + done, n_bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = ENOSPC;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}
