/* tile_amx.h - the tile registers of AMX as the products use them.
 *
 * A product is sums[token][row] = sum over values of x[token][value] * w[row][value], all of
 * them integers, so that no order of adding can show. Tokens are the rows of a register and
 * lie in memory as they are; weights lie as tile_avx512.h has them, which is what the second
 * factor of TDPBSSD wants: lane r of line i holds values 4i..4i+3 of row r. */
#ifndef DS4_KERNELS_TILE_AMX_H
#define DS4_KERNELS_TILE_AMX_H

#include "kernels/x86/tile_avx512.h"

#include <stddef.h>

/* Registers 0 to 3 hold sums; one each is enough for what is loaded. */
enum { AMX_TOKENS = 4, AMX_WEIGHTS = 5, AMX_MAX_TOKENS = 16 };

/* LDTILECFG reads this: Intel's manual, volume 1, section 18.2. */
typedef struct amx_config {
    uint8_t  palette, start_row, reserved[14];
    uint16_t line_bytes[16];
    uint8_t  n_lines[16];
} amx_config;
_Static_assert(sizeof(amx_config) == 64, "as the processor reads it");

/* Assembly, because the compilers' own functions do not tell them that memory is read. */
#ifndef DS4_AMX_EMULATED
#define amx_zero(t)              __asm__ volatile("tilezero %%tmm" #t ::: "memory")
#define amx_load(t, at, stride)                                                                 \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t :: "r"(at), "r"((size_t)(stride)) : "memory")
#define amx_store(t, at, stride)                                                                \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" :: "r"(at), "r"((size_t)(stride)) : "memory")
#define amx_dot(sums, a, b)                                                                     \
    __asm__ volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #sums ::: "memory")
#define amx_configure(c)         __asm__ volatile("ldtilecfg %0" :: "m"(*(c)) : "memory")
#define amx_release()            __asm__ volatile("tilerelease" ::: "memory")
#endif

/* n_tokens 1..16, n_values 32 or 64 of each in a product. */
INLINE void amx_begin(size_t n_tokens, size_t n_values)
{
    amx_config c = { .palette = 1 };

    for (int i = 0; i < 4; i++) {
        c.line_bytes[i] = 64;
        c.n_lines[i] = (uint8_t)n_tokens;
    }
    c.line_bytes[AMX_TOKENS] = (uint16_t)n_values;
    c.n_lines[AMX_TOKENS] = (uint8_t)n_tokens;
    c.line_bytes[AMX_WEIGHTS] = 64;
    c.n_lines[AMX_WEIGHTS] = (uint8_t)(n_values / 4);
    amx_configure(&c);
}

#endif
