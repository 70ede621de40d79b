/* encode_t66.c - the trellis of 66 bytes for 256 weights: scales, ends that meet, and the path;
 * see encode.h and encode_t66_search.h.
 *
 * The digits of a block are a circle. A first search over the weights around the seam, free at
 * both ends, fixes the seven digits that its first and last weights share; the second one goes
 * once around from there and comes back to them. */
#include "format/encode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/encode_t66_search.h"
#include "format/small_float.h"

enum {
    SHARED = 7,                 /* digits of a state that the next one has too */
    CODE_BIAS = 126,
    SEAM = 32,                  /* weights on each side of the seam; 24 cost 0.3 % more error */
    MOST_DOUBLED = 2,
};

/* Codes have a deviation of 37; the best scale for them was found by trial, and so was the square
 * of an error that costs 1: less loses what is far from the best, more is coarse. */
static const double first_scale = 1.03 / 37.0;
static const float  unit = 18.0f;

struct ds4_trellis {
    t66_search   search;
    t66_step_fn *step;
};

/* The weights of a block as the search sees them. */
typedef struct t66_block {
    float   x[T66_BLOCK], w[T66_BLOCK];     /* w: 1 in the mean */
    uint8_t digit[T66_BLOCK];
} t66_block;

static int code_of(uint32_t state)
{
    const uint32_t v = state * 0xCBAC1FEDu & 0x3f3f3f3f;
    return (int)((v & 255) + (v >> 8 & 255) + (v >> 16 & 255) + (v >> 24)) - CODE_BIAS;
}

/* ---- the searcher ---------------------------------------------------------------------------- */

static void fill_classes(t66_search *s)
{
    for (uint32_t i = 0; i < 4 * T66_ENDS; i++) {
        uint32_t state = 0;
        for (int d = 0; d < 8; d++) state |= (i >> (14 - 2 * d) & 3) << (2 * d);
        s->class_of[i] = (uint8_t)((code_of(state) + CODE_BIAS) / 2);
    }
}

static t66_step_fn *fastest_step(ds4_trellis_set wanted)
{
    (void)wanted;
#if defined(__x86_64__)
    if (wanted >= DS4_TRELLIS_VBMI && __builtin_cpu_supports("avx512vbmi")) return t66_step_vbmi;
    if (wanted >= DS4_TRELLIS_AVX2 && __builtin_cpu_supports("avx2")) return t66_step_avx2;
#endif
    return t66_step_plain;
}

ds4_status ds4_trellis_create(ds4_trellis **out, ds4_trellis_set most, ds4_err *err)
{
    ds4_trellis *t = aligned_alloc(_Alignof(ds4_trellis), sizeof *t);

    if (!t) return ds4_fail(err, DS4_E_NOMEM, "no memory to search a trellis");
    fill_classes(&t->search);
    t->step = fastest_step(most);
    *out = t;
    return DS4_OK;
}

bool ds4_trellis_is_fast(const ds4_trellis *t)
{
    return t->step != t66_step_plain;
}

void ds4_trellis_free(ds4_trellis *t)
{
    free(t);
}

/* ---- one search -------------------------------------------------------------------------- */

/* The price of class i stands for codes 2 i - 126 and the next, so for 2 i - 125.5. Differences in
 * 1/256 of a class are scaled, doubled up to twice, and squared, all in the 16 bits that vectors
 * multiply: a difference of one code becomes 128 * strength, and 2^16 of its square cost 1. */
static void price_classes(t66_step *step, float x, float w, float d)
{
    float k = x / d;
    float strength = sqrtf(w * (4.0f / unit));
    int   n_doubled = 0;

    k = k > (float)CODE_BIAS ? (float)CODE_BIAS : k < -(float)CODE_BIAS ? -(float)CODE_BIAS : k;
    const int target = (int)floorf((k + (float)CODE_BIAS - 0.5f) * 128.0f + 0.5f);
    for (; strength > 1.0f && n_doubled < MOST_DOUBLED; n_doubled++) strength *= 0.5f;
    const int factor = (int)(fminf(strength, 1.0f) * 32767.0f + 0.5f);
    for (int i = 0; i < T66_CLASSES; i++) {
        int off = ((256 * i - target) * factor + 0x4000) >> 15;
        off *= 1 << n_doubled;
        off = off > INT16_MAX ? INT16_MAX : off < INT16_MIN ? INT16_MIN : off;
        const int price = off * off >> 16;
        step->price[i] = (uint8_t)(price < T66_MOST ? price : T66_MOST);
    }
    memset(step->banned, 0, sizeof step->banned);
    step->target = (int16_t)target;
    step->factor = (int16_t)factor;
    step->n_doubled = n_doubled;
}

