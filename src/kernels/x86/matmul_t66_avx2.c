/* matmul_t66_avx2.c - products of T66 rows with activations in blocks of 256, for AVX2: tiles of
 * eight rows for several tokens, rows one after another for one. The float chain is that of
 * product_q256_avx512.h. */
#include "kernels/x86/row_avx2.h"
#include "kernels/kernel_init.h"

enum { MAX_TOKENS = 64, MAX_UNITS = 4, N_VECTORS = 32, RING_BYTES = 64 };

INLINE __m256i products(__m256i state)
{
    return _mm256_and_si256(_mm256_mullo_epi32(state, _mm256_set1_epi32((int)T66_FACTOR)),
                            _mm256_set1_epi32(T66_FIELDS));
}

/* ---- several tokens: tiles --------------------------------------------------------------------- */

/* The codes of 8 rows, and their magnitudes: unsigned bytes, whose signs the activations take. */
typedef struct tile_t66 {
    __m256i code[64], magnitude[64];
    __m256  d;
} tile_t66;

/* 16 bits from bit 2 m on of two words, m 0..15. */
INLINE __m256i states_at(__m256i word, __m256i next, int m)
{
    const __m256i low = _mm256_srli_epi32(word, 2 * m), high = _mm256_slli_epi32(next, 32 - 2 * m);
    return _mm256_and_si256(m > 8 ? _mm256_or_si256(low, high) : low, _mm256_set1_epi32(0xffff));
}

/* Codes plus T66_BIAS. */
INLINE __m256i codes(__m256i state)
{
    const __m256i pairs = _mm256_maddubs_epi16(products(state), _mm256_set1_epi8(1));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

static void fill(tile_t66 *t, const uint8_t *w, size_t stride)
{
    __m256i word[17];

    for (int i = 0; i < 4; i++) load_columns(word + 4 * i, w + 2 + 16 * i, stride);
    word[16] = word[0];
    for (int j = 0; j < 16; j++) {
        UNROLL
        for (int m = 0; m < 16; m += 4) {
            __m256i four = codes(states_at(word[j], word[j + 1], m));
            UNROLL
            for (int k = 1; k < 4; k++)
                four = _mm256_or_si256(
                    four, _mm256_slli_epi32(codes(states_at(word[j], word[j + 1], m + k)), 8 * k));
            four = _mm256_sub_epi8(four, _mm256_set1_epi8(T66_BIAS));
            t->code[4 * j + m / 4] = four;
            t->magnitude[4 * j + m / 4] = _mm256_abs_epi8(four);
        }
    }
    t->d = low_halves(load_column4(w, stride));
}

/* acc[i] += tile * one block of token i. Pairs reach 2 * 126 * 127. */
INLINE void add_tokens(float (*acc)[TILE_ROWS], const tile_t66 *t, const uint8_t *x, size_t x_stride,
                       const int n)
{
    const ds4_q256 *xb[2];
    __m256i sum[2];

    UNROLL
    for (int i = 0; i < n; i++) {
        xb[i] = (const ds4_q256 *)(const void *)(x + (size_t)i * x_stride);
        sum[i] = _mm256_setzero_si256();
    }
    for (int j = 0; j < 64; j++) {
        UNROLL
        for (int i = 0; i < n; i++) {
            const __m256i turned = _mm256_sign_epi8(broadcast4(xb[i]->q + 4 * j), t->code[j]);
            const __m256i pairs = _mm256_maddubs_epi16(t->magnitude[j], turned);
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        }
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        const __m256 d = _mm256_mul_ps(t->d, _mm256_set1_ps(xb[i]->d));
        _mm256_storeu_ps(acc[i], _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[i]), d, _mm256_loadu_ps(acc[i])));
    }
}

