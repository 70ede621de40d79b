/* service_manager.c - see service_manager.h. */
#include "app/server/service_manager.h"

#include "base/knob.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void ds4_manager_tell(const char *state)
{
    const char        *path = ds4_knob_text(DS4_KNOB_NOTIFY_SOCKET);
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    const size_t       n = path ? strlen(path) : 0;

    if (n < 2 || n >= sizeof at.sun_path || (*path != '/' && *path != '@')) return;
    memcpy(at.sun_path, path, n);
    if (*path == '@') at.sun_path[0] = '\0'; /* the abstract name space */
    const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0) return;
    const socklen_t n_at = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    if (sendto(fd, state, strlen(state), 0, (const struct sockaddr *)&at, n_at) < 0) {
        /* the manager will say that it waits */
    }
    close(fd);
}

const char *ds4_manager_credential(const char *name, char *out, size_t n_out)
{
    const char *dir = ds4_knob_text(DS4_KNOB_CREDENTIALS);

    if (!dir || (size_t)snprintf(out, n_out, "%s/%s", dir, name) >= n_out) return NULL;
    return access(out, F_OK) == 0 ? out : NULL;
}
