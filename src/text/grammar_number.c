/* grammar_number.c - see grammar_number.h. The digits are read from the left; a state knows how
 * the number so far compares with both bounds and what it leaves when divided by the step. */
#include "text/grammar_number.h"

#include <stdlib.h>
#include <string.h>

/* ---- decimal numbers ------------------------------------------------------------------------ */

/* All digits of a JSON number, and where its point is once the exponent has moved it. */
typedef struct digits {
    char digit[2 * DS4_DECIMAL_MAX];
    long n, point;
} digits;

static bool collect(ds4_slice json, digits *d)
{
    long exponent = 0, sign = 1;
    bool behind = false;

    *d = (digits){ 0 };
    for (size_t i = 0; i < json.n_bytes; i++) {
        const char c = json.data[i];
        if (c == '.') behind = true;
        if (c == 'e' || c == 'E') {
            for (i++; i < json.n_bytes; i++) {
                if (json.data[i] == '-') sign = -1;
                if (json.data[i] < '0' || json.data[i] > '9') continue;
                if (exponent < 100000) exponent = exponent * 10 + (json.data[i] - '0');
            }
        } else if (c >= '0' && c <= '9') {
            if (!behind && (d->n > 0 || c != '0')) d->point++;
            if (behind && d->n == 0 && c == '0') d->point--;
            if (d->n == 0 && c == '0') continue;
            if (d->n == 2 * DS4_DECIMAL_MAX) return false;
            d->digit[d->n++] = c;
        }
    }
    d->point += sign * exponent;
    while (d->n > 0 && d->digit[d->n - 1] == '0') d->n--;
    return true;
}

bool ds4_decimal_read(ds4_slice json, ds4_decimal *out, bool *inexact)
{
    digits d;

    *out = (ds4_decimal){ 0 };
    *inexact = false;
    if (!collect(json, &d)) return false;
    if (d.n == 0) return true;
    if (d.n - d.point > DS4_DECIMAL_MAX) {
        *inexact = true;
        return true;
    }
    if (d.point > DS4_DECIMAL_MAX) return false;
    out->negative = json.data[0] == '-';
    for (long i = 0; i < d.point; i++) out->whole[out->n_whole++] = i < d.n ? d.digit[i] : '0';
    for (long i = d.point; i < d.n; i++) {
        out->fraction[out->n_fraction++] = i < 0 ? '0' : d.digit[i];
    }
    return true;
}

static int compare_sizes(const ds4_decimal *a, const ds4_decimal *b)
{
    if (a->n_whole != b->n_whole) return a->n_whole < b->n_whole ? -1 : 1;
    const int whole = memcmp(a->whole, b->whole, a->n_whole);
    if (whole != 0) return whole;
    return memcmp(a->fraction, b->fraction, sizeof a->fraction);
}

int ds4_decimal_compare(const ds4_decimal *a, const ds4_decimal *b)
{
    if (a->negative != b->negative) return a->negative ? -1 : 1;
    const int sizes = compare_sizes(a, b);
    return a->negative ? -sizes : sizes;
}

/* ---- demands -------------------------------------------------------------------------------- */

void ds4_number_add_low(ds4_number *n, const ds4_decimal *bound, bool open)
{
    const int c = n->has_low ? ds4_decimal_compare(bound, &n->low) : 1;

    if (c < 0) return;
    n->low_open = c == 0 ? n->low_open || open : open;
    n->low = *bound;
    n->has_low = true;
}

void ds4_number_add_high(ds4_number *n, const ds4_decimal *bound, bool open)
{
    const int c = n->has_high ? ds4_decimal_compare(bound, &n->high) : -1;

    if (c > 0) return;
    n->high_open = c == 0 ? n->high_open || open : open;
    n->high = *bound;
    n->has_high = true;
}

static uint64_t greatest_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The decimal without its point; false when it is larger than a step may be. */
static bool step_of(const ds4_decimal *d, uint32_t scale, uint64_t *out)
{
    *out = 0;
    for (uint32_t i = 0; i < d->n_whole + scale; i++) {
        const uint32_t f = i - d->n_whole;
        const char     c = i < d->n_whole ? d->whole[i] : f < d->n_fraction ? d->fraction[f] : '0';
        *out = *out * 10 + (uint64_t)(c - '0');
        if (*out > 1000000000) return false;
    }
    return *out > 0;
}

