/* owner.c - who asks: the key that a request shows. */
#include "app/server/server.h"

#include "base/sha256.h"

#include <string.h>
#include <strings.h>

const char *ds4_key_of(const ds4_server *s, const ds4_http_request *rq)
{
    const char *bearer = ds4_http_header(rq, "Authorization");
    const char *key = ds4_http_header(rq, "x-api-key");

    if (key && ds4_keys_have(s->opt.keys, key)) return key;
    if (!bearer || strncasecmp(bearer, "Bearer ", 7) != 0) return NULL;
    return ds4_keys_have(s->opt.keys, bearer + 7) ? bearer + 7 : NULL;
}

ds4_kv_key ds4_owner_of(const ds4_server *s, const ds4_http_request *rq)
{
    const char *key = s->opt.keys->n > 0 ? ds4_key_of(s, rq) : NULL;
    uint8_t     sum[DS4_SHA256_BYTES];
    ds4_kv_key  owner = { { 0 } };

    if (!key) return owner;
    ds4_sha256(key, strlen(key), sum);
    memcpy(owner.b, sum, sizeof owner.b);
    return owner;
}
