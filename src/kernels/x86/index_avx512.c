/* index_avx512.c - scores of indexer rows for AVX-512.
 *
 * Scoring is a product of many queries with many rows. Both are four-bit numbers with a
 * power of two for each 32 of them; where the powers of a row differ by 8 at most, and
 * nearly always they do, the numbers are brought to the smallest of them and still fit
 * bytes. Then a dot product is one chain of integers, exact in any order: 64 rows stand
 * side by side as in tile_avx512.h, four heads are taken at once, and a head's sum becomes a
 * float once. Heads are added in their order. Other rows and queries take the general form.
 * A score's form depends on its query and its row alone. */
#include "kernels/x86/tile_avx512.h"
#include "kernels/kernel_init.h"

enum {
    INDEX_VALUES = 128,         /* the longest indexer row */
    INDEX_TILES = 16,           /* query tiles of 16 heads scored in one pass */
    INDEX_ROWS = 4,
};

/* ---- the general form --------------------------------------------------------------------- */

/* Sixteen query heads side by side: twice the values plus 12, and a quarter of the scales. */
typedef struct query_tile {
    __m512i w[INDEX_VALUES / 4];
    __m512  scale[INDEX_VALUES / 32];
    __m512  weight;
} query_tile;

/* A row: twice its values, the scales, and -12 * the sum of each 32 of those. */
typedef struct index_row {
    int8_t  value[INDEX_VALUES];
    float   scale[INDEX_VALUES / 32];
    int32_t start[INDEX_VALUES / 32];
} index_row;

INLINE __m512i expand_codes(const uint8_t *code, __m128i table)
{
    const __m256i pairs = _mm256_loadu_si256((const void *)code), nibbles = _mm256_set1_epi8(15);
    const __m256i low = _mm256_and_si256(pairs, nibbles);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(pairs, 4), nibbles);
    const __m256i even = _mm256_unpacklo_epi8(low, high), odd = _mm256_unpackhi_epi8(low, high);
    const __m512i all =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_permute2x128_si256(even, odd, 0x20)),
                           _mm256_permute2x128_si256(even, odd, 0x31), 1);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), all);
}

static void load_query(query_tile *t, const uint8_t *query, const float *weight, uint32_t n_heads,
                       uint32_t n)
{
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    const size_t  bytes = n / 2 + n / 32;
    _Alignas(64) uint8_t value[TILE_ROWS][INDEX_VALUES];
    float scale[INDEX_VALUES / 32][TILE_ROWS] = { { 0 } };

    memset(value, 12, sizeof value);
    for (uint32_t h = 0; h < n_heads; h++) {
        for (uint32_t i = 0; i < n; i += 64)
            _mm512_store_si512(value[h] + i, expand_codes(query + h * bytes + i / 2, table));
        for (uint32_t g = 0; g < n / 32; g++)
            scale[g][h] = 0.25f * e8m0_to_float(query[h * bytes + n / 2 + g]);
    }
    for (uint32_t i = 0; i < n / 16; i++)
        load_columns(t->w + 4 * i, value[0] + 16 * i, INDEX_VALUES);
    for (uint32_t g = 0; g < n / 32; g++) t->scale[g] = _mm512_loadu_ps(scale[g]);
    t->weight = _mm512_maskz_loadu_ps(tail_mask(n_heads), weight);
}

INLINE void load_row(index_row *row, const uint8_t *p, uint32_t n)
{
    const __m128i table = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

    for (uint32_t i = 0; i < n; i += 64) {
        const __m512i v = expand_codes(p + i / 2, table);
        const __m512i s = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(12), v);
        _mm512_storeu_si512(row->value + i, v);
        row->start[i / 32] = -_mm512_mask_reduce_add_epi32(0x00ff, s);
        row->start[i / 32 + 1] = -_mm512_mask_reduce_add_epi32(0xff00, s);
    }
    for (uint32_t g = 0; g < n / 32; g++) row->scale[g] = e8m0_to_float(p[n / 2 + g]);
}