bool ds4_number_add_step(ds4_number *n, ds4_slice json)
{
    ds4_decimal d;
    uint64_t    step = 0, old = n->step;
    bool        inexact;

    if (!ds4_decimal_read(json, &d, &inexact) || inexact || d.negative) return false;
    const uint32_t scale = d.n_fraction > n->step_scale ? d.n_fraction : n->step_scale;
    if (scale > 9 || !step_of(&d, scale, &step)) return false;
    for (uint32_t i = n->step_scale; old && i < scale; i++) old *= 10;
    if (old) step = step / greatest_divisor(step, old) * old;
    if (step > DS4_NUMBER_MAX_STEP) return false;
    n->step = (uint32_t)step;
    n->step_scale = scale;
    return true;
}

static bool is_multiple(const ds4_decimal *d, uint32_t step, uint32_t scale)
{
    uint64_t rest = 0;

    if (d->n_fraction > scale) return false;
    for (uint32_t i = 0; i < d->n_whole; i++) {
        rest = (rest * 10 + (uint64_t)(d->whole[i] - '0')) % step;
    }
    for (uint32_t i = 0; i < scale; i++) {
        const char c = i < d->n_fraction ? d->fraction[i] : '0';
        rest = (rest * 10 + (uint64_t)(c - '0')) % step;
    }
    return rest == 0;
}

bool ds4_number_has(const ds4_number *n, ds4_slice json)
{
    ds4_decimal d;
    bool        inexact;

    if (!ds4_decimal_read(json, &d, &inexact)) { /* beyond all bounds that can be read */
        return n->step == 0 && !(json.data[0] == '-' ? n->has_low : n->has_high);
    }
    if (n->integer && d.n_fraction > 0) return false;
    if (n->fraction && d.n_fraction == 0) return false;
    const int low = n->has_low ? ds4_decimal_compare(&d, &n->low) : 1;
    const int high = n->has_high ? ds4_decimal_compare(&d, &n->high) : -1;
    if (low < 0 || (low == 0 && n->low_open)) return false;
    if (high > 0 || (high == 0 && n->high_open)) return false;
    return n->step == 0 || is_multiple(&d, n->step, n->step_scale);
}

/* ---- digits --------------------------------------------------------------------------------- */

typedef enum phase {
    PHASE_BEGIN, /* nothing so far */
    PHASE_SIGN,  /* a minus */
    PHASE_ZERO,  /* a zero in front of the point */
    PHASE_WHOLE,
    PHASE_POINT,
    PHASE_FRACTION,
} phase;

/* Sizes of numbers with one sign: from `low` to `high`; NULL: no bound. */
typedef struct interval {
    const ds4_decimal *low, *high;
    bool               low_open, high_open, empty;
} interval;

/* A number so far compares with a bound as -1, 0 or 1, in front of the point digit by digit
 * until the counts are known, and LONGER when it has more digits there. */
enum { LONGER = 2, BUCKETS = 512, MOST_WHOLE = 20 };

typedef struct place {
    uint8_t  phase, negative, n_whole, n_fraction;
    int8_t   low, high;
    uint8_t  fits;     /* the number so far is a multiple of the step */
    uint8_t  fraction; /* it is no whole number, where that counts */
    uint32_t left;     /* ten times what it leaves when divided by the step, as that counts */
} place;

typedef struct explorer {
    ds4_grammar      *g;
    const ds4_number *n;
    interval          part[2]; /* numbers without and with a minus */
    place            *list;
    uint32_t         *next; /* [n_list] place in the bucket, + 1 */
    uint32_t          n_list, capacity, cap_next, bucket[BUCKETS];
    ds4_lang         *l;
} explorer;

static const ds4_decimal ZERO = { 0 };

