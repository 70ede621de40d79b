/* grammar_number.h - numbers between bounds and multiples of a step, as a language of digits. */
#ifndef DS4_TEXT_GRAMMAR_NUMBER_H
#define DS4_TEXT_GRAMMAR_NUMBER_H

#include "text/grammar_lang.h"

enum {
    DS4_NUMBER_DIGITS = 15,     /* so many are exact in a double */
    DS4_DECIMAL_MAX = 40,       /* digits of a bound on each side of its point */
    DS4_NUMBER_MAX_STEP = 4096, /* of a step's digits without its point */
};

/* A decimal number: digits in front of the point without zeros at their beginning, and behind
 * it without zeros at their end. Zero has none and is not negative. */
typedef struct ds4_decimal {
    bool    negative;
    uint8_t n_whole, n_fraction;
    char    whole[DS4_DECIMAL_MAX], fraction[DS4_DECIMAL_MAX];
} ds4_decimal;

/* Read the text of a JSON number. False when it has too many digits; what is too close to
 * zero becomes zero, with *inexact. */
bool ds4_decimal_read(ds4_slice json, ds4_decimal *out, bool *inexact);
int  ds4_decimal_compare(const ds4_decimal *a, const ds4_decimal *b); /* < 0, 0, > 0 */

typedef struct ds4_number {
    bool        integer;  /* no point */
    bool        fraction; /* no whole number */
    bool        has_low, has_high;
    bool        low_open, high_open; /* the bound itself does not count */
    ds4_decimal low, high;
    uint32_t    step, step_scale; /* a multiple of step / 10^step_scale; 0: any */
} ds4_number;

/* Demand one more thing; what is demanded already stays. */
void ds4_number_add_low(ds4_number *n, const ds4_decimal *bound, bool open);
void ds4_number_add_high(ds4_number *n, const ds4_decimal *bound, bool open);
bool ds4_number_add_step(ds4_number *n, ds4_slice json); /* false: none that can be counted */

bool ds4_number_has(const ds4_number *n, ds4_slice json); /* any spelling of a number */

/* Written plainly, without an exponent, with at most some 15 digits. Returns DS4_OK, also for
 * an empty language; g's failure. */
DS4_MUST_CHECK ds4_status ds4_number_language(ds4_grammar *g, const ds4_number *n, ds4_lang **out,
                                              ds4_err *err);

#endif
