/* store_model.c - whose state it is: the identity of a model file and of its kernels. */
#include "service/store/store_local.h"

#include "base/file.h"
#include "format/gguf.h"

#include <string.h>

/* Two files may agree in everything that describes them and differ in their weights, as
 * two trainings of one model do; a few pages from all over the file tell them apart. */
enum { N_SAMPLES = 64, SAMPLE_BYTES = 4096 };

ds4_status store_identify(const ds4_engine *e, ds4_kv_key *out, ds4_err *err)
{
    const char *path = ds4_engine_info(e)->path;
    ds4_gguf   *g = NULL;
    ds4_map     map = { 0 };

    DS4_TRY(ds4_gguf_open(path, &g, err));
    const uint64_t header = ds4_gguf_data_offset(g);
    ds4_gguf_close(g);
    DS4_TRY(ds4_map_open(&map, path, err));
    if (map.n_bytes < header) {
        ds4_map_close(&map);
        return ds4_fail(err, DS4_E_IO, "%s: changes while it is used", path);
    }
    char family[64];
    ds4_engine_family(e, family, sizeof family);
    uint8_t size[8];
    for (int i = 0; i < 8; i++) size[i] = (uint8_t)(map.n_bytes >> (8 * i));
    ds4_kv_key     key = ds4_kv_hash(map.data, (size_t)header);
    const uint64_t left = map.n_bytes - header, stride = left / N_SAMPLES;

    key = ds4_kv_hash_on(&key, size, sizeof size);
    key = ds4_kv_hash_on(&key, family, strlen(family));
    for (uint64_t i = 0; i < N_SAMPLES; i++) {
        const uint64_t n = stride < SAMPLE_BYTES ? stride : SAMPLE_BYTES;
        key = ds4_kv_hash_on(&key, map.data + header + i * stride, (size_t)n);
    }
    const ds4_status st = ds4_map_check(&map, path, err);
    ds4_map_close(&map);
    if (st == DS4_OK) *out = key;
    return st;
}
