/* encode.h - from float weights to the blocks of a GGUF file.
 *
 * Pure functions without state; rows may be encoded by many threads. A row is n weights,
 * whole blocks of the type; all weights are finite and at most DS4_F16_MAX in magnitude,
 * so that scales stay inside F16. Importance is one weight for each column, >= 0, usually
 * the mean squared activation; NULL means all 1.
 *
 * Results are the same on every machine: plain float arithmetic in a fixed order.
 * Source: docs/MODEL.md section 9.                                                    */
#ifndef DS4_FORMAT_ENCODE_H
#define DS4_FORMAT_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

/* The work to spend on a row. The decoder is the same. */
typedef enum ds4_encode_effort {
    DS4_ENCODE_STANDARD,    /* the usual encoders, byte for byte; IQ2_XXS needs importance there */
    DS4_ENCODE_BEST,        /* least error: slower searches for Q2_K and IQ2_XXS, otherwise the same */
} ds4_encode_effort;

/* Types that ds4_encode_row() makes: F32, F16, BF16, Q8_0, Q2_K, Q4_K, Q6_K, IQ2_XXS, MXFP4. */
bool ds4_can_encode(uint32_t dtype);

/* Encode one row.
 *
 *   dtype       one that ds4_can_encode()
 *   out         [ds4_row_bytes(dtype, n)], any alignment
 *   x           [n]
 *   importance  [n] or NULL                                                           */
void ds4_encode_row(uint32_t dtype, ds4_encode_effort effort, void *out, const float *x,
                    const float *importance, uint64_t n);

/* The encoders that search, one block each; x and w (importance) have a block's weights. */
void ds4_encode_q2_k(uint8_t out[84], const float *x, const float *w);         /* w may be NULL */
void ds4_encode_q2_k_best(uint8_t out[84], const float *x, const float *w);    /* w may be NULL */
void ds4_encode_q4_k(uint8_t out[144], const float *x, const float *w);        /* w may be NULL */
void ds4_encode_q6_k(uint8_t out[210], const float *x);
void ds4_encode_iq2_xxs(uint8_t out[66], const float *x, const float *w);      /* w not NULL */
void ds4_encode_iq2_xxs_best(uint8_t out[66], const float *x, const float *w); /* w may be NULL */

/* Repack 32 weights of an FP4 checkpoint, without loss: there byte i holds weights 2i (low
 * nibble) and 2i + 1, here byte 1 + j holds weights j (low nibble) and j + 16.
 *
 *   out     [17]
 *   codes   [16]
 *   scale   E8M0, not 255 (NaN)                                                       */
void ds4_repack_mxfp4(uint8_t out[17], const uint8_t codes[16], uint8_t scale);

#endif
