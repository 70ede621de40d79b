/* grammar_json.c - the rules of JSON as grammars. */
#include "text/grammar_build.h"

enum { MAX_SPACES = 32, MAX_DIGITS = 15 }; /* every whole number stays a safe one */

/* Nothing, one space, or a new line with its indentation: enough for any usual layout, and
 * no room for endless white space. */
uint32_t ds4_g_space(ds4_grammar *g, ds4_g_json *j)
{
    ds4_byte_set blank = { { 0 } };

    if (j->space) return j->space;
    ds4_set_add(&blank, ' ', ' ');
    ds4_set_add(&blank, '\t', '\t');
    j->space = ds4_g_here(g);
    const uint32_t any = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 2, 0);
    const uint32_t out = ds4_g_emit(g, DS4_G_RETURN, 0, 0);
    ds4_g_point(g, any, out);
    ds4_g_point_b(g, any, ds4_g_here(g));
    const uint32_t kind = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
    ds4_g_byte(g, ' ');
    ds4_g_emit(g, DS4_G_RETURN, 0, 0);
    ds4_g_point_b(g, kind, ds4_g_here(g));
    ds4_g_byte(g, '\n');
    for (int i = 0; i < MAX_SPACES; i++) {
        ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, out);
        ds4_g_set(g, &blank);
    }
    ds4_g_emit(g, DS4_G_RETURN, 0, 0);
    return j->space;
}

/* One sequence of a table of ranges, then a return. */
typedef struct sequence {
    unsigned      n;
    unsigned char range[6][2];
} sequence;

static void alternatives(ds4_grammar *g, const sequence *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const bool     last = i + 1 == n;
        const uint32_t split = last ? 0 : ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
        for (unsigned k = 0; k < list[i].n; k++) {
            ds4_g_range(g, list[i].range[k][0], list[i].range[k][1]);
        }
        ds4_g_emit(g, DS4_G_RETURN, 0, 0);
        if (!last) ds4_g_point_b(g, split, ds4_g_here(g));
    }
}

/* \uXXXX, but no half of a surrogate pair. */
static void hex_escape(ds4_grammar *g)
{
    ds4_byte_set hex = { { 0 } }, low = { { 0 } }, safe = { { 0 } };

    ds4_set_add(&hex, '0', '9');
    ds4_set_add(&hex, 'a', 'f');
    ds4_set_add(&hex, 'A', 'F');
    ds4_set_add(&low, '0', '7');
    ds4_set_add(&safe, '0', '9');
    ds4_set_add(&safe, 'a', 'c');
    ds4_set_add(&safe, 'A', 'C');
    ds4_set_add(&safe, 'e', 'f');
    ds4_set_add(&safe, 'E', 'F');
    ds4_g_byte(g, 'u');
    const uint32_t split = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
    ds4_g_set(g, &safe);
    ds4_g_set(g, &hex);
    const uint32_t join = ds4_g_emit(g, DS4_G_JUMP, 0, 0);
    ds4_g_point_b(g, split, ds4_g_here(g));
    ds4_byte_set d = { { 0 } };
    ds4_set_add(&d, 'd', 'd');
    ds4_set_add(&d, 'D', 'D');
    ds4_g_set(g, &d);
    ds4_g_set(g, &low);
    ds4_g_point(g, join, ds4_g_here(g));
    ds4_g_set(g, &hex);
    ds4_g_set(g, &hex);
    ds4_g_emit(g, DS4_G_RETURN, 0, 0);
}

