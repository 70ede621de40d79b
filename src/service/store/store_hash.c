/* store_hash.c - see store_hash.h. */
#include "service/store/store_hash.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* The canonical form is the same on machines of either byte order. */
static ds4_kv_key key_of(XXH128_hash_t hash)
{
    XXH128_canonical_t c;
    ds4_kv_key         key;

    XXH128_canonicalFromHash(&c, hash);
    memcpy(key.b, c.digest, sizeof key.b);
    return key;
}

ds4_kv_key ds4_kv_hash(const void *data, size_t n_bytes)
{
    return key_of(XXH3_128bits(data, n_bytes));
}

/* The data is hashed first, so that nothing has to be copied together. */
ds4_kv_key ds4_kv_hash_on(const ds4_kv_key *key, const void *data, size_t n_bytes)
{
    const ds4_kv_key part = ds4_kv_hash(data, n_bytes);
    uint8_t          both[2 * sizeof part.b];

    memcpy(both, key->b, sizeof key->b);
    memcpy(both + sizeof key->b, part.b, sizeof part.b);
    return ds4_kv_hash(both, sizeof both);
}

/* The library's state stands behind a name of ours. */
ds4_kv_stream *ds4_kv_stream_begin(void)
{
    XXH3_state_t *state = XXH3_createState();

    if (state) XXH3_128bits_reset(state);
    return (ds4_kv_stream *)state;
}

void ds4_kv_stream_add(ds4_kv_stream *s, const void *data, size_t n_bytes)
{
    XXH3_128bits_update((XXH3_state_t *)s, data, n_bytes);
}

ds4_kv_key ds4_kv_stream_end(ds4_kv_stream *s)
{
    const ds4_kv_key key = key_of(XXH3_128bits_digest((XXH3_state_t *)s));

    XXH3_freeState((XXH3_state_t *)s);
    return key;
}

bool ds4_kv_key_eq(const ds4_kv_key *a, const ds4_kv_key *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

void ds4_kv_key_text(const ds4_kv_key *key, char text[DS4_KV_KEY_TEXT])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof key->b; i++) {
        text[2 * i] = digits[key->b[i] >> 4];
        text[2 * i + 1] = digits[key->b[i] & 15];
    }
    text[DS4_KV_KEY_TEXT - 1] = '\0';
}

bool ds4_kv_key_read(const char *text, ds4_kv_key *out)
{
    if (strspn(text, "0123456789abcdef") != DS4_KV_KEY_TEXT - 1) return false;
    for (size_t i = 0; i < sizeof out->b; i++) {
        const char pair[3] = { text[2 * i], text[2 * i + 1], '\0' };
        out->b[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return text[DS4_KV_KEY_TEXT - 1] == '\0';
}
