/* matvec_q256_avx512.c - products of Q2_K, Q4_K and IQ2_XXS rows with one token, for AVX-512 with
 * VNNI and VBMI: the sums and chains of matmul_q256_avx512.c, so the same bits, for rows that are
 * read one after another (row_avx512.h says why). */
#include "kernels/x86/tile_q256_avx512.h"
#include "kernels/x86/row_avx512.h"
#include "kernels/kernel_init.h"

enum { MAX_BLOCKS = 32, IQ2_OFFSET = 64 };  /* activations prepared at once: 10 KiB of stack */

/* Eight blocks of activations as the sums want them. Q2_K: q[b][k] are the values that bits
 * 2k, 2k + 1 of its 64 bytes multiply. Q4_K: those that the low (k even) or high nibbles of its
 * bytes 64 (k / 2).. multiply. IQ2_XXS: q[p][j] are the values j of the 32 codewords of
 * block p, then of block p + 4. */
typedef struct unit256 {
    union {
        _Alignas(64) int8_t of_block[UNIT_BLOCKS][4][64];
        int8_t              of_pair[4][8][64];
    } q;
    _Alignas(64) int32_t start[4][16];      /* IQ2_XXS: offset * sum of a group, negated; pairs */
    int16_t sum[4][32];                     /* Q2_K, Q4_K: sums of 16 values; pairs */
    float   d[UNIT_BLOCKS];
} unit256;

/* Has a block mins beside its scales? */
INLINE bool has_mins(size_t block_bytes)
{
    return block_bytes == Q2_K_BYTES || block_bytes == Q4_K_BYTES;
}

/* ---- activations ---------------------------------------------------------------------- */

static void prepare_q2_k(unit256 *u, size_t b, const ds4_q256 *x)
{
    for (int k = 0; k < 4; k++) {
        memcpy(u->q.of_block[b][k], x->q + 32 * k, 32);
        memcpy(u->q.of_block[b][k] + 32, x->q + 128 + 32 * k, 32);
    }
    memcpy(u->sum[b & 3] + 16 * (b >> 2), x->sum, sizeof x->sum);
}

static void prepare_q4_k(unit256 *u, size_t b, const ds4_q256 *x)
{
    for (int k = 0; k < 4; k++) {
        const int8_t *from = x->q + 128 * (k >> 1) + 32 * (k & 1);
        memcpy(u->q.of_block[b][k], from, 32);
        memcpy(u->q.of_block[b][k] + 32, from + 64, 32);
    }
    memcpy(u->sum[b & 3] + 16 * (b >> 2), x->sum, sizeof x->sum);
}

static void prepare_iq2_xxs(unit256 *u, size_t b, const ds4_q256 *x)
{
    const __m512i order = _mm512_set_epi8(                  /* byte 8j + i = byte 8i + j */
        63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6,
        61, 53, 45, 37, 29, 21, 13, 5, 60, 52, 44, 36, 28, 20, 12, 4,
        59, 51, 43, 35, 27, 19, 11, 3, 58, 50, 42, 34, 26, 18, 10, 2,
        57, 49, 41, 33, 25, 17, 9, 1, 56, 48, 40, 32, 24, 16, 8, 0);
    const size_t at = 32 * (b >> 2);

    for (size_t c = 0; c < 4; c++) {
        uint8_t eight[8][8];
        _mm512_storeu_si512(eight, _mm512_permutexvar_epi8(order, _mm512_loadu_si512(x->q + 64 * c)));
        for (size_t j = 0; j < 8; j++) memcpy(u->q.of_pair[b & 3][j] + at + 8 * c, eight[j], 8);
    }
    _mm256_storeu_si256((void *)(u->start[b & 3] + 8 * (b >> 2)),
                        _mm256_madd_epi16(_mm256_loadu_si256((const void *)x->sum),
                                          _mm256_set1_epi16(-IQ2_OFFSET)));
}