/* Up to 64 tokens and any number of rows. */
static void run_tiles(const block_call *c)
{
    _Alignas(32) float acc[MAX_TOKENS][TILE_ROWS];
    uint8_t  part[TILE_ROWS * T66_BYTES];
    tile_t66 tile;

    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const size_t n_rows = c->n_rows - r;
        memset(acc, 0, c->n_tokens * sizeof acc[0]);
        for (size_t b = 0; b < c->n_blocks; b++) {
            const uint8_t *w = c->w + r * c->w_stride + b * T66_BYTES;
            const uint8_t *x = c->x + b * sizeof(ds4_q256);
            size_t stride = c->w_stride, t = 0;
            if (n_rows < TILE_ROWS) {
                copy_part(part, w, stride, n_rows, T66_BYTES);
                w = part;
                stride = T66_BYTES;
            }
            fill(&tile, w, stride);
            for (; t + 2 <= c->n_tokens; t += 2)
                add_tokens(acc + t, &tile, x + t * c->x_stride, c->x_stride, 2);
            if (t < c->n_tokens) add_tokens(acc + t, &tile, x + t * c->x_stride, c->x_stride, 1);
        }
        for (size_t t = 0; t < c->n_tokens; t++)
            store8(c->y + t * c->y_stride + r, n_rows, _mm256_load_ps(acc[t]));
    }
}

/* ---- one token: rows ----------------------------------------------------------------------------- */

/* Four blocks of activations: vector v of a block has each four times, in the order of its states. */
typedef struct unit_t66 {
    _Alignas(32) int8_t q[UNIT_BLOCKS][N_VECTORS][32];
    int32_t start[UNIT_BLOCKS][8];          /* what the bias of the codes adds, negated; then zeros */
    float   d[UNIT_BLOCKS];
} unit_t66;

/* The sums that are kept of four blocks of eight rows. */
typedef struct kept_t66 {
    _Alignas(32) int32_t sum[TILE_ROWS][8];     /* see load_sums() */
    uint32_t head[UNIT_BLOCKS][TILE_ROWS];
} kept_t66;

static void prepare(unit_t66 *units, const ds4_q256 *x, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++) {
        unit_t66    *u = units + b / UNIT_BLOCKS;
        const size_t i = b % UNIT_BLOCKS;
        int32_t      sum = 0;
        for (int v = 0; v < N_VECTORS; v++) {
            for (int lane = 0; lane < 8; lane++)
                memset(u->q[i][v] + 4 * lane, x[b].q[32 * (v >> 2) + 4 * lane + (v & 3)], 4);
        }
        for (int j = 0; j < 16; j++) sum += x[b].sum[j];
        memset(u->start[i], 0, sizeof u->start[i]);
        u->start[i][0] = -T66_BIAS * sum;
        u->d[i] = x[b].d;
    }
}

/* Eight parts of the sum of a block. Four bytes from each of 8 neighbouring bytes on have the states
 * of 32 values; pairs reach 2 * 63 * 127, and two of them are added as words. */
INLINE __m256i sums(const uint8_t *w, const int8_t q[N_VECTORS][32], const int32_t start[8])
{
    const __m256i windows = _mm256_setr_epi8(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6,
                                             4, 5, 6, 7, 5, 6, 7, 8, 6, 7, 8, 9, 7, 8, 9, 10);
    _Alignas(16) uint8_t ring[RING_BYTES + 16];
    __m256i sum = _mm256_load_si256((const void *)start);

    memcpy(ring, w + 2, RING_BYTES);
    memcpy(ring + RING_BYTES, w + 2, 16);
    UNROLL
    for (int g = 0; g < 8; g++) {
        const __m128i bytes = _mm_loadu_si128((const void *)(ring + 8 * g));
        const __m256i four = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), windows);
        UNROLL
        for (int r = 0; r < 4; r += 2) {
            const __m256i low = _mm256_set1_epi32(0xffff);
            const __m256i a = products(_mm256_and_si256(_mm256_srli_epi32(four, 2 * r), low));
            const __m256i b = products(_mm256_and_si256(_mm256_srli_epi32(four, 2 * r + 2), low));
            const __m256i pairs = _mm256_add_epi16(
                _mm256_maddubs_epi16(a, _mm256_load_si256((const void *)q[4 * g + r])),
                _mm256_maddubs_epi16(b, _mm256_load_si256((const void *)q[4 * g + r + 1])));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        }
    }
    return sum;
}

