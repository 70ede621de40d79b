/* grammar_json.h - the rules of JSON that grammars share, and what is being built. For the
 * grammar's own files only. */
#ifndef DS4_TEXT_GRAMMAR_JSON_H
#define DS4_TEXT_GRAMMAR_JSON_H

#include "text/grammar_lang.h"

typedef enum ds4_rule {
    DS4_RULE_SPACE,     /* nothing, one space, or a new line with its indentation */
    DS4_RULE_CHARACTER, /* of a string, or an escape */
    DS4_RULE_STRING,
    DS4_RULE_INTEGER,
    DS4_RULE_NUMBER,
    DS4_RULE_WORD, /* true, false, null */
    DS4_RULE_BOOLEAN,
    DS4_RULE_VALUE, /* any */
    DS4_RULE_PLAIN, /* any but a string */
    DS4_RULE_OBJECT,
    DS4_RULE_ARRAY,
    DS4_RULE_RAW, /* a character as UTF-8, none excluded */
    DS4_N_RULES,
} ds4_rule;

/* A grammar that is being made, and the rules that it has so far. */
typedef struct ds4_g_build {
    ds4_grammar *g;
    uint32_t     rule[DS4_N_RULES]; /* 0: not made */
    ds4_wide     wide;
} ds4_g_build;

uint32_t ds4_g_rule(ds4_g_build *b, ds4_rule rule); /* made on first use */
void     ds4_g_build_clear(ds4_g_build *b);         /* but for the grammar */

/* From a state to another by a rule. */
void ds4_g_use(ds4_g_build *b, uint32_t at, ds4_rule rule, uint32_t to);

#endif