/* score[r] of n_r rows += the weighted sums over the heads of one tile, lane by lane. */
INLINE void score_index_tile(__m512 score[INDEX_ROWS], const query_tile *t, const index_row *row,
                             uint32_t n_groups, const int n_r)
{
    __m512 dot[INDEX_ROWS];

    UNROLL
    for (int r = 0; r < n_r; r++) dot[r] = _mm512_setzero_ps();
    for (uint32_t g = 0; g < n_groups; g++) {
        __m512i part[INDEX_ROWS];
        UNROLL
        for (int r = 0; r < n_r; r++) part[r] = _mm512_set1_epi32(row[r].start[g]);
        UNROLL
        for (uint32_t j = 0; j < 8; j++) {
            const __m512i w = t->w[8 * g + j];
            UNROLL
            for (int r = 0; r < n_r; r++)
                part[r] =
                    _mm512_dpbusd_epi32(part[r], w, broadcast4(row[r].value + 32 * g + 4 * j));
        }
        UNROLL
        for (int r = 0; r < n_r; r++) {
            const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(part[r]), t->scale[g]);
            dot[r] = _mm512_fmadd_ps(scaled, _mm512_set1_ps(row[r].scale[g]), dot[r]);
        }
    }
    UNROLL
    for (int r = 0; r < n_r; r++)       /* max returns its second operand when that is NaN */
        score[r] = _mm512_fmadd_ps(t->weight, _mm512_max_ps(_mm512_setzero_ps(), dot[r]), score[r]);
}

/* One query, rows one behind the other. */
static void score_general(float *score, const uint8_t *query, const float *weight, uint32_t n_heads,
                          const uint8_t *rows, size_t n_rows, uint32_t n)
{
    const size_t bytes = n / 2 + n / 32;

    for (uint32_t first = 0; first < n_heads; first += INDEX_TILES * TILE_ROWS) {
        query_tile tile[INDEX_TILES];
        uint32_t   n_tiles = 0;

        for (uint32_t h = first; h < n_heads && n_tiles < INDEX_TILES; h += TILE_ROWS) {
            const uint32_t heads = n_heads - h < TILE_ROWS ? n_heads - h : TILE_ROWS;
            load_query(&tile[n_tiles++], query + h * bytes, weight + h, heads, n);
        }
        for (size_t r = 0; r < n_rows; r += INDEX_ROWS) {
            const size_t left = n_rows - r < INDEX_ROWS ? n_rows - r : INDEX_ROWS;
            index_row row[INDEX_ROWS];
            __m512    sum[INDEX_ROWS];
            for (size_t i = 0; i < INDEX_ROWS; i++) {
                sum[i] = _mm512_setzero_ps();
                load_row(&row[i], rows + (r + (i < left ? i : 0)) * bytes, n);
            }
            for (uint32_t i = 0; i < n_tiles; i++)
                score_index_tile(sum, &tile[i], row, n / 32, INDEX_ROWS);
            for (size_t i = 0; i < left; i++)
                score[r + i] = first ? score[r + i] + sum_lanes(sum[i]) : sum_lanes(sum[i]);
        }
    }
}

/* ---- the even form: rows of 128 values ------------------------------------------------------ */

enum {
    ROW_BYTES = 68,
    STEPS = INDEX_VALUES / 4,   /* of four values */
    VECTORS = DS4_INDEX_PART / TILE_ROWS,
    HEADS = 4,                  /* taken at once */
    MAX_HEADS = 256,            /* of all queries that are prepared together */
    MAX_SHIFT = 3,              /* 12 << 3 = 96 fits a byte with its sign */
    OFFSET = 96,                /* makes a row's values positive */
    LEAST_SCALE = 127 - 40,     /* far from where products of powers of two would round */
    MOST_SCALE = 127 + 40,
};

/* 64 rows: step s of vector v holds four values of 16 rows, brought to the smallest scale. */
typedef struct row_tile {
    _Alignas(64) uint8_t value[STEPS][VECTORS][64];
    _Alignas(64) float   scale[DS4_INDEX_PART];
    uint64_t             uneven;        /* rows that need the general form */
} row_tile;

/* Heads of queries, in whole fours. */
typedef struct query_set {
    _Alignas(64) int8_t value[MAX_HEADS][INDEX_VALUES];
    int32_t             start[MAX_HEADS];       /* -OFFSET * the sum of the values */
    float               weight[MAX_HEADS];      /* times the scale */
    bool                uneven[MAX_HEADS / HEADS];  /* [query] */
} query_set;

