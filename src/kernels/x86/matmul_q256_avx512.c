/* matmul_q256_avx512.c - products of Q2_K, Q4_K and Q6_K rows with activations in blocks of 256, for
 * AVX-512 with VNNI. */
#include "kernels/x86/product_q256_avx512.h"
#include "kernels/kernel_init.h"

MATMUL(ds4_matmul_q2_k_avx512, Q2_K_BYTES, KIND_MIN16, fill_q2_k, const void *t = NULL;,
       ds4_matvec_q2_k_avx512)
MATMUL(ds4_matmul_q4_k_avx512, Q4_K_BYTES, KIND_MIN32, fill_q4_k, const void *t = NULL;,
       ds4_matvec_q4_k_avx512)
MATMUL(ds4_matmul_q6_k_avx512, Q6_K_BYTES, KIND_SHIFT16, fill_q6_k, const void *t = NULL;, NULL)

void ds4_kernels_avx512_q256(ds4_kernels *k)
{
    k->matmul[DS4_Q2_K] = ds4_matmul_q2_k_avx512;
    k->matmul[DS4_Q4_K] = ds4_matmul_q4_k_avx512;
    k->matmul[DS4_Q6_K] = ds4_matmul_q6_k_avx512;
}