INLINE void prepare(unit256 *u, const ds4_q256 *x, size_t n_blocks, size_t block_bytes)
{
    if (n_blocks % UNIT_BLOCKS) memset(u + n_blocks / UNIT_BLOCKS, 0, sizeof *u);
    for (size_t b = 0; b < n_blocks; b++) {
        unit256 *to = u + b / UNIT_BLOCKS;
        if (block_bytes == Q2_K_BYTES) prepare_q2_k(to, b % UNIT_BLOCKS, x + b);
        else if (block_bytes == Q4_K_BYTES) prepare_q4_k(to, b % UNIT_BLOCKS, x + b);
        else prepare_iq2_xxs(to, b % UNIT_BLOCKS, x + b);
        to->d[b % UNIT_BLOCKS] = x[b].d;
    }
}

/* ---- sums of one block, or two ---------------------------------------------------------- */

/* The scaled sums of a block of Q2_K in sixteen parts. The sum of four products is at most
 * 4 * 3 * 127, so two of them fit the words that meet their scales. */
INLINE __m512i q2_k_sums(const uint8_t *w, const int8_t q[4][64])
{
    const __m512i three = _mm512_set1_epi8(3);
    /* Quarters of a plane k are groups 2k, 2k + 1, 2k + 8, 2k + 9; here of planes 0 and 1. */
    const __m512i pick = _mm512_setr_epi64(
        (long long)0x8000800080008000, (long long)0x8002800280028002,
        (long long)0x8001800180018001, (long long)0x8003800380038003,
        (long long)0x8008800880088008, (long long)0x800a800a800a800a,
        (long long)0x8009800980098009, (long long)0x800b800b800b800b);
    const __m512i scales = _mm512_and_si512(
        _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)w)), _mm512_set1_epi8(15));
    const __m512i v = _mm512_loadu_si512(w + 16);
    __m512i s[4];

    UNROLL
    for (int k = 0; k < 4; k++)
        s[k] = _mm512_dpbusd_epi32(_mm512_setzero_si512(),
                                   _mm512_and_si512(_mm512_srli_epi16(v, (unsigned)(2 * k)), three),
                                   _mm512_load_si512(q[k]));
    const __m512i sum01 = _mm512_packs_epi32(s[0], s[1]), sum23 = _mm512_packs_epi32(s[2], s[3]);
    const __m512i more = _mm512_add_epi8(pick, _mm512_set1_epi16(4));
    const __m512i sum = _mm512_dpwssd_epi32(_mm512_setzero_si512(), sum01,
                                            _mm512_shuffle_epi8(scales, pick));
    return _mm512_dpwssd_epi32(sum, sum23, _mm512_shuffle_epi8(scales, more));
}

/* The sums of two blocks of Q2_K times their mins, eight parts each. */
INLINE __m512i q2_k_mins(const uint8_t *w, size_t second, const int16_t sum[32])
{
    const __m256i two = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const void *)w)),
        _mm_loadu_si128((const void *)(w + second)), 1);
    const __m256i mins = _mm256_and_si256(_mm256_srli_epi16(two, 4), _mm256_set1_epi8(15));
    return _mm512_dpwssd_epi32(_mm512_setzero_si512(), _mm512_cvtepu8_epi16(mins),
                               _mm512_load_si512(sum));
}

/* The six-bit numbers of four blocks of Q4_K as bytes: for each its eight mins, then its scales. */
INLINE void unpack_q4_k(uint8_t out[4][16], const uint8_t *w)
{
    const __m512i nibbles = _mm512_set1_epi8(15), six = _mm512_set1_epi8(63);
    const __m512i high2 = _mm512_set1_epi8(0x30);
    const __m512i down = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 4, 0));
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)w));

    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(w + Q4_K_BYTES)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(w + 2 * Q4_K_BYTES)), 2);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(w + 3 * Q4_K_BYTES)), 3);
    /* The words 1 and 2 of each: scales and mins of groups 0-3, then of 4-7. */
    const __m512i last = _mm512_srlv_epi32(_mm512_shuffle_epi32(v, _MM_PERM_DDDD), down);
    const __m512i low = _mm512_and_si512(v, six);
    const __m512i high = _mm512_or_si512(_mm512_and_si512(last, nibbles),
                                         _mm512_and_si512(_mm512_srli_epi16(v, 2), high2));
    _mm512_storeu_si512(out, _mm512_mask_blend_epi64(0xaa, _mm512_unpackhi_epi32(low, high),
                                                     _mm512_unpacklo_epi32(low, high)));
}

