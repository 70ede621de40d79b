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

#include "base/err.h"

/* The work to spend on a row. The decoder is the same. */
typedef enum ds4_encode_effort {
    DS4_ENCODE_STANDARD,    /* the usual encoders, byte for byte; IQ2_XXS needs importance there */
    DS4_ENCODE_BEST,        /* least error: slower searches for Q2_K and IQ2_XXS, otherwise the same */
} ds4_encode_effort;

/* Types that ds4_encode_row() makes: F32, F16, BF16, Q8_0, Q2_K, Q4_K, Q6_K, IQ2_XXS, MXFP4, T66. */
bool ds4_can_encode(uint32_t dtype);

/* The tables and the memory (1.7 MB) of the search for T66 codes. One thread at a time uses it. */
typedef struct ds4_trellis ds4_trellis;

typedef enum ds4_trellis_set { DS4_TRELLIS_PLAIN, DS4_TRELLIS_AVX2, DS4_TRELLIS_VBMI } ds4_trellis_set;

/*   most   instructions to use where this processor has them: DS4_TRELLIS_VBMI for the fastest
 *          search; all give the same bytes
 * Returns DS4_OK; DS4_E_NOMEM.                                                          */
DS4_MUST_CHECK ds4_status ds4_trellis_create(ds4_trellis **out, ds4_trellis_set most, ds4_err *err);
void                      ds4_trellis_free(ds4_trellis *t);     /* NULL is fine */
/* Does it have instructions that make it much faster than plain C? Tests ask, to search less without. */
bool                      ds4_trellis_is_fast(const ds4_trellis *t);

/* Encode one row.
 *
 *   dtype       one that ds4_can_encode()
 *   out         [ds4_row_bytes(dtype, n)], any alignment
 *   x           [n]
 *   importance  [n] or NULL
 *   trellis     used for T66 only, NULL for other types                               */
void ds4_encode_row(uint32_t dtype, ds4_encode_effort effort, void *out, const float *x,
                    const float *importance, uint64_t n, ds4_trellis *trellis);

/* The encoders that search, one block each; x and w (importance) have a block's weights. */
void ds4_encode_q2_k(uint8_t out[84], const float *x, const float *w);         /* w may be NULL */
void ds4_encode_q2_k_best(uint8_t out[84], const float *x, const float *w);    /* w may be NULL */
void ds4_encode_q4_k(uint8_t out[144], const float *x, const float *w);        /* w may be NULL */
void ds4_encode_q6_k(uint8_t out[210], const float *x);
void ds4_encode_iq2_xxs(uint8_t out[66], const float *x, const float *w);      /* w not NULL */
void ds4_encode_iq2_xxs_best(uint8_t out[66], const float *x, const float *w); /* w may be NULL */
void ds4_encode_t66(uint8_t out[66], const float *x, const float *w, ds4_trellis *t);  /* w may be NULL */

/* Repack 32 weights of an FP4 checkpoint, without loss: there byte i holds weights 2i (low
 * nibble) and 2i + 1, here byte 1 + j holds weights j (low nibble) and j + 16.
 *
 *   out     [17]
 *   codes   [16]
 *   scale   E8M0, not 255 (NaN)                                                       */
void ds4_repack_mxfp4(uint8_t out[17], const uint8_t codes[16], uint8_t scale);

#endif
