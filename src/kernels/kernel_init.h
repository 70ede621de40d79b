/* kernel_init.h - how the sets of kernels enter the table; seen by src/kernels only.
 *
 * Each function overrides the slots that its instruction set does better and leaves the
 * others alone. They are called from the plainest set to the widest. */
#ifndef DS4_KERNELS_KERNEL_INIT_H
#define DS4_KERNELS_KERNEL_INIT_H

#include "kernels/kernels.h"

void ds4_kernels_ref_matmul(ds4_kernels *k);
void ds4_kernels_ref_vector(ds4_kernels *k);
void ds4_kernels_ref_rows(ds4_kernels *k);
void ds4_kernels_ref_attend(ds4_kernels *k);

void ds4_kernels_avx2_decode(ds4_kernels *k);
void ds4_kernels_avx2_q256(ds4_kernels *k);
void ds4_kernels_avx2_t66(ds4_kernels *k);
void ds4_kernels_avx2_q32(ds4_kernels *k);
void ds4_kernels_avx2_float(ds4_kernels *k);
void ds4_kernels_avx2_vector(ds4_kernels *k);
void ds4_kernels_avx2_rows(ds4_kernels *k);
void ds4_kernels_avx2_attend(ds4_kernels *k);

void ds4_kernels_avx512_q256(ds4_kernels *k);
void ds4_kernels_avx512_iq2(ds4_kernels *k);
void ds4_kernels_avx512_t66(ds4_kernels *k);
void ds4_kernels_avx512_q32(ds4_kernels *k);
void ds4_kernels_avx512_float(ds4_kernels *k);
void ds4_kernels_avx512_vector(ds4_kernels *k);
void ds4_kernels_avx512_rows(ds4_kernels *k);
void ds4_kernels_avx512_attend(ds4_kernels *k);
void ds4_kernels_avx512_index(ds4_kernels *k);

void ds4_kernels_vbmi_iq2(ds4_kernels *k);
void ds4_kernels_vbmi_t66(ds4_kernels *k);

void ds4_kernels_amx_q256(ds4_kernels *k);
void ds4_kernels_amx_q32(ds4_kernels *k);

/* y = W x for one token: n_rows rows of n_blocks, a multiple of 8 (Q2_K, Q4_K, IQ2_XXS: of
 * 4; IQ2_XXS with AVX2: any number). The same bits as the products of several tokens. */
typedef void ds4_matvec_fn(float *y, const void *w, size_t w_stride, size_t n_rows, const void *x,
                           size_t n_blocks);
ds4_matvec_fn ds4_matvec_q8_0_avx512, ds4_matvec_mxfp4_avx512, ds4_matvec_q2_k_avx512,
              ds4_matvec_q4_k_avx512;
ds4_matvec_fn ds4_matvec_q2_k_avx2, ds4_matvec_q4_k_avx2, ds4_matvec_iq2_xxs_avx2;

/* AMX leaves products with few tokens to AVX-512. */
ds4_matmul_fn ds4_matmul_q8_0_avx512, ds4_matmul_mxfp4_avx512, ds4_matmul_q2_k_avx512,
              ds4_matmul_q4_k_avx512, ds4_matmul_q6_k_avx512, ds4_matmul_iq2_xxs_vbmi,
              ds4_matmul_t66_vbmi;

void ds4_kernels_neon_q256(ds4_kernels *k);
void ds4_kernels_neon_q32(ds4_kernels *k);
void ds4_kernels_neon_float(ds4_kernels *k);
void ds4_kernels_neon_rows(ds4_kernels *k);
void ds4_kernels_neon_attend(ds4_kernels *k);

#endif