/* The scaled sums of a block of Q4_K in sixteen parts. The sum of four products is at most
 * 4 * 15 * 127, so two of them fit the words that meet their scales. */
INLINE __m512i q4_k_sums(const uint8_t *w, const uint8_t unpacked[16], const int8_t q[4][64])
{
    const __m512i nibbles = _mm512_set1_epi8(15);
    /* Halves of low and high nibbles are groups 0, 2 and 1, 3; here two of each, interleaved. */
    const __m512i pick = _mm512_setr_epi64(
        (long long)0x8008800880088008, (long long)0x8009800980098009,
        (long long)0x8008800880088008, (long long)0x8009800980098009,
        (long long)0x800a800a800a800a, (long long)0x800b800b800b800b,
        (long long)0x800a800a800a800a, (long long)0x800b800b800b800b);
    const __m512i scales = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)unpacked));
    const __m512i zero = _mm512_setzero_si512();
    __m512i sum = zero;

    UNROLL
    for (int h = 0; h < 2; h++) {
        const __m512i v = _mm512_loadu_si512(w + 16 + 64 * h);
        const __m512i low = _mm512_dpbusd_epi32(zero, _mm512_and_si512(v, nibbles),
                                                _mm512_load_si512(q[2 * h]));
        const __m512i high = _mm512_dpbusd_epi32(
            zero, _mm512_and_si512(_mm512_srli_epi16(v, 4), nibbles), _mm512_load_si512(q[2 * h + 1]));
        const __m512i at = _mm512_add_epi8(pick, _mm512_set1_epi16((short)(4 * h)));
        sum = _mm512_dpwssd_epi32(sum, _mm512_packs_epi32(low, high), _mm512_shuffle_epi8(scales, at));
    }
    return sum;
}

/* The sums of two blocks of Q4_K times their mins, eight parts each. */
INLINE __m512i q4_k_mins(const uint8_t unpacked[16], const uint8_t second[16], const int16_t sum[32])
{
    const __m512i twice = _mm512_broadcast_i64x4(_mm256_setr_epi64x(
        (long long)0x8001800180008000, (long long)0x8003800380028002,
        (long long)0x8005800580048004, (long long)0x8007800780068006));
    const __m512i mins = _mm512_mask_broadcast_i32x4(
        _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)unpacked)), 0xff00,
        _mm_loadu_si128((const void *)second));
    return _mm512_dpwssd_epi32(_mm512_setzero_si512(), _mm512_shuffle_epi8(mins, twice),
                               _mm512_load_si512(sum));
}

/* What turns codewords into weights. A key has the digits of two neighbours in bits 0-3 and their
 * signs in bits 4 and 5. */
typedef struct iq2_row_tables {
    iq2_tables of;
    __m512i first, second;      /* by key: the weights, plus an offset */
} iq2_row_tables;

INLINE void make_row_tables(iq2_row_tables *t)
{
    static const int8_t value[4] = { 8, 25, 43, 0 };
    int8_t first[64], second[64];

    for (int key = 0; key < 64; key++) {
        const int a = value[key & 3], b = value[key >> 2 & 3];
        first[key] = (int8_t)(IQ2_OFFSET + (key & 16 ? -a : a));
        second[key] = (int8_t)(IQ2_OFFSET + (key & 32 ? -b : b));
    }
    make_iq2_tables(&t->of, IQ2_OFFSET);
    t->first = _mm512_loadu_si512(first);
    t->second = _mm512_loadu_si512(second);
}

