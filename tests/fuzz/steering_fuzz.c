/* steering_fuzz.c - any bytes as a file of directions: it is refused, or each direction has length 1 or 0.
 *
 * The first two bytes are the layers and the width. */
#include "model/steering.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    float  *v = NULL;
    ds4_err err = { 0 };

    if (n_bytes < 2) return 0;
    const uint32_t   n_layers = 1 + data[0] % 8, n_embd = 1 + data[1] % 16;
    const ds4_status st = ds4_steering_parse("file", data + 2, n_bytes - 2, n_layers, n_embd, &v, &err);
    if ((st == DS4_OK) != (v != NULL) || (st != DS4_OK && err.text[0] == '\0')) abort();
    for (uint32_t l = 0; v && l < n_layers; l++) {
        double square = 0.0;
        for (uint32_t i = 0; i < n_embd; i++) square += (double)v[l * n_embd + i] * (double)v[l * n_embd + i];
        if (square != 0.0 && !(fabs(sqrt(square) - 1.0) < 0.011)) abort();
    }
    free(v);
    return 0;
}
