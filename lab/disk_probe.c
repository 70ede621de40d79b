/* disk_probe.c - what a disk gives for reads of the size of an expert, through base/aio.
 *
 *   cc -std=c11 -O2 -D_GNU_SOURCE -DDS4_HAVE_URING -Iinclude -Isrc lab/disk_probe.c \
 *      src/base/aio*.c src/base/clock.c src/base/err.c -luring -lpthread -o build/disk_probe
 *   build/disk_probe FILE [SECONDS [PIECES]]
 *
 * Prints GB/s for records of 6.75 MiB: one contiguous record, or PIECES parts at random
 * places as in a file that keeps gate, up and down apart; by way, depth and piece size. */
#include "base/aio.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { RECORD = 7077888, SLOTS = 24, MAX_PARTS = 4 };

static uint64_t seed = 88172645463325252u;
static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static double measure(const char *path, uint64_t file_bytes, ds4_aio_options opt,
                      uint32_t n_parts, double seconds)
{
    static ds4_aio_read reads[SLOTS][MAX_PARTS];
    static uint8_t     *buffer;
    ds4_aio            *aio;
    ds4_err             err;
    const uint64_t      part = RECORD / n_parts;

    if (!buffer) buffer = aligned_alloc(2 << 20, (size_t)SLOTS * (8 << 20));
    if (!buffer) abort();
    if (ds4_aio_open(&aio, &path, 1, &opt, &err) != DS4_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    const uint64_t start = ds4_now_ns(), end = start + (uint64_t)(seconds * 1e9);
    uint64_t       seen = 0, n_bytes = 0;
    for (uint32_t s = 0; s < SLOTS; s++) {
        for (uint32_t p = 0; p < n_parts; p++) reads[s][p].state = DS4_AIO_DONE;
    }
    while (ds4_now_ns() < end) {
        for (uint32_t s = 0; s < SLOTS; s++) {
            for (uint32_t p = 0; p < n_parts; p++) {
                ds4_aio_read *r = &reads[s][p];
                if (ds4_aio_state_of(aio, r) != DS4_AIO_DONE) continue;
                if (r->n_bytes) n_bytes += r->n_bytes;
                r->offset = next_random() % ((file_bytes - part) / 4096) * 4096;
                r->n_bytes = part;
                r->buffer = buffer + s * (RECORD + 65536) + p * ((part + 4095) / 4096 * 4096);
                ds4_aio_submit(aio, r, true);
            }
        }
        seen = ds4_aio_wait(aio, seen);
    }
    const double took = (double)(ds4_now_ns() - start) / 1e9;
    ds4_aio_close(aio);
    for (uint32_t s = 0; s < SLOTS; s++) {
        for (uint32_t p = 0; p < n_parts; p++) reads[s][p].n_bytes = 0;
    }
    return (double)n_bytes / took / 1e9;
}

int main(int argc, char **argv)
{
    static const uint32_t depths[] = { 1, 2, 4, 8, 16, 32, 64 };
    static const uint32_t pieces[] = { 256, 512, 1024, 2048 };
    const double          seconds = argc > 2 ? atof(argv[2]) : 2.0;
    const uint32_t        n_parts = argc > 3 ? (uint32_t)atoi(argv[3]) : 1;
    struct stat           info;

    if (argc < 2 || stat(argv[1], &info) != 0 || n_parts < 1 || n_parts > MAX_PARTS) return 2;
    for (int threads = 0; threads < 2; threads++) {
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
            printf("%s %u part(s), pieces of %u KiB:", threads ? "threads" : "io_uring", n_parts,
                   pieces[p]);
            for (size_t d = 0; d < sizeof depths / sizeof depths[0]; d++) {
                const ds4_aio_options opt = { .depth = depths[d], .piece_bytes = pieces[p] * 1024,
                                              .threads_only = threads };
                const double gbs = measure(argv[1], (uint64_t)info.st_size, opt, n_parts, seconds);
                printf(" %u:%.2f", depths[d], gbs);
                fflush(stdout);
            }
            printf(" GB/s\n");
        }
    }
    return 0;
}
