/* store_tokens.c - token sequences as the store has them: names of blocks, and bytes. */
#include "service/store/store_local.h"

#include <stdlib.h>

bool store_same_tokens(ds4_slice stored, const int32_t *tokens, uint32_t n_tokens)
{
    if (stored.n_bytes != 4ull * n_tokens) return false;
    for (uint32_t i = 0; i < n_tokens; i++) {
        if (ds4_kv_token((const uint8_t *)stored.data, i) != tokens[i]) return false;
    }
    return true;
}

ds4_kv_key *store_keys(const store_view *v, const int32_t *tokens, uint32_t n_blocks)
{
    const uint32_t n = v->owner.form.block_tokens;
    ds4_kv_key    *keys = malloc((n_blocks + 1ull) * sizeof *keys);

    if (!keys) return NULL;
    keys[0] = v->root;
    for (uint32_t i = 0; i < n_blocks; i++) {
        keys[i + 1] = ds4_kv_name(DS4_KV_BLOCK, &keys[i], tokens + (size_t)i * n, n);
    }
    return keys;
}
