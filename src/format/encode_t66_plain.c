/* encode_t66_plain.c - a step of the search for T66 codes in plain C; see encode_t66_search.h. */
#include "format/encode_t66_search.h"

static unsigned sum_of(const uint8_t *cost, const uint8_t *class_of, const t66_step *step, int i)
{
    const unsigned sum = (unsigned)cost[i >> 2] + step->price[class_of[i]];
    return sum < T66_NEVER ? sum : T66_NEVER;
}

static void make_chunk(uint8_t *out, t66_choice *choice, const uint8_t *cost, const uint8_t *class_of,
                       const t66_step *step)
{
    *choice = (t66_choice){ 0 };
    for (int i = 0; i < T66_CHUNK; i++) {
        unsigned sum[4];
        for (int d0 = 0; d0 < 4; d0++) {
            sum[d0] = sum_of(cost + d0 * (T66_ENDS / 4), class_of + d0 * T66_ENDS, step, i);
        }
        const unsigned low = sum[1] < sum[0] ? sum[1] : sum[0], high = sum[3] < sum[2] ? sum[3] : sum[2];
        choice->second |= (uint64_t)(sum[1] < sum[0]) << i;
        choice->fourth |= (uint64_t)(sum[3] < sum[2]) << i;
        choice->last |= (uint64_t)(high < low) << i;
        out[i] = (uint8_t)((high < low ? high : low) | step->banned[i & 3]);
    }
}

void t66_step_plain(t66_search *s, t66_choice *choice, int from, const t66_step *step)
{
    uint8_t *out = s->cost[!from];
    uint8_t  least = T66_NEVER;

    for (int c = 0; c < T66_CHUNKS; c++) {
        make_chunk(out + T66_CHUNK * c, choice + c, s->cost[from] + T66_CHUNK / 4 * c,
                   s->class_of + T66_CHUNK * c, step);
    }
    for (int i = 0; i < T66_ENDS; i++) least = out[i] < least ? out[i] : least;
    for (int i = 0; i < T66_ENDS; i++) out[i] = (uint8_t)(out[i] == T66_NEVER ? T66_NEVER : out[i] - least);
}
