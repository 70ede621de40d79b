/* forms.c - the forms of activations and rows, and their sizes; see kernels.h. */
#include "kernels/kernels.h"

enum { Q32_BLOCK = 32, Q256_BLOCK = 256, KV_SCALE_BLOCK = 64, INDEX_SCALE_BLOCK = 32 };

ds4_act ds4_act_of(uint32_t dtype)
{
    switch (dtype) {
    case DS4_Q8_0:
    case DS4_MXFP4:   return DS4_ACT_Q32;
    case DS4_Q2_K:
    case DS4_Q4_K:
    case DS4_Q6_K:
    case DS4_IQ2_XXS:
    case DS4_T66:     return DS4_ACT_Q256;
    default:          return DS4_ACT_F32;
    }
}

size_t ds4_act_bytes(ds4_act act, size_t n_values)
{
    switch (act) {
    case DS4_ACT_Q32:  return (n_values + Q32_BLOCK - 1) / Q32_BLOCK * sizeof(ds4_q32);
    case DS4_ACT_Q256: return (n_values + Q256_BLOCK - 1) / Q256_BLOCK * sizeof(ds4_q256);
    default:           return n_values * sizeof(float);
    }
}

size_t ds4_kv_row_bytes(uint32_t n_nope, uint32_t n_rot)
{
    const size_t n_scale = ((size_t)n_nope + KV_SCALE_BLOCK - 1) / KV_SCALE_BLOCK;
    return (n_nope + n_scale + 7) / 8 * 8 + 2 * (size_t)n_rot;
}

size_t ds4_index_row_bytes(uint32_t n)
{
    return n / 2 + n / INDEX_SCALE_BLOCK;
}