/* Values of 64 low nibbles, doubled and shifted; whole bytes survive in `keep`. */
INLINE __m512i shifted_values(__m512i codes, __m512i shift, __m512i keep)
{
    const __m512i twice = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));
    const __m512i v =
        _mm512_shuffle_epi8(twice, _mm512_and_si512(codes, _mm512_set1_epi8(15)));
    return _mm512_and_si512(_mm512_sllv_epi32(v, shift), keep);
}

/* Bytes of what a shift leaves: for each lane's shift of 0 .. 3. */
INLINE __m512i kept_bits(__m512i shift)
{
    const __m512i bits = _mm512_broadcast_i32x4(
        _mm_setr_epi32(-1, (int)0xfefefefe, (int)0xfcfcfcfc, (int)0xf8f8f8f8));
    return _mm512_permutexvar_epi32(shift, bits);
}

/* Sixteen rows of a tile. */
INLINE __mmask16 load_vector(row_tile *t, const int v, const uint8_t *rows)
{
    const __m512i all = load_column4(rows + INDEX_VALUES / 2, ROW_BYTES);
    __m512i       e[4], low = lane_byte(all, 0), high = low;

    UNROLL
    for (int g = 0; g < 4; g++) {
        e[g] = lane_byte(all, g);
        low = _mm512_min_epu32(low, e[g]);
        high = _mm512_max_epu32(high, e[g]);
    }
    _mm512_store_si512(t->scale + TILE_ROWS * v, _mm512_slli_epi32(low, 23));
    UNROLL
    for (int g = 0; g < 4; g++) {
        const __m512i shift =
            _mm512_min_epu32(_mm512_sub_epi32(e[g], low), _mm512_set1_epi32(MAX_SHIFT));
        const __m512i keep = kept_bits(shift), offset = _mm512_set1_epi8(OFFSET);
        __m512i       column[4];
        load_columns(column, rows + 16 * g, ROW_BYTES);
        UNROLL
        for (int j = 0; j < 4; j++) {
            const __m512i even = shifted_values(column[j], shift, keep);
            const __m512i odd = shifted_values(_mm512_srli_epi16(column[j], 4), shift, keep);
            _mm512_store_si512(t->value[8 * g + 2 * j][v], _mm512_add_epi8(even, offset));
            _mm512_store_si512(t->value[8 * g + 2 * j + 1][v], _mm512_add_epi8(odd, offset));
        }
    }
    return _mm512_cmpgt_epu32_mask(_mm512_sub_epi32(high, low), _mm512_set1_epi32(MAX_SHIFT))
         | _mm512_cmplt_epu32_mask(low, _mm512_set1_epi32(LEAST_SCALE))
         | _mm512_cmpgt_epu32_mask(low, _mm512_set1_epi32(MOST_SCALE));
}

static void load_tile(row_tile *t, const uint8_t *rows, size_t n_rows)
{
    uint8_t part[TILE_ROWS * ROW_BYTES];

    t->uneven = 0;
    for (int v = 0; v < VECTORS && (size_t)v * TILE_ROWS < n_rows; v++) {
        const size_t   left = n_rows - (size_t)v * TILE_ROWS;
        const uint8_t *from = rows + (size_t)v * TILE_ROWS * ROW_BYTES;
        if (left < TILE_ROWS) {
            copy_part(part, from, ROW_BYTES, left, ROW_BYTES);
            from = part;
        }
        t->uneven |= (uint64_t)(load_vector(t, v, from) & tail_mask(left)) << (TILE_ROWS * v);
    }
}

/* Returns whether the head has the even form. */
INLINE bool load_head(query_set *set, uint32_t i, const uint8_t *query, float weight)
{
    const uint8_t *scale = query + INDEX_VALUES / 2;
    const __m512i  spread = _mm512_setr_epi32(0, 0, 0, 0, 8, 8, 8, 8, 16, 16, 16, 16, 24, 24, 24, 24);
    const __m512i  step = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    uint32_t       low = scale[0], high = scale[0];

    for (int g = 1; g < 4; g++) {
        low = scale[g] < low ? scale[g] : low;
        high = scale[g] > high ? scale[g] : high;
    }
    if (high - low > MAX_SHIFT || low < LEAST_SCALE || low > MOST_SCALE) return false;
    const __m512i e = _mm512_and_si512(_mm512_srlv_epi32(broadcast4(scale), spread),
                                       _mm512_set1_epi32(255));
    const __m512i shift = _mm512_sub_epi32(e, _mm512_set1_epi32((int)low)), keep = kept_bits(shift);
    const __m512i codes = _mm512_loadu_si512(query);
    const __m512i even = shifted_values(codes, shift, keep);
    const __m512i odd = shifted_values(_mm512_srli_epi16(codes, 4), shift, keep);
    const __m512i ones = _mm512_set1_epi8(1);
    const __m512i sums = _mm512_dpbusd_epi32(
        _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, even), ones, odd);

    _mm512_store_si512(set->value[i], _mm512_permutex2var_epi32(even, step, odd));
    _mm512_store_si512(set->value[i] + 64, _mm512_permutex2var_epi32(
        even, _mm512_add_epi32(step, _mm512_set1_epi32(8)), odd));
    set->start[i] = -OFFSET * _mm512_reduce_add_epi32(sums);
    set->weight[i] = weight * (0.25f * e8m0_to_float((uint8_t)low));
    return true;
}

