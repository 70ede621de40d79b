/* http_wire.c - see http_wire.h. */
#include "app/server/http_wire.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* the program ignores SIGPIPE */
#endif

/* Wait for an event until a time; false when it did not come. */
static bool wait_for(int fd, short events, uint64_t until_ns)
{
    for (;;) {
        struct pollfd  p = { .fd = fd, .events = events };
        const uint64_t now = ds4_now_ns();
        const uint64_t ms = until_ns > now ? (until_ns - now) / 1000000 + 1 : 0;
        const int      rc = poll(&p, 1, ms > 60000 ? 60000 : (int)ms);
        if (rc > 0) return true;
        if (rc < 0 && errno != EINTR && errno != EAGAIN) return true; /* the next call says what */
        if (ds4_now_ns() >= until_ns) return false;
    }
}

static bool is_passing(int error)
{
    return error == EINTR || error == EAGAIN || error == EWOULDBLOCK;
}

static ds4_wire_state receive(ds4_wire *w, char *out, size_t n, uint64_t until_ns, size_t *got)
{
    for (;;) {
        const ssize_t rc = recv(w->fd, out, n, MSG_DONTWAIT);
        if (rc > 0) {
            *got = (size_t)rc;
            w->n_received += (size_t)rc;
            return DS4_WIRE_OK;
        }
        if (rc == 0 || !is_passing(errno)) return DS4_WIRE_CLOSED;
        if (!wait_for(w->fd, POLLIN, until_ns)) return DS4_WIRE_SLOW;
    }
}

ds4_wire_state ds4_wire_fill(ds4_wire *w, uint64_t until_ns)
{
    size_t got = 0;

    if (w->at > w->floor && (w->at == w->n || w->n == w->capacity)) {
        memmove(w->bytes + w->floor, w->bytes + w->at, w->n - w->at);
        w->n -= w->at - w->floor;
        w->at = w->floor;
    }
    const ds4_wire_state state = receive(w, w->bytes + w->n, w->capacity - w->n, until_ns, &got);
    w->n += got;
    return state;
}

ds4_wire_state ds4_wire_read(ds4_wire *w, char *out, size_t n, uint64_t until_ns, size_t *got)
{
    const size_t ahead = w->n - w->at;

    if (ahead == 0) return receive(w, out, n, until_ns, got);
    *got = ahead < n ? ahead : n;
    memcpy(out, w->bytes + w->at, *got);
    w->at += *got;
    return DS4_WIRE_OK;
}

bool ds4_wire_send(ds4_wire *w, const void *first, size_t n_first, const void *second,
                   size_t n_second, uint64_t patience_ns)
{
    struct iovec part[2] = { { (void *)(uintptr_t)first, n_first },
                             { (void *)(uintptr_t)second, n_second } };
    size_t       left = n_first + n_second;

    while (left > 0) {
        struct msghdr m = { .msg_iov = part, .msg_iovlen = 2 };
        ssize_t       rc = sendmsg(w->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (rc < 0 && !is_passing(errno)) return false;
        if (rc < 0) {
            if (!wait_for(w->fd, POLLOUT, ds4_now_ns() + patience_ns)) return false;
            continue;
        }
        left -= (size_t)rc;
        w->n_sent += (size_t)rc;
        for (int i = 0; i < 2; i++) {
            const size_t n = (size_t)rc < part[i].iov_len ? (size_t)rc : part[i].iov_len;
            part[i].iov_base = (char *)part[i].iov_base + n;
            part[i].iov_len -= n;
            rc -= (ssize_t)n;
        }
    }
    return true;
}

void ds4_wire_linger(ds4_wire *w, uint64_t until_ns)
{
    char   dropped[16384];
    size_t got;

    if (shutdown(w->fd, SHUT_WR) != 0) return;
    while (ds4_now_ns() < until_ns &&
           receive(w, dropped, sizeof dropped, until_ns, &got) == DS4_WIRE_OK) {
    }
}

ds4_wire_peer ds4_wire_look(const ds4_wire *w)
{
    struct pollfd p = { .fd = w->fd, .events = POLLIN };
    char          byte;

    if (poll(&p, 1, 0) <= 0) return DS4_WIRE_THERE;
    if (p.revents & (POLLERR | POLLHUP | POLLNVAL)) return DS4_WIRE_GONE;
    const ssize_t n = recv(p.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0) return DS4_WIRE_HALF;
    return n > 0 || is_passing(errno) ? DS4_WIRE_THERE : DS4_WIRE_GONE;
}
