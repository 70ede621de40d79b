/* encode_iq2xxs_best.c - IQ2_XXS with the least error the format allows, nearly; see encode.h.
 *
 * For eight weights x with importance w, codeword u (levels 1, 3.125, 5.375) and scale s,
 *     sum w (|x| - s u)^2 = const + s^2 B - s T,   B = sum w u^2,   T = 2 sum w |x| u - P,
 * where P is 0 for an even number of negative weights; for an odd number one sign must be
 * given up, which costs s P with P = min 4 w |x| u. So s B - T is a line for each codeword,
 * and the best codeword for every s at once is the lower envelope of 256 lines. With the
 * envelopes at hand, any scale of the block costs a few comparisons. */
#include "format/encode.h"

#include <math.h>
#include <string.h>

#include "format/iq2xxs_table.h"
#include "format/small_float.h"

enum { N_CODES = 256, N_STARTS = 24, N_ROUNDS = 4 };

/* The codebook, one plane for each of the eight positions. */
typedef struct codebook {
    float u[8][N_CODES];
} codebook;

typedef struct lines {
    float slope[N_CODES], drop[N_CODES];    /* B and T */
} lines;

/* The best codeword of eight weights for each scale: piece i holds up to s = until[i]. */
typedef struct envelope {
    int     n;
    float   until[N_CODES];
    float   slope[N_CODES], drop[N_CODES];
    uint8_t code[N_CODES];
} envelope;

typedef struct block {
    float    v[256];            /* |x| / most */
    float    w[256];
    uint8_t  negative[32];      /* sign bits of each eight */
    envelope env[32];
    float    s_most;            /* no useful scale is larger */
} block;

static void fill_codebook(codebook *c)
{
    uint8_t grid[N_CODES][8];

    ds4_iq2xxs_grid(grid);
    for (int i = 0; i < N_CODES; i++) {
        for (int j = 0; j < 8; j++) c->u[j][i] = (float)grid[i][j] / 8.0f;
    }
}

static bool is_odd(uint8_t bits)
{
    bits ^= bits >> 4;
    bits ^= bits >> 2;
    return ((bits ^ bits >> 1) & 1) != 0;
}

/* ---- the envelope of eight weights ------------------------------------------------------ */

static void make_lines(lines *l, const codebook *c, const float *v, const float *w, bool odd)
{
    float flip[N_CODES];

    for (int i = 0; i < N_CODES; i++) {
        l->slope[i] = l->drop[i] = 0;
        flip[i] = INFINITY;
    }
    for (int j = 0; j < 8; j++) {
        const float  wv = w[j] * v[j], weight = w[j];
        const float *u = c->u[j];
        for (int i = 0; i < N_CODES; i++) {
            const float t = wv * u[i];
            l->slope[i] += weight * u[i] * u[i];
            l->drop[i] += 2.0f * t;
            flip[i] = 4.0f * t < flip[i] ? 4.0f * t : flip[i];
        }
    }
    if (!odd) return;
    for (int i = 0; i < N_CODES; i++) l->drop[i] -= flip[i];
}

/* The lowest line at s. */
static int lowest(const lines *l, float s)
{
    float least = INFINITY;
    int   best = 0;

    for (int i = 0; i < N_CODES; i++) {
        const float y = s * l->slope[i] - l->drop[i];
        if (y < least) {
            least = y;
            best = i;
        }
    }
    return best;
}

static void add_piece(envelope *e, const lines *l, int code, float until)
{
    e->until[e->n] = until;
    e->slope[e->n] = l->slope[code];
    e->drop[e->n] = l->drop[code];
    e->code[e->n++] = (uint8_t)code;
}

/* Add the pieces from line a, lowest at some s, up to but without line b, lowest at some
 * larger s. Where they meet either nothing is lower, or a third line lies between them.
 * Slopes fall from left to right, so the depth is bounded by the number of lines. */
static void add_between(envelope *e, const lines *l, int a, int b)
{
    const float fall = l->slope[a] - l->slope[b];

    if (a == b) return;
    if (!(fall > 0)) return;                /* rounding noise between nearly equal lines */
    const float s = (l->drop[a] - l->drop[b]) / fall;
    const int   m = lowest(l, s);
    const float gain = (s * l->slope[a] - l->drop[a]) - (s * l->slope[m] - l->drop[m]);
    const bool  between = l->slope[m] < l->slope[a] && l->slope[m] > l->slope[b];
    if (!(gain > 0) || !between) {
        add_piece(e, l, a, s);
        return;
    }
    add_between(e, l, a, m);
    add_between(e, l, m, b);
}

static void make_envelope(envelope *e, const lines *l, float s_most)
{
    const int last = lowest(l, s_most);

    e->n = 0;
    add_between(e, l, lowest(l, 0), last);
    add_piece(e, l, last, INFINITY);
}

static int piece_at(const envelope *e, float s)
{
    int i = 0;

    while (i < e->n - 1 && s > e->until[i]) i++;
    return i;
}

/* ---- scales -------------------------------------------------------------------------------- */

/* Error of 32 weights at scale s, less a constant. */
static float group_error(const block *b, int g, float s)
{
    float slope = 0, drop = 0;

    for (int k = 4 * g; k < 4 * g + 4; k++) {
        const int i = piece_at(&b->env[k], s);
        slope += b->env[k].slope[i];
        drop += b->env[k].drop[i];
    }
    return s * (s * slope - drop);
}

