/* store_hash.h - names and checksums of the KV store: XXH3 with 128 bits.
 *
 * A name is found again only where the tokens behind it are compared too, so the hash
 * need not withstand an attacker. */
#ifndef DS4_SERVICE_STORE_HASH_H
#define DS4_SERVICE_STORE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ds4_kv_key {
    uint8_t b[16];
} ds4_kv_key;

enum { DS4_KV_KEY_TEXT = 33 };          /* 32 hexadecimal digits and a zero */

ds4_kv_key ds4_kv_hash(const void *data, size_t n_bytes);

/* The hash of a key followed by data: how a name grows with what comes after it. */
ds4_kv_key ds4_kv_hash_on(const ds4_kv_key *key, const void *data, size_t n_bytes);

/* The hash of data that comes in parts: that of ds4_kv_hash() of all of it. */
typedef struct ds4_kv_stream ds4_kv_stream;
ds4_kv_stream *ds4_kv_stream_begin(void);       /* NULL without memory */
void           ds4_kv_stream_add(ds4_kv_stream *s, const void *data, size_t n_bytes);
ds4_kv_key     ds4_kv_stream_end(ds4_kv_stream *s);     /* frees it */

bool ds4_kv_key_eq(const ds4_kv_key *a, const ds4_kv_key *b);
void ds4_kv_key_text(const ds4_kv_key *key, char text[DS4_KV_KEY_TEXT]);

/* Read 32 hexadecimal digits. Returns false for anything else. */
bool ds4_kv_key_read(const char *text, ds4_kv_key *out);

#endif
