/* kv_file_fuzz.c - any bytes as a file of the KV store: refused, or safe to use. */
#include "service/store/store_file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static unsigned use(const uint8_t *bytes, size_t n_bytes)
{
    ds4_kv_file f;
    ds4_err     err;
    unsigned    sum = 0;

    if (ds4_kv_file_parse("fuzz", bytes, n_bytes, &f, &err) != DS4_OK) return 0;
    for (uint32_t i = 0; i < f.n_tokens; i++) sum += (unsigned)ds4_kv_token(f.tokens, i);
    for (uint64_t i = 0; i < f.n_bytes; i++) sum += f.content[i];
    const ds4_kv_key root = ds4_kv_root(&f.owner);
    return sum + root.b[0] + ds4_kv_owner_eq(&f.owner, &f.owner);
}

/* Make checksum and name right, so that what lies behind them is reached too. */
static void mend(uint8_t *bytes, size_t n_bytes)
{
    enum { CHECK = 16, POS = 44, BLOCK_TOKENS = 40, KIND = 12, PARENT = 64, KEY = 80 };
    int32_t    tokens[1024];
    uint32_t   n_block, pos, kind;
    ds4_kv_key parent, key;

    memcpy(&n_block, bytes + BLOCK_TOKENS, 4);
    memcpy(&pos, bytes + POS, 4);
    memcpy(&kind, bytes + KIND, 4);
    memcpy(parent.b, bytes + PARENT, sizeof parent.b);
    if (n_block < 1 || n_block > 1024) return;
    const uint32_t n = kind == DS4_KV_BLOCK ? n_block : pos % n_block;
    if (n_bytes < ds4_kv_file_bytes(n, 0)) return;
    for (uint32_t i = 0; i < n; i++) tokens[i] = ds4_kv_token(bytes + DS4_KV_FILE_HEADER, i);
    key = ds4_kv_name(kind == DS4_KV_BLOCK ? DS4_KV_BLOCK : DS4_KV_TAIL, &parent, tokens, n);
    memcpy(bytes + KEY, key.b, sizeof key.b);
    const ds4_kv_key check = ds4_kv_hash(bytes, n_bytes - CHECK);
    memcpy(bytes + n_bytes - CHECK, check.b, CHECK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static volatile unsigned sink;
    uint8_t                 *copy = malloc(n_bytes ? n_bytes : 1);

    sink = use(data, n_bytes);
    if (copy && n_bytes >= DS4_KV_FILE_EXTRA) {
        memcpy(copy, data, n_bytes);
        mend(copy, n_bytes);
        sink = use(copy, n_bytes);
    }
    free(copy);
    return (int)(sink & 0);
}
