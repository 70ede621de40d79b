/* turns_fuzz.c - any bytes as the files of remembered turns and responses: as they are, or as
 * records with good checksums and any content. */
#include "service/record_log.h"
#include "service/turn_replay.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void write_file(const char *path, const uint8_t *data, size_t n_bytes)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, n_bytes) != (ssize_t)n_bytes) abort();
    close(fd);
}

/* The first byte of each record says how long it is. */
static void write_records(const char *path, const uint8_t *data, size_t n_bytes)
{
    const ds4_record_owner nobody = { .ctx = NULL }; /* nothing to take, and never full */
    ds4_record_log        *l = NULL;

    write_file(path, data, 0);
    if (ds4_record_log_open(&l, path, UINT64_MAX, &nobody, NULL) != DS4_OK) abort();
    while (n_bytes > 0) {
        const size_t n = data[0] < n_bytes ? data[0] : n_bytes - 1;
        ds4_record_log_append(l, (ds4_slice){ (const char *)data + 1, n });
        data += n + 1;
        n_bytes -= n + 1;
    }
    ds4_record_log_close(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static char path[256];
    ds4_replay *r = NULL;

    if (n_bytes == 0) return 0;
    if (!path[0]) {
        snprintf(path, sizeof path, "%s/ds4_turns_fuzz_XXXXXX", P_tmpdir);
        const int fd = mkstemp(path);
        if (fd < 0) abort();
        close(fd);
    }
    if (data[0] & 1) {
        write_file(path, data + 1, n_bytes - 1);
    } else {
        write_records(path, data + 1, n_bytes - 1);
    }
    if (ds4_replay_create(1 << 12, 1000, &r, NULL) != DS4_OK) abort();
    if (ds4_replay_open(r, path, NULL) != DS4_OK) abort();
    if (ds4_replay_bytes(r) > 1 << 12) abort();
    ds4_replay_free(r);
    unlink(path);
    return 0;
}