/* The best scale of one group alone: a scan, finest where scales usually lie. */
static float best_scale(const block *b, int g)
{
    float least = 0, best = 0;

    for (int k = 1; k <= 64; k++) {
        const float s = b->s_most * (float)k * (float)k / 4096.0f;
        const float off = group_error(b, g, s);
        if (off < least) {
            least = off;
            best = s;
        }
    }
    return best;
}

/* Choose each group's scale nibble for the unit d; returns the error. */
static float choose_nibbles(const block *b, float d, uint8_t t[8])
{
    float sum = 0;

    for (int g = 0; g < 8; g++) {
        float least = INFINITY;
        for (int k = 0; k < 16; k++) {
            const float off = group_error(b, g, d * (float)(2 * k + 1));
            if (off < least) {
                least = off;
                t[g] = (uint8_t)k;
            }
        }
        sum += least;
    }
    return sum;
}

/* The best unit d while nibbles and codes stay: a least squares fit over the whole block. */
static float refit(const block *b, float d, const uint8_t t[8])
{
    float slope = 0, drop = 0;

    for (int k = 0; k < 32; k++) {
        const float r = (float)(2 * t[k / 4] + 1);
        const int   i = piece_at(&b->env[k], d * r);
        slope += r * r * b->env[k].slope[i];
        drop += r * b->env[k].drop[i];
    }
    return slope > 0 ? drop / (2.0f * slope) : d;
}

/* Search the unit d; most converts to the weights' own scale, where d is an F16. */
static float search_unit(const block *b, float most, uint8_t t[8])
{
    float s_top = 0, best_d = 0, least = INFINITY;

    for (int g = 0; g < 8; g++) s_top = fmaxf(s_top, best_scale(b, g));
    for (int k = 0; k < N_STARTS; k++) {
        float   d = s_top / (22.0f + 0.5f * (float)k);      /* nibbles 11..15 for the largest */
        uint8_t trial[8];
        for (int round = 0; round < N_ROUNDS; round++) {
            const float stored = ds4_f16_to_f32(ds4_f32_to_f16(d * most));
            const float off = choose_nibbles(b, stored / most, trial);
            if (off < least && stored > 0) {
                least = off;
                best_d = stored;
                memcpy(t, trial, sizeof trial);
            }
            const float next = refit(b, stored / most, trial);
            if (!(fabsf(next - d) > 1e-4f * d)) break;
            d = next;
        }
    }
    return best_d;
}

/* ---- the block -------------------------------------------------------------------------------- */

/* The sign bits to store: the negatives, with the cheapest flip if their number is odd. */
static uint8_t stored_signs(const block *b, int k, int code)
{
    uint8_t signs = b->negative[k];
    float   least = INFINITY;
    int     flip = 0;

    for (int j = 0; j < 8; j++) {
        const int   digit = ds4_iq2xxs_codes[code] >> (2 * j) & 3;
        const float level = digit == 0 ? 1.0f : digit == 1 ? 3.125f : 5.375f;
        const float cost = b->w[8 * k + j] * b->v[8 * k + j] * level;
        if (cost < least) {
            least = cost;
            flip = j;
        }
    }
    if (is_odd(signs)) signs ^= (uint8_t)(1u << flip);
    return signs & 127;
}

static void prepare(block *b, const float *x, const float *w, float most)
{
    codebook c;
    lines    l;
    float    sum_w = 0;

    fill_codebook(&c);
    for (int i = 0; i < 256; i++) sum_w += w ? w[i] : 1.0f;
    for (int i = 0; i < 256; i++) {
        b->v[i] = fabsf(x[i]) / most;
        b->w[i] = w && sum_w > 0 ? w[i] / sum_w : 1.0f / 256.0f;
    }
    b->s_most = 1.0f;           /* the smallest level is 1 and no |x| exceeds 1 */
    for (int k = 0; k < 32; k++) {
        b->negative[k] = 0;
        for (int j = 0; j < 8; j++) {
            if (x[8 * k + j] < 0) b->negative[k] |= (uint8_t)(1u << j);
        }
        make_lines(&l, &c, b->v + 8 * k, b->w + 8 * k, is_odd(b->negative[k]));
        make_envelope(&b->env[k], &l, b->s_most);
    }
}

void ds4_encode_iq2_xxs_best(uint8_t out[66], const float *x, const float *w)
{
    block   b;
    uint8_t t[8] = { 0 };
    float   most = 0;

    memset(out, 0, 66);
    for (int i = 0; i < 256; i++) most = fmaxf(most, fabsf(x[i]));
    if (most == 0) return;
    prepare(&b, x, w, most);
    const float d = search_unit(&b, most, t);
    if (d == 0) return;                 /* smaller than F16 can say */
    ds4_store_f16(out, d);
    for (int g = 0; g < 8; g++) {
        uint8_t *at = out + 2 + 8 * g;
        uint32_t bits = (uint32_t)t[g] << 28;
        for (int j = 0; j < 4; j++) {
            const envelope *e = &b.env[4 * g + j];
            at[j] = e->code[piece_at(e, d / most * (float)(2 * t[g] + 1))];
            bits |= (uint32_t)stored_signs(&b, 4 * g + j, at[j]) << (7 * j);
        }
        for (int j = 0; j < 4; j++) at[4 + j] = (uint8_t)(bits >> (8 * j));
    }
}
