/* grammar_schema.h - from schemas in normal form (schema.h) to states and edges. For the
 * grammar's own files only. */
#ifndef DS4_TEXT_GRAMMAR_SCHEMA_H
#define DS4_TEXT_GRAMMAR_SCHEMA_H

#include "text/grammar_json.h"
#include "text/schema.h"

enum { DS4_G_MAX_BRANCHES = 4096 };

/* The rules of one schema's sets: each is written once, and after it was asked for. */
typedef struct ds4_g_schema {
    ds4_g_build *b;
    ds4_schema  *s;
    uint32_t    *rule;  /* [2 * cap_rules] of each set, as it is and without strings; 0: none */
    uint32_t    *queue; /* [n_queue] rules to be written: 2 * set, + 1 without strings */
    uint32_t     cap_rules, n_queue, cap_queue, n_written;
    struct {
        const ds4_lang *lang;
        bool            quoted;
        uint32_t        rule;
    } * text; /* [n_texts] rules of patterns and formats that stand alone */
    uint32_t n_texts, cap_texts;
    uint32_t n_branches; /* that a walk may have to follow at once */
} ds4_g_schema;

/* The rule of values that fit a set; it is written by ds4_g_write_rules(). */
uint32_t ds4_g_set_rule(ds4_g_schema *x, uint32_t set, bool without_strings);
void     ds4_g_write_rules(ds4_g_schema *x);
void     ds4_g_schema_clear(ds4_g_schema *x);

/* The rule of a pattern or format that stands alone: as a JSON string with its quotes, or raw. */
uint32_t ds4_g_text_rule(ds4_g_schema *x, const ds4_lang *lang, bool quoted);

/* One more alternative that a walk may follow beside others; false when there are too many. */
bool ds4_g_branch(ds4_g_schema *x);

/* The counts of members that can be told for a chain of members; what cannot is ignored.
 * `empty` tells whether there may be none at all. */
void ds4_g_check_counts(ds4_g_schema *x, ds4_object_form *o, bool *empty);

#endif
