/* encode_t66_vbmi.c - a step of the search for T66 codes for AVX-512 with VBMI; see
 * encode_t66_search.h. One vector holds a chunk, two the prices of all classes. */
#include "format/encode_t66_search.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* Each old cost of a quarter serves four new digits. */
static inline __m512i arrive(const uint8_t *cost, const uint8_t *class_of, const __m512i price[2])
{
    const __m512i four = _mm512_set_epi64(
        0x0f0f0f0f0e0e0e0e, 0x0d0d0d0d0c0c0c0c, 0x0b0b0b0b0a0a0a0a, 0x0909090908080808,
        0x0707070706060606, 0x0505050504040404, 0x0303030302020202, 0x0101010100000000);
    const __m512i old = _mm512_broadcast_i32x4(_mm_load_si128((const void *)cost));
    const __m512i add = _mm512_permutex2var_epi8(price[0], _mm512_load_si512(class_of), price[1]);

    return _mm512_adds_epu8(_mm512_shuffle_epi8(old, four), add);
}

static inline __m512i make_chunk(t66_choice *choice, const uint8_t *cost, const uint8_t *class_of,
                                 const __m512i price[2])
{
    enum { QUARTER = T66_ENDS / 4 };
    const __m512i a = arrive(cost, class_of, price);
    const __m512i b = arrive(cost + QUARTER, class_of + T66_ENDS, price);
    const __m512i c = arrive(cost + 2 * QUARTER, class_of + 2 * T66_ENDS, price);
    const __m512i d = arrive(cost + 3 * QUARTER, class_of + 3 * T66_ENDS, price);
    const __m512i low = _mm512_min_epu8(a, b), high = _mm512_min_epu8(c, d);

    choice->second = _mm512_cmplt_epu8_mask(b, a);
    choice->fourth = _mm512_cmplt_epu8_mask(d, c);
    choice->last = _mm512_cmplt_epu8_mask(high, low);
    return _mm512_min_epu8(low, high);
}

static uint8_t least_of(__m512i v)
{
    const __m256i a = _mm256_min_epu8(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    const __m128i b = _mm_min_epu8(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    const __m128i words = _mm_min_epu8(b, _mm_srli_epi16(b, 8));

    return (uint8_t)_mm_extract_epi8(_mm_minpos_epu16(_mm_and_si128(words, _mm_set1_epi16(255))), 0);
}

void t66_step_vbmi(t66_search *s, t66_choice *choice, int from, const t66_step *step)
{
    const __m512i price[2] = { _mm512_load_si512(step->price), _mm512_load_si512(step->price + 64) };
    const __m512i banned = _mm512_set1_epi32(
        (int)((uint32_t)step->banned[0] | (uint32_t)step->banned[1] << 8 | (uint32_t)step->banned[2] << 16 |
              (uint32_t)step->banned[3] << 24));
    const __m512i never = _mm512_set1_epi8((char)T66_NEVER);
    uint8_t      *out = s->cost[!from];
    __m512i       least = never;

    for (int c = 0; c < T66_CHUNKS; c++) {
        const __m512i made = make_chunk(choice + c, s->cost[from] + T66_CHUNK / 4 * c,
                                        s->class_of + T66_CHUNK * c, price);
        const __m512i cost = _mm512_or_si512(made, banned);
        least = _mm512_min_epu8(least, cost);
        _mm512_store_si512(out + T66_CHUNK * c, cost);
    }
    const __m512i base = _mm512_set1_epi8((char)least_of(least));
    for (int i = 0; i < T66_ENDS; i += T66_CHUNK) {
        const __m512i cost = _mm512_load_si512(out + i);
        const __mmask64 live = _mm512_cmpneq_epi8_mask(cost, never);
        _mm512_store_si512(out + i, _mm512_mask_sub_epi8(cost, live, cost, base));
    }
}
#else
typedef int ds4_not_for_this_processor;
#endif
