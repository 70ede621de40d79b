/* ids.c - random ids. */
#include "app/server/server.h"

#include "base/clock.h"

#include <string.h>
#include <unistd.h>

void ds4_random_id(const char *prefix, uint32_t n_hex, char *out, size_t n_bytes)
{
    unsigned char bytes[32] = { 0 };
    size_t        n = strlen(prefix);

    if (getentropy(bytes, sizeof bytes) != 0) {
        const uint64_t now = ds4_now_ns(); /* only uniqueness is lost a little */
        memcpy(bytes, &now, sizeof now);
    }
    snprintf(out, n_bytes, "%s", prefix);
    for (uint32_t i = 0; i < n_hex / 2 && n + 2 < n_bytes; i++, n += 2) {
        snprintf(out + n, n_bytes - n, "%02x", bytes[i % sizeof bytes]);
    }
}
