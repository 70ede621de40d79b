/* schema.h - JSON schemas in a normal form: which values, kind by kind, fit all that is said.
 *
 * Any number of schemas may speak about one value: those that stand beside each other, behind
 * $ref, in allOf, and in one alternative of each anyOf and oneOf. A set of schemas holds what
 * must be fitted together. It is spread into leaves, one for each combination of
 * alternatives; what a leaf says about strings, numbers, arrays and objects is merged, and a
 * member or an item has a set of its own, which is looked at later. So a schema that recurses
 * has a finite number of sets, and nothing that stands beside something else is lost.
 *
 * Work is paid from the grammar that is made of it (grammar_machine.h). */
#ifndef DS4_TEXT_SCHEMA_H
#define DS4_TEXT_SCHEMA_H

#include "text/grammar_lang.h"
#include "text/grammar_number.h"
#include "text/json_tree.h"

enum {
    DS4_SCHEMA_MAX_VALUES = 100000, /* of the JSON text */
    DS4_SCHEMA_MAX_LEAVES = 1024,   /* combinations of alternatives for one value */
    DS4_SCHEMA_MAX_SETS = 32768,
    DS4_SCHEMA_MAX_TUPLE = 4096,
};

/* Kinds of values. A number with a fraction and one without are two. */
enum {
    DS4_IS_NULL = 1 << 0,
    DS4_IS_BOOLEAN = 1 << 1,
    DS4_IS_WHOLE = 1 << 2,
    DS4_IS_FRACTION = 1 << 3,
    DS4_IS_STRING = 1 << 4,
    DS4_IS_ARRAY = 1 << 5,
    DS4_IS_OBJECT = 1 << 6,
    DS4_IS_ANY = 127,
};

/* The keywords that say which values fit. */
typedef enum ds4_word {
    DS4_W_TYPE,
    DS4_W_ENUM,
    DS4_W_CONST,
    DS4_W_PROPERTIES,
    DS4_W_REQUIRED,
    DS4_W_ADDITIONAL_PROPERTIES,
    DS4_W_PATTERN_PROPERTIES,
    DS4_W_PROPERTY_NAMES,
    DS4_W_MIN_PROPERTIES,
    DS4_W_MAX_PROPERTIES,
    DS4_W_UNEVALUATED_PROPERTIES,
    DS4_W_ITEMS,
    DS4_W_PREFIX_ITEMS,
    DS4_W_ADDITIONAL_ITEMS,
    DS4_W_MIN_ITEMS,
    DS4_W_MAX_ITEMS,
    DS4_W_UNIQUE_ITEMS,
    DS4_W_MIN_LENGTH,
    DS4_W_MAX_LENGTH,
    DS4_W_PATTERN,
    DS4_W_FORMAT,
    DS4_W_MINIMUM,
    DS4_W_MAXIMUM,
    DS4_W_EXCLUSIVE_MINIMUM,
    DS4_W_EXCLUSIVE_MAXIMUM,
    DS4_W_MULTIPLE_OF,
    DS4_W_ANY_OF,
    DS4_W_ONE_OF,
    DS4_W_ALL_OF,
    DS4_W_REF,
    DS4_W_NULLABLE,
    DS4_W_NOT,
    DS4_N_WORDS,
} ds4_word;

/* The keywords of one schema: the node of each value, 0 for those it lacks. */
typedef struct ds4_words {
    uint32_t node;
    uint32_t at[DS4_N_WORDS];
    uint32_t target; /* of $ref; 0: none, or one that is ignored */
    uint8_t  kinds;  /* by type */
} ds4_words;

/* A set of schemas: nodes [first, first + n), ascending. */
typedef struct ds4_schema_set {
    uint32_t first, n, next;
} ds4_schema_set;

enum { DS4_MAX_FORCED = 4, DS4_MAX_NOTS = 4 };

/* One combination of alternatives. */
typedef struct ds4_leaf {
    uint32_t  set;   /* of schemas that must fit, but for their alternatives */
    uint32_t  nots;  /* set of schemas none of which may fit */
    uint8_t   kinds; /* that all of them allow */
    uint8_t   n_forced;
    ds4_slice forced[DS4_MAX_FORCED]; /* members that must be there to keep it apart */
} ds4_leaf;

typedef struct ds4_schema {
    ds4_json_tree tree;
    ds4_grammar  *g;
    bool          strict;
    ds4_err      *err;
    ds4_status    failed; /* the first failure; err says it */

    ds4_words *words; /* [n_words]; 0 is none */
    uint32_t   n_words, cap_words;
    uint32_t  *words_of; /* [tree.n] a node's words, 0: not read */

    ds4_schema_set *set;    /* [n_sets]; 0 is none, 1 the empty one */
    uint32_t       *member; /* [n_members] of sets */
    uint32_t        n_sets, cap_sets, n_members, cap_members, bucket[1024];

    struct {
        uint32_t  node; /* of the pattern or format */
        ds4_lang *lang; /* NULL: it is ignored */
    } * lang;
    uint32_t n_langs, cap_langs;
    uint32_t n_nots_in_each_other; /* that are being read */
} ds4_schema;

/* Read a schema. To be closed in every case. Returns DS4_OK; DS4_E_FORMAT; DS4_E_LIMIT;
 * DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_schema_open(ds4_schema *s, ds4_slice json, ds4_grammar *g,
                                          bool strict, ds4_err *err);
void                      ds4_schema_close(ds4_schema *s);

/* ---- schema.c: keywords and sets ---- */