INLINE void keep_row(kept_t66 *k, size_t row, const uint8_t *w, size_t n_blocks, const unit_t66 *u,
                     reader *next)
{
    for (size_t b = 0; b < n_blocks; b += UNIT_BLOCKS, k++, u++) {
        __m256i s[UNIT_BLOCKS];
        ask(next, due_in_row(UNIT_BLOCKS * T66_BYTES, TILE_ROWS));
        for (size_t i = 0; i < UNIT_BLOCKS; i++) {
            s[i] = _mm256_setzero_si256();
            if (b + i >= n_blocks) continue;
            s[i] = sums(w + (b + i) * T66_BYTES, u->q[i], u->start[i]);
            k->head[i][row] = load_u32(w + (b + i) * T66_BYTES);
        }
        _mm256_store_si256((void *)k->sum[row], sum_eights(s));
    }
}

/* y continued over n <= 4 blocks. */
INLINE __m256 add_unit(__m256 y, const kept_t66 *k, const unit_t66 *u, size_t n)
{
    __m256i s[UNIT_BLOCKS];

    load_sums(s, k->sum);
    for (size_t i = 0; i < UNIT_BLOCKS && i < n; i++) {
        const __m256 d = low_halves(_mm256_load_si256((const void *)k->head[i]));
        y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s[i]), _mm256_mul_ps(d, _mm256_set1_ps(u->d[i])), y);
    }
    return y;
}

/* n_blocks of all rows from column w; y is continued unless they are the first. */
static void run_blocks(const row_call *c, const uint8_t *w, size_t n_blocks, const unit_t66 *u)
{
    kept_t66 k[MAX_UNITS];
    reader   next = read_ahead(w, c->n_rows * c->w_stride);

    if (c->n_rows % TILE_ROWS) memset(k, 0, sizeof k);
    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const size_t left = c->n_rows - r, n_rows = left < TILE_ROWS ? left : TILE_ROWS;
        __m256 y = w == c->w ? _mm256_setzero_ps() : load8(c->y + r, left);
        for (size_t i = 0; i < n_rows; i++) keep_row(k, i, w + (r + i) * c->w_stride, n_blocks, u, &next);
        for (size_t b = 0; b < n_blocks; b += UNIT_BLOCKS) {
            ask(&next, due_in_chain(UNIT_BLOCKS * T66_BYTES, TILE_ROWS));
            y = add_unit(y, k + b / UNIT_BLOCKS, u + b / UNIT_BLOCKS, n_blocks - b);
        }
        store8(c->y + r, left, y);
    }
}

static void run_rows(const row_call *c)
{
    enum { MAX_BLOCKS = MAX_UNITS * UNIT_BLOCKS };
    unit_t66 u[MAX_UNITS];

    for (size_t b = 0; b < c->n_blocks; b += MAX_BLOCKS) {
        const size_t n = c->n_blocks - b < MAX_BLOCKS ? c->n_blocks - b : MAX_BLOCKS;
        prepare(u, (const ds4_q256 *)c->x + b, n);
        run_blocks(c, c->w + b * T66_BYTES, n, u);
    }
}

/* ---- the slot -------------------------------------------------------------------------------------- */

static void matmul_t66(float *y, size_t y_stride, const void *w, size_t w_stride, size_t n_rows,
                       const void *x, size_t x_stride, size_t n_tokens, size_t n_in)
{
    if (n_tokens == 1) {
        const row_call c = { y, w, w_stride, n_rows, x, n_in / 256 };
        run_rows(&c);
        return;
    }
    for (size_t t = 0; t < n_tokens; t += MAX_TOKENS) {
        const size_t  n = n_tokens - t < MAX_TOKENS ? n_tokens - t : MAX_TOKENS;
        const block_call c = { y + t * y_stride, y_stride, w, w_stride, n_rows,
                            (const uint8_t *)x + t * x_stride, x_stride, n, n_in / 256 };
        run_tiles(&c);
    }
}

void ds4_kernels_avx2_t66(ds4_kernels *k)
{
    k->matmul[DS4_T66] = matmul_t66;
}
