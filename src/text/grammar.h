/* grammar.h - which bytes may come next, so that a model's answer has a given form.
 *
 * A grammar is a small program over bytes, made from a JSON schema or from a list of
 * texts, and shared by any number of walks. A walk stands where one answer is: it says
 * whether more bytes would fit, without a table over the vocabulary. */
#ifndef DS4_TEXT_GRAMMAR_H
#define DS4_TEXT_GRAMMAR_H

#include "base/err.h"
#include "base/str.h"

typedef struct ds4_grammar ds4_grammar;
typedef struct ds4_grammar_walk ds4_grammar_walk;

/* A value that fits a JSON schema. Objects have their members in the order of the schema;
 * members that it does not name only where it says so. White space is limited.
 *
 * Enforced: type, enum, const, properties, required, additionalProperties, items,
 * prefixItems, minItems, maxItems, minLength, maxLength, anyOf, oneOf, allOf of one, $ref
 * into the schema, and of minimum and maximum those that say "not negative", "positive"
 * or "a safe integer". Annotations and format mean nothing.
 *
 *   depth limit  DS4_PYJSON_MAX_DEPTH for the schema, 64 for values that recurse
 *
 * Returns DS4_OK; DS4_E_UNSUPPORTED naming the keyword; DS4_E_FORMAT; DS4_E_LIMIT when it
 * becomes too large; DS4_E_NOMEM.                                                      */
DS4_MUST_CHECK ds4_status ds4_grammar_from_schema(ds4_slice schema, ds4_grammar **out,
                                                  ds4_err *err);

/* Any JSON object. */
DS4_MUST_CHECK ds4_status ds4_grammar_any_object(ds4_grammar **out, ds4_err *err);

/* Exactly one of the texts. */
DS4_MUST_CHECK ds4_status ds4_grammar_one_of(const ds4_slice *texts, uint32_t n_texts,
                                             ds4_grammar **out, ds4_err *err);

/* Tool calls in the model's own markup (dsml.h), from the first tool's name to the end of
 * the block. Parameters come in the order of the schema and fit it as far as it can be
 * enforced; what cannot is free.
 *
 *   tools        [n_tools] JSON text of function objects
 *   many         more than one call may be made
 *   text_before  begin before the block instead: any text may come first, or be all    */
typedef struct ds4_grammar_calls {
    const ds4_slice *tools;
    uint32_t         n_tools;
    bool             many, text_before;
} ds4_grammar_calls;
DS4_MUST_CHECK ds4_status ds4_grammar_of_calls(const ds4_grammar_calls *calls, ds4_grammar **out,
                                               ds4_err *err);

/* Let a block of tool calls stand in place of what the grammar says; its inside is free.
 * Before the first walk. Returns DS4_OK; DS4_E_LIMIT; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_grammar_or_calls(ds4_grammar *g, ds4_err *err);

void ds4_grammar_free(ds4_grammar *g);          /* NULL is fine; after its walks */

DS4_MUST_CHECK ds4_status ds4_grammar_walk_create(const ds4_grammar *g, ds4_grammar_walk **out,
                                                  ds4_err *err);
void                      ds4_grammar_walk_free(ds4_grammar_walk *w);   /* NULL is fine */

/* Would these bytes fit next? `marker` stands for the special token of tool calls, which
 * is no text. n_bytes 0 without a marker fits always. */
bool ds4_grammar_fits(ds4_grammar_walk *w, ds4_slice bytes, bool marker);

/* Go on by bytes that fit; false, and no move, when they do not. */
bool ds4_grammar_take(ds4_grammar_walk *w, ds4_slice bytes, bool marker);

bool ds4_grammar_may_end(const ds4_grammar_walk *w);
bool ds4_grammar_must_end(const ds4_grammar_walk *w);   /* nothing fits any more */

#endif
