/* amx_emulated.h - tile registers in plain C, to check the AMX kernels on machines without AMX.
 *
 *   CPPFLAGS='-DDS4_AMX_EMULATED -include lab/amx_emulated.h' \
 *       make OUT=build/amx build/amx/tests/kernels/matmul_check && build/amx/tests/kernels/matmul_check
 *
 * As Intel's manual, volume 2, describes the instructions, as far as tile_amx.h uses them. */
#ifndef DS4_LAB_AMX_EMULATED_H
#define DS4_LAB_AMX_EMULATED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static _Thread_local struct {
    uint8_t  reg[8][16][64];
    uint16_t line_bytes[8];
    uint8_t  n_lines[8];
} amx_state;

static inline void amx_configure(const void *config)
{
    memcpy(amx_state.line_bytes, (const uint8_t *)config + 16, sizeof amx_state.line_bytes);
    memcpy(amx_state.n_lines, (const uint8_t *)config + 48, sizeof amx_state.n_lines);
}

static inline void amx_release(void)
{
    memset(&amx_state, 0, sizeof amx_state);
}

static inline void amx_zero(int t)
{
    memset(amx_state.reg[t], 0, sizeof amx_state.reg[t]);
}

static inline void amx_load(int t, const void *at, size_t stride)
{
    amx_zero(t);
    for (int i = 0; i < amx_state.n_lines[t]; i++) {
        memcpy(amx_state.reg[t][i], (const uint8_t *)at + (size_t)i * stride, amx_state.line_bytes[t]);
    }
}

static inline void amx_store(int t, void *at, size_t stride)
{
    for (int i = 0; i < amx_state.n_lines[t]; i++) {
        memcpy((uint8_t *)at + (size_t)i * stride, amx_state.reg[t][i], amx_state.line_bytes[t]);
    }
}

static inline void amx_dot(int sums, int a, int b)
{
    for (int m = 0; m < amx_state.n_lines[sums]; m++) {
        int32_t line[16];
        memcpy(line, amx_state.reg[sums][m], sizeof line);
        for (int k = 0; k < amx_state.line_bytes[a] / 4; k++) {
            for (int n = 0; n < amx_state.line_bytes[sums] / 4; n++) {
                const int8_t *x = (const int8_t *)amx_state.reg[a][m] + 4 * k;
                const int8_t *w = (const int8_t *)amx_state.reg[b][k] + 4 * n;
                for (int i = 0; i < 4; i++) line[n] += x[i] * w[i];
            }
        }
        memcpy(amx_state.reg[sums][m], line, sizeof line);
    }
}

#endif
