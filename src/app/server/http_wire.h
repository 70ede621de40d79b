/* http_wire.h - one connected socket: bytes that are read ahead, bytes that are written, and by
 * when. Times are those of ds4_now_ns(), so that no change of the wall clock is seen. */
#ifndef DS4_APP_SERVER_HTTP_WIRE_H
#define DS4_APP_SERVER_HTTP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* bytes[at .. n) have arrived and are unread; bytes[0 .. floor) are held by a reader. */
typedef struct ds4_wire {
    int    fd;
    char  *bytes;               /* [capacity] */
    size_t capacity, floor, at, n;
    size_t n_received, n_sent;  /* in all */
} ds4_wire;

typedef enum ds4_wire_state {
    DS4_WIRE_OK,
    DS4_WIRE_CLOSED,            /* by the other side, or broken */
    DS4_WIRE_SLOW,              /* nothing came in time */
} ds4_wire_state;

/* Read more behind what is unread, waiting until a time. There must be room: at least one byte of
 * the buffer that is neither held nor unread. */
ds4_wire_state ds4_wire_fill(ds4_wire *w, uint64_t until_ns);

/* Read up to n bytes, those read ahead first. *got is at least 1 when the result is OK. */
ds4_wire_state ds4_wire_read(ds4_wire *w, char *out, size_t n, uint64_t until_ns, size_t *got);

/* Write all of two runs of bytes; false when the other side is gone or took nothing for
 * patience_ns. */
bool ds4_wire_send(ds4_wire *w, const void *first, size_t n_first, const void *second, size_t n_second,
                   uint64_t patience_ns);

/* Say that no more will be written, and read what is still on its way until a time, so that the
 * other side sees what it was told before the connection is reset. */
void ds4_wire_linger(ds4_wire *w, uint64_t until_ns);

typedef enum ds4_wire_peer {
    DS4_WIRE_THERE,
    DS4_WIRE_HALF,              /* it will send nothing more; it may still listen, or be gone */
    DS4_WIRE_GONE,
} ds4_wire_peer;

ds4_wire_peer ds4_wire_look(const ds4_wire *w);

#endif
