/* recipe_fuzz.c - the input is a recipe. What is read is asked about every name and layer. */
#include "format/encode.h"
#include "format/recipe.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static const char *const names[] = { "token_embd", "ffn_gate_exps", "ffn_up_exps", "attn_q_a", "" };
    static const uint32_t    layers[] = { 0, 3, 1023, DS4_RECIPE_NO_LAYER, DS4_RECIPE_MTP };
    ds4_recipe               r;
    ds4_err                  err = { .code = DS4_OK };
    uint32_t                 dtype = 0;

    if (ds4_recipe_parse(&r, "fuzz", (ds4_slice){ (const char *)data, n_bytes }, &err) != DS4_OK) {
        if (err.code == DS4_OK || err.text[0] == 0) abort();
        return 0;
    }
    if (r.n_rules == 0 || r.n_rules > DS4_RECIPE_MAX_RULES) abort();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (size_t k = 0; k < sizeof layers / sizeof layers[0]; k++) {
            if (ds4_recipe_type(&r, names[i], layers[k], &dtype) && !ds4_can_encode(dtype)) abort();
        }
    }
    const ds4_status used = ds4_recipe_check_used(&r, &err);
    (void)used;
    return 0;
}