/* Heads that fill up a four add nothing. */
static void load_set(query_set *set, const ds4_index_batch *b, uint32_t first, uint32_t n_queries,
                     uint32_t padded)
{
    for (uint32_t i = 0; i < n_queries; i++) {
        const uint8_t *query = (const uint8_t *)b->query + (first + i) * b->query_stride;
        const float   *weight = b->weight + (first + i) * b->weight_stride;
        bool           even = true;
        for (uint32_t h = 0; h < padded; h++) {
            if (h < b->n_heads) {
                even &= load_head(set, i * padded + h, query + h * ROW_BYTES, weight[h]);
                continue;
            }
            memset(set->value[i * padded + h], 0, INDEX_VALUES);
            set->start[i * padded + h] = 0;
            set->weight[i * padded + h] = 0.0f;
        }
        set->uneven[i] = !even;
    }
}

/* sum += four products of bytes in each lane. By the intrinsic GCC 12 copies each sum to another
 * register and back, which takes as long as the products. */
INLINE void add_products(__m512i *sum, __m512i positive, __m512i any)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(positive), "v"(any));
}

/* The rows of a tile against four heads, on top of score. By itself, so that its sums stay
 * in registers. */
static __attribute__((noinline)) void score_four(float score[DS4_INDEX_PART], const row_tile *t,
                                                 const int8_t *value, const int32_t *start,
                                                 const float *by)
{
    __m512i sum[HEADS][VECTORS];

    UNROLL
    for (int h = 0; h < HEADS; h++) {
        UNROLL
        for (int v = 0; v < VECTORS; v++) sum[h][v] = _mm512_set1_epi32(start[h]);
    }
    for (uint32_t s = 0; s < STEPS; s++) {
        __m512i row[VECTORS];
        UNROLL
        for (int v = 0; v < VECTORS; v++) row[v] = _mm512_load_si512(t->value[s][v]);
        UNROLL
        for (int h = 0; h < HEADS; h++) {
            const __m512i q = broadcast4(value + INDEX_VALUES * h + 4 * s);
            UNROLL
            for (int v = 0; v < VECTORS; v++) add_products(&sum[h][v], row[v], q);
        }
    }
    UNROLL
    for (int h = 0; h < HEADS; h++) {
        const __m512 weight = _mm512_set1_ps(by[h]);
        UNROLL
        for (int v = 0; v < VECTORS; v++) {
            const __m512 dot = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[h][v]),
                                             _mm512_load_ps(t->scale + TILE_ROWS * v));
            float *to = score + TILE_ROWS * v;
            _mm512_store_ps(to, _mm512_fmadd_ps(weight, _mm512_max_ps(_mm512_setzero_ps(), dot),
                                                _mm512_load_ps(to)));
        }
    }
}

/* One query against a tile. */
static void score_tile(float *score, const row_tile *t, const query_set *set, uint32_t head,
                       uint32_t n_heads, size_t n_rows)
{
    _Alignas(64) float sum[DS4_INDEX_PART] = { 0 };

    for (uint32_t h = head; h < head + n_heads; h += HEADS)
        score_four(sum, t, set->value[h], set->start + h, set->weight + h);
    memcpy(score, sum, n_rows * sizeof *score);
}

