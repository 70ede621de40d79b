/* grammar_build.h - the program that a grammar is, and how it is put together.
 *
 * Instructions follow each other; alternatives are splits, repetition is a jump back, and
 * what may recurse is called. For the grammar's own files only. */
#ifndef DS4_TEXT_GRAMMAR_BUILD_H
#define DS4_TEXT_GRAMMAR_BUILD_H

#include "text/grammar.h"

enum { DS4_GRAMMAR_MAX_CODE = 1 << 18, DS4_GRAMMAR_MAX_SETS = 4096 };

typedef enum ds4_grammar_op {
    DS4_G_BYTE,   /* one byte of set a, then the next instruction */
    DS4_G_MARKER, /* the special token of tool calls, then the next */
    DS4_G_SPLIT,  /* go on at a and at b */
    DS4_G_JUMP,   /* go on at a */
    DS4_G_CALL,   /* go on at a; its return is the next instruction */
    DS4_G_RETURN, /* from the outermost rule: the end */
} ds4_grammar_op;

typedef struct ds4_grammar_code {
    ds4_grammar_op op;
    uint32_t       a, b;
} ds4_grammar_code;

typedef struct ds4_byte_set {
    uint64_t bits[4];
} ds4_byte_set;

/* Also used while it is being built. Appending remembers the first failure. */
struct ds4_grammar {
    ds4_grammar_code *code; /* [n_code] */
    ds4_byte_set     *set;  /* [n_sets] */
    uint32_t          n_code, cap_code, n_sets, cap_sets;
    uint32_t          start;
    ds4_status        failed; /* DS4_OK, DS4_E_NOMEM or DS4_E_LIMIT */
};

uint32_t ds4_g_emit(ds4_grammar *g, ds4_grammar_op op, uint32_t a, uint32_t b); /* its place */
uint32_t ds4_g_here(const ds4_grammar *g); /* place of the next instruction */
void     ds4_g_point(ds4_grammar *g, uint32_t at, uint32_t target);   /* set .a */
void     ds4_g_point_b(ds4_grammar *g, uint32_t at, uint32_t target); /* set .b */

void ds4_g_byte(ds4_grammar *g, unsigned char byte);
void ds4_g_range(ds4_grammar *g, unsigned char from, unsigned char to);
void ds4_g_set(ds4_grammar *g, const ds4_byte_set *set);
void ds4_g_text(ds4_grammar *g, ds4_slice text);
void ds4_g_literal(ds4_grammar *g, const char *text);
void ds4_set_add(ds4_byte_set *set, unsigned char from, unsigned char to);

/* The rules of JSON, made on first use. */
typedef struct ds4_g_json {
    uint32_t space, character, string, number, integer, value, object; /* 0: not made */
} ds4_g_json;
uint32_t ds4_g_space(ds4_grammar *g, ds4_g_json *j);
uint32_t ds4_g_character(ds4_grammar *g, ds4_g_json *j);
uint32_t ds4_g_string(ds4_grammar *g, ds4_g_json *j);
uint32_t ds4_g_number(ds4_grammar *g, ds4_g_json *j, bool fraction);
uint32_t ds4_g_value(ds4_grammar *g, ds4_g_json *j);
uint32_t ds4_g_object(ds4_grammar *g, ds4_g_json *j);

/* Append code for a value that fits a schema; `defs` is the whole schema, for $ref. */
typedef struct ds4_g_schema {
    ds4_grammar *g;
    ds4_g_json   json;
    ds4_slice    root;
    struct {
        ds4_slice pointer;
        uint32_t  rule;
    } * refs; /* [n_refs] rules of $ref targets */
    uint32_t n_refs, cap_refs, depth;
} ds4_g_schema;
DS4_MUST_CHECK ds4_status ds4_g_schema_value(ds4_g_schema *s, ds4_slice schema, ds4_err *err);
void                      ds4_g_schema_clear(ds4_g_schema *s);

DS4_MUST_CHECK ds4_status ds4_g_finish(ds4_grammar *g, ds4_grammar **out, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_g_new(ds4_grammar **out, ds4_err *err);

#endif
