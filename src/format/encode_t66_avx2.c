/* encode_t66_avx2.c - a step of the search for T66 codes for AVX2; see encode_t66_search.h. A chunk
 * is two vectors; prices are computed, since a table of 128 bytes does not fit a shuffle. */
#include "format/encode_t66_search.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { QUARTER = T66_ENDS / 4, HALF = T66_CHUNK / 2 };

typedef struct scales {
    __m256i target, factor;
    int     n_doubled;
} scales;

/* The prices of 16 classes, which are the high bytes of words. */
static inline __m256i prices16(__m256i class_of, const scales *by)
{
    __m256i off = _mm256_mulhrs_epi16(_mm256_sub_epi16(class_of, by->target), by->factor);

    for (int i = 0; i < by->n_doubled; i++) off = _mm256_adds_epi16(off, off);
    return _mm256_mulhi_epi16(off, off);
}

/* Each old cost of a quarter serves four new digits. */
static inline __m256i arrive(const uint8_t *cost, const uint8_t *class_of, const scales *by)
{
    const __m256i four = _mm256_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3,
                                          4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7);
    const __m256i zero = _mm256_setzero_si256();
    const __m256i old = _mm256_broadcastq_epi64(_mm_loadl_epi64((const void *)cost));
    const __m256i classes = _mm256_load_si256((const void *)class_of);
    const __m256i price = _mm256_packus_epi16(prices16(_mm256_unpacklo_epi8(zero, classes), by),
                                              prices16(_mm256_unpackhi_epi8(zero, classes), by));
    const __m256i add = _mm256_min_epu8(price, _mm256_set1_epi8((char)T66_MOST));

    return _mm256_adds_epu8(_mm256_shuffle_epi8(old, four), add);
}

/* A bit for each b that is less than a, given the lesser of both. */
static inline uint64_t is_less(__m256i least, __m256i a)
{
    return (uint32_t)~_mm256_movemask_epi8(_mm256_cmpeq_epi8(least, a));
}

static inline __m256i make_half(t66_choice *choice, int half, const uint8_t *cost, const uint8_t *class_of,
                                const scales *by)
{
    const __m256i a = arrive(cost, class_of, by);
    const __m256i b = arrive(cost + QUARTER, class_of + T66_ENDS, by);
    const __m256i c = arrive(cost + 2 * QUARTER, class_of + 2 * T66_ENDS, by);
    const __m256i d = arrive(cost + 3 * QUARTER, class_of + 3 * T66_ENDS, by);
    const __m256i low = _mm256_min_epu8(a, b), high = _mm256_min_epu8(c, d);
    const __m256i least = _mm256_min_epu8(low, high);

    choice->second |= is_less(low, a) << (HALF * half);
    choice->fourth |= is_less(high, c) << (HALF * half);
    choice->last |= is_less(least, low) << (HALF * half);
    return least;
}

static uint8_t least_of(__m256i v)
{
    const __m128i a = _mm_min_epu8(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    const __m128i words = _mm_min_epu8(a, _mm_srli_epi16(a, 8));

    return (uint8_t)_mm_extract_epi8(_mm_minpos_epu16(_mm_and_si128(words, _mm_set1_epi16(255))), 0);
}

void t66_step_avx2(t66_search *s, t66_choice *choice, int from, const t66_step *step)
{
    const scales  by = { _mm256_set1_epi16(step->target), _mm256_set1_epi16(step->factor), step->n_doubled };
    const __m256i never = _mm256_set1_epi8((char)T66_NEVER);
    const uint8_t *ban = step->banned;
    const __m256i banned = _mm256_set1_epi32((int)((uint32_t)ban[0] | (uint32_t)ban[1] << 8 |
                                                   (uint32_t)ban[2] << 16 | (uint32_t)ban[3] << 24));
    uint8_t      *out = s->cost[!from];
    __m256i       least = never;

    for (int c = 0; c < T66_CHUNKS; c++) {
        choice[c] = (t66_choice){ 0 };
        for (int half = 0; half < 2; half++) {
            const int     at = T66_CHUNK * c + HALF * half;
            const __m256i made = make_half(choice + c, half, s->cost[from] + at / 4, s->class_of + at, &by);
            const __m256i cost = _mm256_or_si256(made, banned);
            least = _mm256_min_epu8(least, cost);
            _mm256_store_si256((void *)(out + at), cost);
        }
    }
    const __m256i base = _mm256_set1_epi8((char)least_of(least));
    for (int i = 0; i < T66_ENDS; i += HALF) {
        const __m256i cost = _mm256_load_si256((const void *)(out + i));
        const __m256i dead = _mm256_cmpeq_epi8(cost, never);
        _mm256_store_si256((void *)(out + i), _mm256_or_si256(_mm256_sub_epi8(cost, base), dead));
    }
}
#else
typedef int ds4_not_for_this_processor;
#endif