/* Remember a failure; the first one counts. */
void ds4_schema_fail(ds4_schema *s, ds4_status code, const char *why, ds4_slice what);
/* Also the grammar's: true when there is none. */
bool ds4_schema_ok(ds4_schema *s);
/* A keyword that cannot be enforced: a failure when that is asked for. */
void ds4_schema_ignore(ds4_schema *s, ds4_slice keyword);

const ds4_words *ds4_schema_words(ds4_schema *s, uint32_t node); /* valid until the next call */

/* The set of nodes, which are sorted in place; true and repeated ones are left out. */
uint32_t ds4_schema_set_of(ds4_schema *s, uint32_t *nodes, uint32_t n);

/* ---- schema_words.c: what one keyword says ---- */

/* A count such as minItems, at most UINT32_MAX - 1; `otherwise` for what is none. */
uint32_t ds4_schema_count(const ds4_schema *s, uint32_t node, uint32_t otherwise);

/* The language of a pattern, or NULL when it is ignored; lent. */
const ds4_lang *ds4_schema_pattern(ds4_schema *s, uint32_t node);

/* Add one schema's bounds and steps to those that are demanded already. */
void ds4_schema_bounds(ds4_schema *s, const ds4_words *w, ds4_number *out);

/* Give a language to the schema, under the node of its pattern or format; lends it back. */
const ds4_lang *ds4_schema_keep_lang(ds4_schema *s, uint32_t node, ds4_lang *l);

/* ---- schema_spread.c ---- */

typedef struct ds4_leaves {
    ds4_leaf *list; /* [n]; to be freed */
    uint32_t  n, capacity;
} ds4_leaves;
void ds4_schema_spread(ds4_schema *s, uint32_t set, ds4_leaves *out);

/* ---- schema_check.c ---- */

/* Does a value of the text fit a schema, or all schemas of a leaf but for one enum, which it comes
 * from? Formats are not looked at. */
bool    ds4_schema_fits(ds4_schema *s, uint32_t value, uint32_t schema);
bool    ds4_schema_fits_leaf(ds4_schema *s, uint32_t value, uint32_t list, const ds4_leaf *leaf);
uint8_t ds4_schema_kind(const ds4_schema *s, uint32_t value);
bool    ds4_json_equal(const ds4_schema *s, uint32_t a, uint32_t b);

/* ---- schema_object.c: what must not fit ---- */

/* Leave out the kinds of values for which what must not fit would fit, and ignore what cannot be
 * kept apart. Strings and listed values are left to those who read them. */
void ds4_leaf_settle(ds4_schema *s, ds4_leaf *leaf);

/* Does a leaf say anything about values of these kinds, but that they may be? */
bool ds4_leaf_limits(ds4_schema *s, const ds4_leaf *leaf, uint8_t kinds);

/* ---- schema_merge.c: what a leaf says ---- */

/* The values that its enum and const leave: nodes in *out, to be freed. False when it has
 * neither. */
bool ds4_leaf_values(ds4_schema *s, const ds4_leaf *leaf, uint32_t **out, uint32_t *n);

/* Strings: the language of patterns and formats, NULL without them, to be freed; lengths in
 * characters, which the language includes. */
typedef struct ds4_string_form {
    ds4_lang *lang;
    uint32_t  least, most; /* UINT32_MAX: no limit */
} ds4_string_form;
void ds4_leaf_string(ds4_schema *s, const ds4_leaf *leaf, ds4_string_form *out);

/* The one pattern or format that is all a leaf says about strings, lent; NULL otherwise. */
const ds4_lang *ds4_leaf_only_lang(ds4_schema *s, const ds4_leaf *leaf);

/* Numbers: false when nothing is said. */
bool ds4_leaf_number(ds4_schema *s, uint32_t set, ds4_number *out);

typedef struct ds4_array_form {
    uint32_t *tuple; /* [n_tuple] sets of the first items; to be freed */
    uint32_t  n_tuple;
    uint32_t  rest; /* set of all others */
    uint32_t  least, most;
    bool      unique;
} ds4_array_form;
void ds4_leaf_array(ds4_schema *s, uint32_t set, ds4_array_form *out);

typedef struct ds4_member_form {
    ds4_slice name;
    uint32_t  set;
    bool      required;
} ds4_member_form;

/* Members that are not named: their names, NULL for any, and the set of their values. */
typedef struct ds4_other_form {
    ds4_lang *names;
    uint32_t  set;
} ds4_other_form;

enum { DS4_MAX_OTHERS = 16 };

typedef struct ds4_object_form {
    ds4_member_form *list; /* [n] */
    uint32_t         n;
    ds4_other_form   other[DS4_MAX_OTHERS];
    uint32_t         n_others;
    uint32_t         least, most; /* members; counted among others, or when the text is known */
    bool             impossible;
} ds4_object_form;
void ds4_leaf_object(ds4_schema *s, const ds4_leaf *leaf, ds4_object_form *out);
void ds4_object_form_clear(ds4_object_form *o);

/* ---- schema_format.c ---- */

/* The language of a format; NULL when it says nothing about the text, or when it is not known. */
const ds4_lang *ds4_schema_format(ds4_schema *s, uint32_t node, bool *known);

#endif
