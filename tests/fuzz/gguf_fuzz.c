/* gguf_fuzz.c - any bytes as a GGUF file: refused, or safe to walk. */
#include "format/gguf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static unsigned walk(const ds4_gguf *g)
{
    unsigned sum = 0;

    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(g, i);
        sum += t->data[0];
        sum += t->data[t->n_bytes - 1];
    }
    for (uint32_t i = 0; i < ds4_gguf_n_keys(g); i++) {
        const ds4_gguf_key *kv = ds4_gguf_key_at(g, i);
        if (kv->value.n_bytes > 0) sum += kv->value.data[kv->value.n_bytes - 1];
    }
    return sum;
}

static void read_keys(const ds4_gguf *g)
{
    static const char *const keys[] = { "a", "b", "c", "tokens", "ratios", "flag", "name" };

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int64_t   *ints = NULL;
        float     *floats = NULL, f = 0;
        ds4_slice *texts = NULL, s = { 0 };
        uint64_t   n = 0;
        bool       b = false;
        ds4_err    err;

        if (ds4_gguf_copy_i64s(g, keys[i], -100, 100, &ints, &n, &err) == DS4_OK) free(ints);
        if (ds4_gguf_copy_f32s(g, keys[i], &floats, &n, &err) == DS4_OK) free(floats);
        if (ds4_gguf_copy_strings(g, keys[i], &texts, &n, &err) == DS4_OK) free(texts);
        if (ds4_gguf_get_u64(g, keys[i], 0, 1000, &n, &err) != DS4_OK) n = 0;
        if (ds4_gguf_get_f32(g, keys[i], &f, &err) != DS4_OK) f = 0;
        if (ds4_gguf_opt_bool(g, keys[i], false, &b, &err) != DS4_OK) b = false;
        if (ds4_gguf_get_string(g, keys[i], &s, &err) != DS4_OK) s.n_bytes = 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static volatile unsigned sink;
    ds4_gguf                *g = NULL;
    ds4_err                  err;

    if (ds4_gguf_open_bytes("fuzz", data, n_bytes, &g, &err) != DS4_OK) return 0;
    sink = walk(g);
    read_keys(g);
    ds4_gguf_close(g);
    return (int)(sink & 0);
}
