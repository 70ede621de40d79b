/* safetensors_fuzz.c - any bytes as a safetensors file: refused, or safe to walk. */
#include "format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static volatile unsigned sink;
    ds4_safetensors         *s = NULL;
    ds4_err                  err;
    unsigned                 sum = 0;

    if (ds4_safetensors_open_bytes("fuzz", data, n_bytes, &s, &err) != DS4_OK) return 0;
    for (uint32_t i = 0; i < ds4_safetensors_count(s); i++) {
        const ds4_st_tensor *t = ds4_safetensors_at(s, i);
        const uint64_t       n = t->n_elems * ds4_st_dtype_bytes(t->dtype);
        if (n > 0) sum += t->data[0] + (unsigned)t->data[n - 1];
        if (ds4_safetensors_find(s, t->name) != t) __builtin_trap();
    }
    sink = sum;
    ds4_safetensors_close(s);
    return (int)(sink & 0);
}