/* The scaled sums of the groups of two blocks of IQ2_XXS. */
INLINE __m512i iq2_xxs_sums(const uint8_t *w, size_t second, const int8_t q[8][64],
                            const int32_t start[16], const iq2_row_tables *t)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    const __m512i digits = _mm512_set1_epi8(15);
    const __m512i a = _mm512_loadu_si512(w + 2), b = _mm512_loadu_si512(w + second + 2);
    const __m512i index = _mm512_permutex2var_epi32(a, even, b);
    const __m512i word = _mm512_permutex2var_epi32(a, odd, b);
    const __mmask64 upper = _mm512_movepi8_mask(index);
    const __m512i low = lookup256(t->of.low, index, upper), high = lookup256(t->of.high, index, upper);
    const __m512i sign = _mm512_gf2p8affine_epi64_epi8(
        _mm512_multishift_epi64_epi8(t->of.sign7, word), t->of.parity, 0);
    /* bits 0-3 of the first, the rest of the second */
    const __m512i key[4] = {
        _mm512_ternarylogic_epi64(low, _mm512_slli_epi16(sign, 4), digits, 0xe4),
        _mm512_ternarylogic_epi64(_mm512_srli_epi16(low, 4), _mm512_slli_epi16(sign, 2), digits, 0xe4),
        _mm512_ternarylogic_epi64(high, sign, digits, 0xe4),
        _mm512_ternarylogic_epi64(_mm512_srli_epi16(high, 4), _mm512_srli_epi16(sign, 2), digits, 0xe4),
    };
    __m512i sum = _mm512_load_si512(start), other = _mm512_setzero_si512();
    UNROLL
    for (int j = 0; j < 4; j++) {
        sum = _mm512_dpbusd_epi32(sum, _mm512_permutexvar_epi8(key[j], t->first),
                                  _mm512_load_si512(q[2 * j]));
        other = _mm512_dpbusd_epi32(other, _mm512_permutexvar_epi8(key[j], t->second),
                                    _mm512_load_si512(q[2 * j + 1]));
    }
    const __m512i scale = _mm512_or_si512(_mm512_srli_epi32(word, 27), _mm512_set1_epi32(1));
    return _mm512_mullo_epi32(_mm512_add_epi32(sum, other), scale);
}

/* ---- rows --------------------------------------------------------------------------------- */

/* What is kept of the blocks of 16 rows; min and min_scale for types with mins. */
typedef struct kept256 {
    kept sum, scale, min, min_scale;
} kept256;

/* A number of 32 bits at w of each of eight blocks. */
INLINE __m256i load_heads(const uint8_t *w, size_t second, size_t block_bytes)
{
    const __m256i at = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 0, 1, 2, 3),
                                          _mm256_set1_epi32((int)block_bytes));
    const __m256i more = _mm256_maskz_set1_epi32(0xf0, (int)second);
    return _mm256_i32gather_epi32((const void *)w, _mm256_add_epi32(at, more), 1);
}

INLINE __m256 low_halves8(__m256i v)
{
    return _mm256_cvtph_ps(_mm256_cvtepi32_epi16(v));
}

/* Bytes from the first half of a unit to what serves as the second: at the end of a row of 4
 * blocks more than units have, the same blocks again, whose sums are not used. */
INLINE size_t to_second_half(size_t n_blocks, size_t block_bytes)
{
    return n_blocks >= UNIT_BLOCKS ? HALF_BLOCKS * block_bytes : 0;
}

/* s: sixteen parts of each of eight sums. */
INLINE __m256i sum_eight(const __m512i s[8])
{
    __m512i two[4];

    UNROLL
    for (int i = 0; i < 4; i++)
        two[i] = _mm512_add_epi32(_mm512_shuffle_i32x4(s[i], s[i + 4], 0x44),
                                  _mm512_shuffle_i32x4(s[i], s[i + 4], 0xee));
    return sum_unit(two);
}