/* The digits that n steps chose, from the best of the last costs. */
static void trace(uint8_t *digit, const t66_search *s, int n)
{
    int end = 0;

    while (s->cost[n & 1][end] != 0) end++;         /* the least cost is always 0 */
    for (int i = n - 1; i >= 0; i--) {
        const t66_choice *c = &s->choice[i][end / T66_CHUNK];
        const int         lane = end % T66_CHUNK, last = (int)(c->last >> lane & 1);
        const int         d0 = 2 * last + (int)((last ? c->fourth : c->second) >> lane & 1);
        digit[i] = (uint8_t)(end & 3);
        end = d0 << 12 | end >> 2;
    }
}

/* Fix the digits 0 to 6, which the last weights and the first ones share. */
static void search_seam(ds4_trellis *t, t66_block *b, float d)
{
    t66_search *s = &t->search;
    uint8_t     chosen[2 * SEAM];
    t66_step    step;

    memset(s->cost[0], 0, sizeof s->cost[0]);
    for (int i = 0; i < 2 * SEAM; i++) {
        const int at = (T66_BLOCK - SEAM + i) % T66_BLOCK;
        price_classes(&step, b->x[at], b->w[at], d);
        t->step(s, s->choice[i], i & 1, &step);
    }
    trace(chosen, s, 2 * SEAM);
    memcpy(b->digit, chosen + SEAM - SHARED, SHARED);
}

/* Once around from the seam and back to it. */
static void search_circle(ds4_trellis *t, t66_block *b, float d)
{
    t66_search *s = &t->search;
    uint8_t     chosen[T66_BLOCK];
    t66_step    step;
    int         end = 0;

    for (int i = 0; i < SHARED; i++) end = end << 2 | b->digit[i];
    memset(s->cost[0], T66_NEVER, sizeof s->cost[0]);
    s->cost[0][end] = 0;
    for (int i = 0; i < T66_BLOCK; i++) {
        price_classes(&step, b->x[i], b->w[i], d);
        for (int k = 0; k < 4 && i + SHARED >= T66_BLOCK; k++) {
            if (k != b->digit[i + SHARED - T66_BLOCK]) step.banned[k] = T66_NEVER;
        }
        t->step(s, s->choice[i], i & 1, &step);
    }
    trace(chosen, s, T66_BLOCK);
    memcpy(b->digit + SHARED, chosen, T66_BLOCK - SHARED);
}

/* ---- scales -------------------------------------------------------------------------------- */

static int code_at(const t66_block *b, int i)
{
    uint32_t state = 0;

    for (int k = 0; k < 8; k++) state |= (uint32_t)b->digit[(i + k) % T66_BLOCK] << (2 * k);
    return code_of(state);
}

static float stored_scale(double d)
{
    return ds4_f16_to_f32(ds4_f32_to_f16((float)fmin(d, DS4_F16_MAX)));
}

/* The least squares scale of the chosen codes as an F16. */
static float fit_scale(const t66_block *b, float d)
{
    double xk = 0, kk = 0;

    for (int i = 0; i < T66_BLOCK; i++) {
        const double k = code_at(b, i);
        xk += (double)b->w[i] * b->x[i] * k;
        kk += (double)b->w[i] * k * k;
    }
    return xk > 0 && kk > 0 ? stored_scale(xk / kk) : d;
}

/* Weights and importance; returns the scale to search with. */
static float prepare(t66_block *b, const float *x, const float *w)
{
    double sum_w = 0, sum_wx = 0;

    for (int i = 0; i < T66_BLOCK; i++) sum_w += w ? w[i] : 1.0f;
    for (int i = 0; i < T66_BLOCK; i++) {
        b->x[i] = x[i];
        b->w[i] = w && sum_w > 0 ? (float)(w[i] * T66_BLOCK / sum_w) : 1.0f;
        sum_wx += (double)b->w[i] * x[i] * x[i];
    }
    return stored_scale(sqrt(sum_wx / T66_BLOCK) * first_scale);
}

void ds4_encode_t66(uint8_t out[66], const float *x, const float *w, ds4_trellis *t)
{
    t66_block b;

    memset(out, 0, 66);
    const float d = prepare(&b, x, w);
    if (d == 0) return;
    search_seam(t, &b, d);
    search_circle(t, &b, d);
    ds4_store_f16(out, fit_scale(&b, d));
    for (int i = 0; i < T66_BLOCK; i++) out[2 + i / 4] |= (uint8_t)(b.digit[i] << (2 * (i % 4)));
}