/* Sizes that may follow no minus, and sizes that may follow one: zero is none of these. */
static void split_at_zero(explorer *e)
{
    const ds4_number *n = e->n;
    interval         *plus = &e->part[0], *minus = &e->part[1];

    *plus = (interval){ .high = n->has_high ? &n->high : NULL, .high_open = n->high_open };
    if (n->has_low && !n->low.negative) {
        plus->low = &n->low;
        plus->low_open = n->low_open;
    }
    plus->empty = n->has_high && n->high.negative;
    *minus = (interval){ .low = &ZERO, .low_open = true };
    if (n->has_high && n->high.negative) {
        minus->low = &n->high;
        minus->low_open = n->high_open;
    }
    if (n->has_low) {
        minus->high = &n->low;
        minus->high_open = n->low_open;
    }
    minus->empty = n->has_low && !n->low.negative;
}

static int8_t order(int a, int b)
{
    return (int8_t)(a < b ? -1 : a > b);
}

static int8_t compare_whole(const ds4_decimal *bound, int8_t so_far, uint32_t i, char digit)
{
    if (!bound) return 0;
    if (i >= bound->n_whole) return LONGER;
    return i > 0 && so_far != 0 ? so_far : order(digit, bound->whole[i]);
}

/* Behind the last digit in front of the point. */
static int8_t settle_whole(const ds4_decimal *bound, int8_t so_far, uint32_t n_whole)
{
    if (!bound) return 0;
    return n_whole < bound->n_whole ? -1 : so_far == LONGER ? 1 : so_far;
}

static int8_t compare_fraction(const ds4_decimal *bound, int8_t so_far, uint32_t i, char digit)
{
    if (!bound || so_far != 0) return so_far;
    return order(digit, i < bound->n_fraction ? bound->fraction[i] : '0');
}

/* Behind the last digit: a bound that has more digits is larger, for its last is no zero. */
static int8_t settle(const ds4_decimal *bound, const place *p, int8_t so_far)
{
    if (!bound) return 0;
    if (p->phase != PHASE_FRACTION) so_far = settle_whole(bound, so_far, p->n_whole);
    return so_far == 0 && p->n_fraction < bound->n_fraction ? -1 : so_far;
}

static bool place_accepts(const explorer *e, const place *p)
{
    const interval *in = &e->part[p->negative];
    const int8_t    low = settle(in->low, p, p->low), high = settle(in->high, p, p->high);

    if (p->phase != PHASE_ZERO && p->phase != PHASE_WHOLE && p->phase != PHASE_FRACTION)
        return false;
    if (in->low && (low < 0 || (low == 0 && in->low_open))) return false;
    if (in->high && (high > 0 || (high == 0 && in->high_open))) return false;
    return p->fits && (p->fraction || !e->n->fraction);
}

/* Division goes on with each digit, and stops to matter behind the step's own digits. */
static void divide(const explorer *e, place *p, char digit)
{
    const uint32_t step = e->n->step;

    p->fits = true;
    if (step == 0) return;
    const uint32_t left = (p->left + (uint32_t)(digit - '0')) % step;
    uint32_t       whole = left;
    for (uint32_t i = p->n_fraction; i < e->n->step_scale; i++) whole = whole * 10 % step;
    p->fits = whole == 0;
    p->left = left * 10 % step;
}

static uint32_t digits_of(const ds4_decimal *d)
{
    return d ? d->n_whole + d->n_fraction + 1u : 0;
}