/* s: sixteen parts of each of eight sums; m: eight parts of each times its mins; heads: the scale
 * of each block's sum and, above it, of its mins. */
INLINE void keep_unit(kept256 *k, size_t row, size_t b, const __m512i s[8], const __m512i m[4],
                      __m256i heads, const unit256 *u)
{
    const __m256 dx = _mm256_load_ps(u->d);

    _mm256_store_si256((__m256i *)(void *)&k->sum.i[row][b], sum_eight(s));
    _mm256_store_si256((__m256i *)(void *)&k->min.i[row][b], sum_unit(m));
    _mm256_store_ps(&k->scale.f[row][b], _mm256_mul_ps(low_halves8(heads), dx));
    _mm256_store_ps(&k->min_scale.f[row][b],
                    _mm256_mul_ps(low_halves8(_mm256_srli_epi32(heads, 16)), dx));
}

INLINE void keep_q2_k(kept256 *k, size_t row, size_t b, const uint8_t *w, size_t second,
                      const unit256 *u)
{
    __m512i s[8], m[4];

    UNROLL
    for (int i = 0; i < 8; i++)
        s[i] = q2_k_sums(w + (i & 3) * Q2_K_BYTES + (i & 4 ? second : 0), u->q.of_block[i]);
    UNROLL
    for (int i = 0; i < 4; i++) m[i] = q2_k_mins(w + i * Q2_K_BYTES, second, u->sum[i]);
    keep_unit(k, row, b, s, m, load_heads(w + 80, second, Q2_K_BYTES), u);
}

INLINE void keep_q4_k(kept256 *k, size_t row, size_t b, const uint8_t *w, size_t second,
                      const unit256 *u)
{
    _Alignas(64) uint8_t unpacked[8][16];
    __m512i s[8], m[4];

    unpack_q4_k(unpacked, w);
    unpack_q4_k(unpacked + 4, w + second);
    UNROLL
    for (int i = 0; i < 8; i++)
        s[i] = q4_k_sums(w + (i & 3) * Q4_K_BYTES + (i & 4 ? second : 0), unpacked[i],
                         u->q.of_block[i]);
    UNROLL
    for (int i = 0; i < 4; i++) m[i] = q4_k_mins(unpacked[i], unpacked[i + 4], u->sum[i]);
    keep_unit(k, row, b, s, m, load_heads(w, second, Q4_K_BYTES), u);
}

INLINE void keep_iq2_xxs(kept256 *k, size_t row, size_t b, const uint8_t *w, size_t second,
                         const unit256 *u, const iq2_row_tables *t)
{
    __m512i s[4];

    UNROLL
    for (int i = 0; i < 4; i++)
        s[i] = iq2_xxs_sums(w + i * IQ2_XXS_BYTES, second, u->q.of_pair[i], u->start[i], t);
    _mm256_store_si256((__m256i *)(void *)&k->sum.i[row][b], sum_unit(s));
    const __m256 d = _mm256_mul_ps(low_halves8(load_heads(w, second, IQ2_XXS_BYTES)),
                                   _mm256_set1_ps(0.125f));
    _mm256_store_ps(&k->scale.f[row][b], _mm256_mul_ps(d, _mm256_load_ps(u->d)));
}

/* y continued over half a unit. */
INLINE __m512 add_half(__m512 y, const __m512i s[HALF_BLOCKS], const __m512i d[HALF_BLOCKS],
                       const __m512i m[HALF_BLOCKS], const __m512i dm[HALF_BLOCKS],
                       size_t block_bytes)
{
    UNROLL
    for (int i = 0; i < HALF_BLOCKS; i++) {
        y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[i]), _mm512_castsi512_ps(d[i]), y);
        if (has_mins(block_bytes))
            y = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(m[i]), _mm512_castsi512_ps(dm[i]), y);
    }
    return y;
}