/* One character inside a string: UTF-8 by Unicode's table 3-7, or an escape. */
uint32_t ds4_g_character(ds4_grammar *g, ds4_g_json *j)
{
    static const sequence utf8[] = {
        { 2, { { 0xC2, 0xDF }, { 0x80, 0xBF } } },
        { 3, { { 0xE0, 0xE0 }, { 0xA0, 0xBF }, { 0x80, 0xBF } } },
        { 3, { { 0xE1, 0xEC }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
        { 3, { { 0xED, 0xED }, { 0x80, 0x9F }, { 0x80, 0xBF } } },
        { 3, { { 0xEE, 0xEF }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
        { 4, { { 0xF0, 0xF0 }, { 0x90, 0xBF }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
        { 4, { { 0xF1, 0xF3 }, { 0x80, 0xBF }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
        { 4, { { 0xF4, 0xF4 }, { 0x80, 0x8F }, { 0x80, 0xBF }, { 0x80, 0xBF } } },
    };
    static const char simple[] = "\"\\/bfnrt";
    ds4_byte_set      plain = { { 0 } }, escape = { { 0 } };

    if (j->character) return j->character;
    ds4_set_add(&plain, 0x20, 0x21);
    ds4_set_add(&plain, 0x23, 0x5B);
    ds4_set_add(&plain, 0x5D, 0x7F);
    for (const char *c = simple; *c; c++)
        ds4_set_add(&escape, (unsigned char)*c, (unsigned char)*c);
    j->character = ds4_g_here(g);
    uint32_t split = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
    ds4_g_set(g, &plain);
    ds4_g_emit(g, DS4_G_RETURN, 0, 0);
    ds4_g_point_b(g, split, ds4_g_here(g));
    split = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
    ds4_g_byte(g, '\\');
    const uint32_t kind = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
    ds4_g_set(g, &escape);
    ds4_g_emit(g, DS4_G_RETURN, 0, 0);
    ds4_g_point_b(g, kind, ds4_g_here(g));
    hex_escape(g);
    ds4_g_point_b(g, split, ds4_g_here(g));
    alternatives(g, utf8, sizeof utf8 / sizeof *utf8);
    return j->character;
}

uint32_t ds4_g_string(ds4_grammar *g, ds4_g_json *j)
{
    if (j->string) return j->string;
    const uint32_t character = ds4_g_character(g, j);
    j->string = ds4_g_here(g);
    ds4_g_byte(g, '"');
    const uint32_t again = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
    ds4_g_emit(g, DS4_G_CALL, character, 0);
    ds4_g_emit(g, DS4_G_JUMP, again, 0);
    ds4_g_point_b(g, again, ds4_g_here(g));
    ds4_g_byte(g, '"');
    ds4_g_emit(g, DS4_G_RETURN, 0, 0);
    return j->string;
}

/* At most `most` further digits, then `out`. */
static void digits(ds4_grammar *g, int most, uint32_t out)
{
    for (int i = 0; i < most; i++) {
        ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, out);
        ds4_g_range(g, '0', '9');
    }
    ds4_g_emit(g, DS4_G_JUMP, out, 0);
}

uint32_t ds4_g_number(ds4_grammar *g, ds4_g_json *j, bool fraction)
{
    uint32_t *rule = fraction ? &j->number : &j->integer;

    if (*rule) return *rule;
    const uint32_t entry = ds4_g_emit(g, DS4_G_JUMP, 0, 0);
    const uint32_t end = ds4_g_emit(g, DS4_G_RETURN, 0, 0);
    uint32_t       tail = end;
    if (fraction) {
        ds4_byte_set e = { { 0 } }, sign = { { 0 } };
        ds4_set_add(&e, 'e', 'e');
        ds4_set_add(&e, 'E', 'E');
        ds4_set_add(&sign, '+', '+');
        ds4_set_add(&sign, '-', '-');
        const uint32_t power = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, end);
        ds4_g_set(g, &e);
        const uint32_t has_sign = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
        ds4_g_set(g, &sign);
        ds4_g_point_b(g, has_sign, ds4_g_here(g));
        ds4_g_range(g, '0', '9');
        digits(g, 1, end);
        tail = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, power);
        ds4_g_byte(g, '.');
        ds4_g_range(g, '0', '9');
        digits(g, MAX_DIGITS, power);
    }
    *rule = ds4_g_here(g);
    ds4_g_point(g, entry, *rule);
    const uint32_t minus = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
    ds4_g_byte(g, '-');
    ds4_g_point_b(g, minus, ds4_g_here(g));
    const uint32_t zero = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
    ds4_g_byte(g, '0');
    ds4_g_emit(g, DS4_G_JUMP, tail, 0);
    ds4_g_point_b(g, zero, ds4_g_here(g));
    ds4_g_range(g, '1', '9');
    digits(g, MAX_DIGITS - 1, tail);
    return *rule;
}

/* Entries between brackets: any number, or none. `key` 0: an array. */
static void entries(ds4_grammar *g, ds4_g_json *j, uint32_t key, uint32_t value, char close)
{
    const uint32_t space = ds4_g_space(g, j);
    const uint32_t none = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
    const uint32_t again = ds4_g_here(g);

    ds4_g_emit(g, DS4_G_CALL, space, 0);
    if (key) {
        ds4_g_emit(g, DS4_G_CALL, key, 0);
        ds4_g_byte(g, ':');
        ds4_g_emit(g, DS4_G_CALL, space, 0);
    }
    ds4_g_emit(g, DS4_G_CALL, value, 0);
    const uint32_t more = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
    ds4_g_byte(g, ',');
    ds4_g_emit(g, DS4_G_JUMP, again, 0);
    ds4_g_point_b(g, more, ds4_g_here(g));
    ds4_g_emit(g, DS4_G_CALL, space, 0);
    ds4_g_point_b(g, none, ds4_g_here(g));
    ds4_g_byte(g, (unsigned char)close);
}

uint32_t ds4_g_value(ds4_grammar *g, ds4_g_json *j)
{
    static const char *const words[] = { "true", "false", "null" };

    if (j->value) return j->value;
    ds4_g_space(g, j);
    const uint32_t parts[] = { ds4_g_string(g, j), ds4_g_number(g, j, true) };
    j->value = ds4_g_here(g);
    const uint32_t value = j->value;
    for (int i = 0; i < 2; i++) {
        const uint32_t split = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
        ds4_g_emit(g, DS4_G_JUMP, parts[i], 0);
        ds4_g_point_b(g, split, ds4_g_here(g));
    }
    for (int i = 0; i < 3; i++) {
        const uint32_t split = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
        ds4_g_literal(g, words[i]);
        ds4_g_emit(g, DS4_G_RETURN, 0, 0);
        ds4_g_point_b(g, split, ds4_g_here(g));
    }
    const uint32_t split = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
    ds4_g_byte(g, '[');
    entries(g, j, 0, value, ']');
    ds4_g_emit(g, DS4_G_RETURN, 0, 0);
    ds4_g_point_b(g, split, ds4_g_here(g));
    j->object = ds4_g_here(g);
    ds4_g_byte(g, '{');
    entries(g, j, j->string, value, '}');
    ds4_g_emit(g, DS4_G_RETURN, 0, 0);
    return j->value;
}

uint32_t ds4_g_object(ds4_grammar *g, ds4_g_json *j)
{
    ds4_g_value(g, j);
    return j->object;
}

ds4_status ds4_grammar_any_object(ds4_grammar **out, ds4_err *err)
{
    ds4_grammar *g = NULL;
    ds4_g_json   j = { 0 };

    DS4_TRY(ds4_g_new(&g, err));
    g->start = ds4_g_object(g, &j);
    return ds4_g_finish(g, out, err);
}
