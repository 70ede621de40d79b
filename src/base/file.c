/* file.c - see file.h. */
#include "base/file.h"

#include "base/map_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#ifdef __APPLE__
#define st_mtim st_mtimespec
#define st_ctim st_ctimespec
#endif

static ds4_file_facts facts_of(const struct stat *info)
{
    return (ds4_file_facts){ .device = (uint64_t)info->st_dev,
                             .inode = (uint64_t)info->st_ino,
                             .n_bytes = (uint64_t)info->st_size,
                             .mtime_ns = nanoseconds(info->st_mtim),
                             .ctime_ns = nanoseconds(info->st_ctim) };
}

bool ds4_file_facts_get(int fd, ds4_file_facts *out)
{
    struct stat info;

    if (fstat(fd, &info) != 0) return false;
    *out = facts_of(&info);
    return true;
}

bool ds4_file_facts_eq(const ds4_file_facts *a, const ds4_file_facts *b)
{
    return a->device == b->device && a->inode == b->inode && a->n_bytes == b->n_bytes
        && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

ds4_status ds4_map_open(ds4_map *out, const char *path, ds4_err *err)
{
    ds4_status  st = DS4_OK;
    struct stat info;
    const int   fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0) {
        st = ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        st = ds4_fail(err, DS4_E_IO, "%s: not a regular file", path);
    } else if (info.st_size == 0) {
        *out = (ds4_map){ .facts = facts_of(&info) };
    } else {
        void *p = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            st = ds4_fail(err, DS4_E_IO, "%s: cannot map %lld bytes: %s", path,
                          (long long)info.st_size, strerror(errno));
        } else {
            *out = (ds4_map){ .data = p, .n_bytes = (uint64_t)info.st_size, .facts = facts_of(&info) };
            out->guard = ds4_guard_add(p, out->n_bytes);
        }
    }
    close(fd);
    return st;
}

void ds4_map_close(ds4_map *map)
{
    ds4_guard_remove(map->guard);
    if (map->data) munmap((void *)(uintptr_t)map->data, (size_t)map->n_bytes);
    *map = (ds4_map){ .data = NULL };
}

ds4_status ds4_map_check(const ds4_map *map, const char *path, ds4_err *err)
{
    struct stat info;

    if (!ds4_guard_lost(map->guard)) return DS4_OK;
    if (stat(path, &info) == 0 && (uint64_t)info.st_size < map->n_bytes) {
        return ds4_fail(err, DS4_E_IO, "%s: truncated while in use: it had %llu bytes and has %llu now", path,
                        (unsigned long long)map->n_bytes, (unsigned long long)info.st_size);
    }
    return ds4_fail(err, DS4_E_IO, "%s: parts of it cannot be read any more: it was truncated for a time,"
                    " or its disk failed", path);
}

void ds4_map_expect_random(const void *data, uint64_t n_bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t from = ((uintptr_t)data + page - 1) / page * page;
    const uintptr_t to = ((uintptr_t)data + n_bytes) / page * page;

    if (from < to) posix_madvise((void *)from, to - from, POSIX_MADV_RANDOM);
}

/* posix_madvise() may do nothing about it. Neighbours that share the first or last page
 * lose nothing but time. */
void ds4_map_forget(const void *data, uint64_t n_bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t from = (uintptr_t)data / page * page;

    if (n_bytes) madvise((void *)from, (uintptr_t)data + n_bytes - from, MADV_DONTNEED);
}

ds4_status ds4_file_read(const char *path, size_t max_bytes, ds4_str *out, ds4_err *err)
{
    const bool is_stdin = strcmp(path, "-") == 0;
    const int  fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    size_t     total = 0;
    ds4_status st = DS4_OK;
    char       buf[65536];

    if (fd < 0) return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
    for (;;) {
        const ssize_t n = read(fd, buf, sizeof buf);
        if (n == 0) break;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            st = ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
            break;
        }
        if ((size_t)n > max_bytes - total) {
            st = ds4_fail(err, DS4_E_LIMIT, "%s: longer than the %zu bytes allowed here", path, max_bytes);
            break;
        }
        total += (size_t)n;
        ds4_str_add(out, buf, (size_t)n);
    }
    if (!is_stdin) close(fd);
    if (st == DS4_OK && out->failed) st = ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its content", path);
    return st;
}

bool ds4_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, R_OK) == 0;
}

bool ds4_file_in_memory(const char *path)
{
#ifdef __linux__
    static const uint32_t tmpfs = 0x01021994, hugetlbfs = 0x958458f6, ramfs = 0x858458f6;
    struct statfs         fs;

    if (statfs(path, &fs) != 0) return false;
    const uint32_t type = (uint32_t)fs.f_type;
    return type == tmpfs || type == hugetlbfs || type == ramfs;
#else
    (void)path;                         /* macOS has RAM disks as block devices, with a cache above them */
    return false;
#endif
}