/* y continued over n_blocks. */
INLINE __m512 add_blocks(__m512 y, const kept256 *k, size_t n_blocks, reader *next,
                         size_t block_bytes)
{
    __m512i s[UNIT_BLOCKS], d[UNIT_BLOCKS], m[UNIT_BLOCKS], dm[UNIT_BLOCKS];

    for (size_t b = 0; b < n_blocks; b += UNIT_BLOCKS) {
        ask(next, due_in_chain(UNIT_BLOCKS * block_bytes));
        load_kept(s, &k->sum, b);
        load_kept(d, &k->scale, b);
        if (has_mins(block_bytes)) {
            load_kept(m, &k->min, b);
            load_kept(dm, &k->min_scale, b);
        }
        y = add_half(y, s, d, m, dm, block_bytes);
        if (n_blocks - b >= UNIT_BLOCKS)
            y = add_half(y, s + HALF_BLOCKS, d + HALF_BLOCKS, m + HALF_BLOCKS, dm + HALF_BLOCKS,
                         block_bytes);
    }
    return y;
}

/* n_blocks of all rows from column w; y is continued unless they are the first. */
INLINE void run_blocks(const row_call *c, size_t block_bytes, const uint8_t *w, size_t n_blocks,
                       const unit256 *units, const iq2_row_tables *t)
{
    kept256 k;
    reader  next = read_ahead(w, c->n_rows * c->w_stride);

    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const size_t    n_rows = c->n_rows - r < TILE_ROWS ? c->n_rows - r : TILE_ROWS;
        const __mmask16 mask = tail_mask(n_rows);
        const __m512 y = w == c->w ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, c->y + r);
        if (n_rows < TILE_ROWS) memset(&k, 0, sizeof k);
        for (size_t i = 0; i < n_rows; i++) {
            const uint8_t *row = w + (r + i) * c->w_stride;
            for (size_t b = 0; b < n_blocks; b += UNIT_BLOCKS) {
                const size_t   second = to_second_half(n_blocks - b, block_bytes);
                const uint8_t *unit = row + b * block_bytes;
                const unit256 *u = units + b / UNIT_BLOCKS;
                ask(&next, due_in_row(UNIT_BLOCKS * block_bytes));
                if (block_bytes == Q2_K_BYTES) keep_q2_k(&k, i, b, unit, second, u);
                else if (block_bytes == Q4_K_BYTES) keep_q4_k(&k, i, b, unit, second, u);
                else keep_iq2_xxs(&k, i, b, unit, second, u, t);
            }
        }
        _mm512_mask_storeu_ps(c->y + r, mask, add_blocks(y, &k, n_blocks, &next, block_bytes));
    }
}

INLINE void run(const row_call *c, size_t block_bytes, const iq2_row_tables *t)
{
    unit256 units[MAX_BLOCKS / UNIT_BLOCKS];

    for (size_t b = 0; b < c->n_blocks; b += MAX_BLOCKS) {
        const size_t n = c->n_blocks - b < MAX_BLOCKS ? c->n_blocks - b : MAX_BLOCKS;
        prepare(units, (const ds4_q256 *)c->x + b, n, block_bytes);
        run_blocks(c, block_bytes, c->w + b * block_bytes, n, units, t);
    }
}

#define MATVEC(type, bytes, tables)                                                             \
    void ds4_matvec_##type##_avx512(float *y, const void *w, size_t w_stride, size_t n_rows,    \
                                    const void *x, size_t n_blocks)                             \
    {                                                                                           \
        const row_call c = { y, w, w_stride, n_rows, x, n_blocks };                              \
        tables                                                                                  \
        run(&c, bytes, t);                                                                      \
    }

MATVEC(q2_k, Q2_K_BYTES, const iq2_row_tables *t = NULL;)
MATVEC(q4_k, Q4_K_BYTES, const iq2_row_tables *t = NULL;)
MATVEC(iq2_xxs, IQ2_XXS_BYTES, iq2_row_tables tables; const iq2_row_tables *t = &tables;
       make_row_tables(&tables);)
