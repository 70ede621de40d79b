/* own_pack.cuh - rows of a file become records (own_records.cuh), once, when a model is loaded. A warp makes
 * a record. Grid: records of a row tile / 8, row tiles. */
#pragma once
#include "backend/gpu/cuda/own_records.cuh"

OWN_FN uint32_t own_even16(const uint8_t *p) { return *(const uint16_t *)p; }
OWN_FN uint32_t own_even32(const uint8_t *p) { return own_even16(p) | own_even16(p + 2) << 16; }

extern "C" __global__ void __launch_bounds__(256) own_pack_q8_0(const __grid_constant__ own_pack_args a,
                                                                const uint8_t *rows, uint8_t *records)
{
    const uint32_t n = a.n_in / OWN_Q8_COLUMNS, i = blockIdx.x * 8 + threadIdx.x / 32;
    const int      lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;

    if (i >= n) return;
    const uint8_t *row = rows + (uint64_t)(blockIdx.y * 16 + g) * a.row_bytes + (uint64_t)i * 4 * 34;
    const uint8_t *below = row + 8 * a.row_bytes;
    uint8_t       *to = records + ((uint64_t)blockIdx.y * n + i) * OWN_Q8_RECORD;
    for (int b = 0; b < 4; b++) {
        const uint32_t at = b * 34 + 2 + 8 * t;
        *(uint4 *)(to + b * 512 + lane * 16) = make_uint4(own_even32(row + at), own_even32(below + at),
                                                          own_even32(row + at + 4), own_even32(below + at + 4));
    }
    *(uint32_t *)(to + 2048 + lane * 4) = own_even16(row + t * 34) | own_even16(below + t * 34) << 16;
}

extern "C" __global__ void __launch_bounds__(256) own_pack_iq2_xxs(const __grid_constant__ own_pack_args a,
                                                                   const uint8_t *rows, uint8_t *records)
{
    const uint32_t n = a.n_in / OWN_K_COLUMNS, i = blockIdx.x * 8 + threadIdx.x / 32;
    const int      lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;

    if (i >= n) return;
    const uint8_t *block[2];
    block[0] = rows + (uint64_t)(blockIdx.y * 16 + g) * a.row_bytes + (uint64_t)i * 66;
    block[1] = block[0] + 8 * a.row_bytes;
    uint8_t *to = records + ((uint64_t)blockIdx.y * n + i) * OWN_IQ2_RECORD;
    for (int b = 0; b < 8; b++) {
        const int scale_of = 2 * t + b / 4, bit = 28 + 3 - b % 4;   /* whose scale lends a bit */
        uint32_t  word = 0;
        for (int h = 0; h < 2; h++) {
            const uint32_t code = block[h][2 + 8 * b + t], signs = own_even32(block[h] + 6 + 8 * b) >> (7 * t) & 127u;
            const uint32_t lent = own_even32(block[h] + 6 + 8 * scale_of) >> bit & 1u;
            word |= (code | (signs << 1 | lent) << 8) << (16 * h);
        }
        *(uint32_t *)(to + b / 4 * 512 + lane * 16 + b % 4 * 4) = word;
    }
    if (t == 0) *(uint32_t *)(to + 1024 + g * 4) = own_even16(block[0]) | own_even16(block[1]) << 16;
}

extern "C" __global__ void __launch_bounds__(256) own_pack_q2_k(const __grid_constant__ own_pack_args a,
                                                                const uint8_t *rows, uint8_t *records)
{
    const uint32_t n = a.n_in / OWN_K_COLUMNS, i = blockIdx.x * 8 + threadIdx.x / 32;
    const int      lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;

    if (i >= n) return;
    uint8_t *to = records + ((uint64_t)blockIdx.y * n + i) * OWN_Q2K_RECORD;
    for (int h = 0; h < 2; h++) {
        const uint8_t *block = rows + (uint64_t)(blockIdx.y * 16 + g + 8 * h) * a.row_bytes + (uint64_t)i * 84;
        for (int c = 0; c < 4; c++) {
            const int      first = 64 * t + 16 * c, shift = 2 * (first / 32 % 4);
            const uint8_t *q = block + 16 + 32 * (first / 128) + first % 32;
            uint32_t       word = 0;
            for (int e = 0; e < 16; e++) word |= ((uint32_t)q[e] >> shift & 3u) << (8 * (e % 4) + 2 * (e / 4));
            *(uint32_t *)(to + h * 512 + lane * 16 + c * 4) = word;
        }
        *(uint32_t *)(to + 1024 + lane * 8 + h * 4) = own_even32(block + 4 * t);
        if (t == 0) *(uint32_t *)(to + 1280 + g * 8 + h * 4) = own_even32(block + 80);
    }
}
