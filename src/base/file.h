/* file.h - files as whole things: mapped or read. Writing them is in output.h. */
#ifndef DS4_BASE_FILE_H
#define DS4_BASE_FILE_H

#include "base/err.h"
#include "base/str.h"

/* The identity of a file and the time of its last change: what a file system says without reading it. */
typedef struct ds4_file_facts {
    uint64_t device, inode, n_bytes;
    int64_t  mtime_ns, ctime_ns;        /* of the content; of anything, which nobody can set */
} ds4_file_facts;

/* Of an open file. Returns false, with errno, when the system does not say. */
bool ds4_file_facts_get(int fd, ds4_file_facts *out);
bool ds4_file_facts_eq(const ds4_file_facts *a, const ds4_file_facts *b);

/* A file mapped read-only. */
typedef struct ds4_map {
    const uint8_t *data;        /* [n_bytes]; NULL for an empty file */
    uint64_t       n_bytes;
    int            guard;       /* see map_guard.h */
    ds4_file_facts facts;       /* when it was mapped */
} ds4_map;

/* Map a regular file. The mapping stays valid after the file is unlinked; if the file is
 * truncated by someone else, touching the lost pages is a SIGBUS, or with a guard against
 * it they read as zeros and ds4_map_check() says so.
 * Returns DS4_OK; DS4_E_IO with the path and the reason (also for a directory).        */
DS4_MUST_CHECK ds4_status ds4_map_open(ds4_map *out, const char *path, ds4_err *err);
void                      ds4_map_close(ds4_map *map);          /* a zeroed map is fine */

/* Did everything read so far come from the file? Returns DS4_OK; DS4_E_IO with the path and
 * what became of the file. */
DS4_MUST_CHECK ds4_status ds4_map_check(const ds4_map *map, const char *path, ds4_err *err);

/* Part of a mapping of which only scattered rows will be read: the system then does not
 * fetch its neighbours with each. */
void ds4_map_expect_random(const void *data, uint64_t n_bytes);

/* Part of a mapped file that is not needed for now: its pages no longer count as memory of
 * this process. They stay in the system's cache as long as it has room, and come back when
 * they are read. Never for memory that is not a file's. */
void ds4_map_forget(const void *data, uint64_t n_bytes);

/* Read a whole file or stream of at most max_bytes into *out (appended).
 * path "-" is standard input. Returns DS4_OK; DS4_E_IO; DS4_E_LIMIT; DS4_E_NOMEM.      */
DS4_MUST_CHECK ds4_status ds4_file_read(const char *path, size_t max_bytes, ds4_str *out, ds4_err *err);

/* Does the file lie in memory for good, on a RAM disk (tmpfs, ramfs, hugetlbfs)? Mapping such a
 * file takes no memory that is not taken already. */
bool ds4_file_in_memory(const char *path);

bool ds4_file_exists(const char *path);     /* a regular file that may be read */

#endif