/* The uneven rows of a tile against one query. */
static void score_uneven(float *score, const row_tile *t, const ds4_index_batch *b, uint32_t i_query,
                         const uint8_t *rows)
{
    const uint8_t *query = (const uint8_t *)b->query + i_query * b->query_stride;
    const float   *weight = b->weight + i_query * b->weight_stride;
    uint8_t        packed[DS4_INDEX_PART * ROW_BYTES];
    float          scores[DS4_INDEX_PART];
    size_t         n = 0;

    for (uint64_t left = t->uneven; left; left &= left - 1)
        memcpy(packed + n++ * ROW_BYTES, rows + (size_t)__builtin_ctzll(left) * ROW_BYTES, ROW_BYTES);
    score_general(scores, query, weight, b->n_heads, packed, n, b->n);
    n = 0;
    for (uint64_t left = t->uneven; left; left &= left - 1) score[__builtin_ctzll(left)] = scores[n++];
}

static void score_set(float *score, size_t stride, const ds4_index_batch *b, const query_set *set,
                      uint32_t first, uint32_t n_queries, uint32_t padded)
{
    row_tile tile;

    for (size_t r = 0; r < b->n_rows; r += DS4_INDEX_PART) {
        const size_t   n = b->n_rows - r < DS4_INDEX_PART ? b->n_rows - r : DS4_INDEX_PART;
        const uint8_t *rows = b->rows[r / DS4_INDEX_PART];
        /* Parts lie here and there: the memory must be asked in time. */
        if (r + DS4_INDEX_PART < b->n_rows)
            prefetch_span(b->rows[r / DS4_INDEX_PART + 1], 0, DS4_INDEX_PART * ROW_BYTES);
        load_tile(&tile, rows, n);
        for (uint32_t i = 0; i < n_queries; i++) {
            float *to = score + (first + i) * stride + r;
            if (set->uneven[i]) {
                score_general(to, (const uint8_t *)b->query + (first + i) * b->query_stride,
                              b->weight + (first + i) * b->weight_stride, b->n_heads, rows, n, b->n);
                continue;
            }
            score_tile(to, &tile, set, i * padded, padded, n);
            if (tile.uneven) score_uneven(to, &tile, b, first + i, rows);
        }
    }
}

static void score_all_general(float *score, size_t stride, const ds4_index_batch *b)
{
    for (uint32_t i = 0; i < b->n_queries; i++) {
        for (size_t r = 0; r < b->n_rows; r += DS4_INDEX_PART) {
            const size_t n = b->n_rows - r < DS4_INDEX_PART ? b->n_rows - r : DS4_INDEX_PART;
            score_general(score + i * stride + r, (const uint8_t *)b->query + i * b->query_stride,
                          b->weight + i * b->weight_stride, b->n_heads, b->rows[r / DS4_INDEX_PART], n,
                          b->n);
        }
    }
}

static void index_score(float *score, size_t stride, const ds4_index_batch *b)
{
    const uint32_t padded = (b->n_heads + HEADS - 1) / HEADS * HEADS;
    query_set      set;

    if (b->n != INDEX_VALUES || padded > MAX_HEADS) {
        score_all_general(score, stride, b);
        return;
    }
    for (uint32_t i = 0; i < b->n_queries; i += MAX_HEADS / padded) {
        const uint32_t left = b->n_queries - i;
        const uint32_t n = left < MAX_HEADS / padded ? left : MAX_HEADS / padded;
        load_set(&set, b, i, n, padded);
        score_set(score, stride, b, &set, i, n, padded);
    }
}

/* ---- what is above a limit ---------------------------------------------------------------------- */

static size_t above(uint32_t *index, const float *x, size_t n, float limit)
{
    const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512  bound = _mm512_set1_ps(limit);
    size_t        n_out = 0;

    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 real = tail_mask(n - i);
        const __mmask16 found =
            _mm512_mask_cmp_ps_mask(real, _mm512_maskz_loadu_ps(real, x + i), bound, _CMP_NLE_UQ);
        if (!found) continue;
        const __m512i at = _mm512_add_epi32(count, _mm512_set1_epi32((int)i));
        const int     n_found = __builtin_popcount(found);
        _mm512_mask_storeu_epi32(index + n_out, (__mmask16)((1u << n_found) - 1),
                                 _mm512_maskz_compress_epi32(found, at));
        n_out += (size_t)n_found;
    }
    return n_out;
}

void ds4_kernels_avx512_index(ds4_kernels *k)
{
    k->index_score = index_score;
    k->above = above;
}