/* A lower bound may demand more digits than are exact, but not any number of them. */
static uint32_t whole_digits(const ds4_decimal *low)
{
    return low->n_whole < MOST_WHOLE ? low->n_whole + 1u : MOST_WHOLE;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Find the state that a character leads to; false when there is none. */
static bool go(const explorer *e, const place *from, char c, place *to)
{
    const interval *in = &e->part[from->negative];
    const uint32_t  most_whole = larger(DS4_NUMBER_DIGITS, in->low ? whole_digits(in->low) : 0);
    const uint32_t  most =
        larger(DS4_NUMBER_DIGITS, larger(digits_of(in->low), digits_of(in->high)));

    *to = *from;
    if (c == '-') {
        to->phase = PHASE_SIGN;
        to->negative = true;
        return from->phase == PHASE_BEGIN && !e->part[1].empty;
    }
    if (from->phase == PHASE_BEGIN && in->empty) return false;
    if (c == '.') {
        to->phase = PHASE_POINT;
        to->low = settle_whole(in->low, from->low, from->n_whole);
        to->high = settle_whole(in->high, from->high, from->n_whole);
        return (from->phase == PHASE_ZERO || from->phase == PHASE_WHOLE) && !e->n->integer;
    }
    switch ((phase)from->phase) {
    case PHASE_BEGIN:
    case PHASE_SIGN: to->phase = c == '0' ? PHASE_ZERO : PHASE_WHOLE; break;
    case PHASE_ZERO: return false;
    case PHASE_WHOLE:
        if (from->n_whole >= most_whole) return false;
        break;
    case PHASE_POINT:
    case PHASE_FRACTION:
        if (from->n_whole + from->n_fraction >= (int)most) return false;
        if (e->n->step && from->n_fraction >= e->n->step_scale) return false;
        to->low = compare_fraction(in->low, from->low, from->n_fraction, c);
        to->high = compare_fraction(in->high, from->high, from->n_fraction, c);
        to->phase = PHASE_FRACTION;
        to->n_fraction++;
        to->fraction |= e->n->fraction && c != '0';
        break;
    }
    if (to->phase == PHASE_WHOLE) {
        to->low = compare_whole(in->low, from->low, from->n_whole, c);
        to->high = compare_whole(in->high, from->high, from->n_whole, c);
        to->n_whole++;
    }
    divide(e, to, c);
    return true;
}

/* ---- exploring ------------------------------------------------------------------------------ */

static uint32_t place_number(explorer *e, const place *p)
{
    const unsigned char *bytes = (const unsigned char *)p;
    uint32_t             h = 2166136261u;

    for (size_t i = 0; i < sizeof *p; i++) h = (h ^ bytes[i]) * 16777619u;
    uint32_t *bucket = &e->bucket[h % BUCKETS];
    for (uint32_t i = *bucket; i && ds4_g_pay(e->g, 1); i = e->next[i - 1]) {
        if (memcmp(&e->list[i - 1], p, sizeof *p) == 0) return i - 1;
    }
    if (e->n_list == DS4_LANG_MAX_STATES) {
        ds4_g_give_up(e->g, DS4_E_LIMIT, "a number's bounds and steps need more than 8192 states");
    }
    if (!ds4_g_pay(e->g, 2)) return 0;
    void *list = ds4_g_room(e->g, e->list, e->n_list, &e->capacity, sizeof *e->list);
    if (list) e->list = list;
    void *next = ds4_g_room(e->g, e->next, e->n_list, &e->cap_next, sizeof *e->next);
    if (next) e->next = next;
    if (!list || !next) return 0;
    e->list[e->n_list] = *p;
    e->next[e->n_list] = *bucket;
    *bucket = ++e->n_list;
    return e->n_list - 1;
}

static void explore(explorer *e, uint32_t number)
{
    static const char CHARACTERS[] = "-.0123456789"; /* ascending */
    const place       from = e->list[number];
    place             to;

    ds4_lang_add_state(e->g, e->l, place_accepts(e, &from));
    for (const char *c = CHARACTERS; *c && e->g->failed == DS4_OK; c++) {
        if (!go(e, &from, *c, &to)) continue;
        const uint32_t at = place_number(e, &to);
        ds4_lang_add_edge(e->g, e->l, (ds4_lang_edge){ (uint32_t)*c, (uint32_t)*c, at });
    }
}

ds4_status ds4_number_language(ds4_grammar *g, const ds4_number *n, ds4_lang **out, ds4_err *err)
{
    explorer e = { .g = g, .n = n, .l = calloc(1, sizeof *e.l) };
    place    begin;

    memset(&begin, 0, sizeof begin);
    if (!e.l) ds4_g_give_up(g, DS4_E_NOMEM, "no memory for a grammar");
    split_at_zero(&e);
    if (g->failed == DS4_OK) place_number(&e, &begin);
    for (uint32_t i = 0; i < e.n_list && g->failed == DS4_OK; i++) explore(&e, i);
    if (g->failed == DS4_OK) ds4_lang_trim(g, e.l);
    free(e.list);
    free(e.next);
    if (g->failed != DS4_OK) {
        ds4_lang_free(e.l);
        return ds4_fail(err, g->failed, "%s", g->why);
    }
    *out = e.l;
    return DS4_OK;
}
