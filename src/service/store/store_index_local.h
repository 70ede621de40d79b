/* store_index_local.h - keys and names as values of the index. */
#ifndef DS4_SERVICE_STORE_INDEX_LOCAL_H
#define DS4_SERVICE_STORE_INDEX_LOCAL_H

#include "service/store/store_index.h"

#include <string.h>

static inline ds4_slice store_bytes_of(const ds4_kv_key *key)
{
    return (ds4_slice){ (const char *)key->b, sizeof key->b };
}

static inline ds4_slice store_text_of(const char *text)
{
    return (ds4_slice){ text, strlen(text) };
}

static inline ds4_kv_key store_key_at(ds4_sql_row *row, int at)
{
    const ds4_slice bytes = ds4_sql_get_bytes(row, at);
    ds4_kv_key      key = { { 0 } };

    if (bytes.n_bytes == sizeof key.b) memcpy(key.b, bytes.data, sizeof key.b);
    return key;
}

#endif
