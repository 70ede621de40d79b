/* grammar.h - which bytes may come next, so that a model's answer has a given form.
 *
 * A grammar is an automaton over bytes, made from a JSON schema, a regular expression, a list
 * of texts or a list of tools, and shared by any number of walks. A walk stands where one
 * answer is: it says whether more bytes would fit, and whether the answer may end there. From
 * every place that a walk can reach, an end can be reached.
 *
 * Making one costs at most some 50 ms, whatever it is made from: states, transitions and work
 * are bounded, and DS4_E_LIMIT names the bound. */
#ifndef DS4_TEXT_GRAMMAR_H
#define DS4_TEXT_GRAMMAR_H

#include "base/err.h"
#include "base/str.h"

typedef struct ds4_grammar      ds4_grammar;
typedef struct ds4_grammar_walk ds4_grammar_walk;

/* NULL stands for a zeroed one. */
typedef struct ds4_grammar_options {
    bool strict;                   /* refuse by name what cannot be enforced; else it is ignored */
    bool (*stop)(const void *ctx); /* asked now and then: true gives up; NULL: never */
    const void *stop_ctx;
} ds4_grammar_options;

/* A value that fits a JSON schema. Objects have their members in the order of the schema;
 * members that it does not name only where it says so. White space is limited. Values that
 * recurse end at a depth of some 90. docs/SCHEMAS.md lists what is enforced.
 *
 * Returns DS4_OK; DS4_E_UNSUPPORTED naming the keyword; DS4_E_FORMAT; DS4_E_LIMIT naming the
 * bound; DS4_E_CANCELLED; DS4_E_NOMEM.                                                  */
DS4_MUST_CHECK ds4_status ds4_grammar_from_schema(ds4_slice schema, const ds4_grammar_options *opt,
                                                  ds4_grammar **out, ds4_err *err);

/* Text of which all is matched by a regular expression: anchors at both ends are implied.
 *
 *   pattern  ECMAScript's syntax without back-references and, but for the beginning,
 *            without look-around
 *
 * Returns as ds4_grammar_from_schema().                                                 */
DS4_MUST_CHECK ds4_status ds4_grammar_from_regex(ds4_slice pattern, const ds4_grammar_options *opt,
                                                 ds4_grammar **out, ds4_err *err);

/* Any JSON object. */
DS4_MUST_CHECK ds4_status ds4_grammar_any_object(ds4_grammar **out, ds4_err *err);

/* Exactly one of the texts, a choice. Returns DS4_OK; DS4_E_LIMIT; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_grammar_one_of(const ds4_slice *texts, uint32_t n_texts,
                                             ds4_grammar **out, ds4_err *err);

/* Tool calls in the model's own markup (dsml.h), from the first tool's name to the end of
 * the block. Parameters come in the order of the schema and fit it. What cannot be enforced
 * is free, unless its tool is strict.
 *
 *   tools        [n_tools] JSON text of function objects
 *   strict       [n_tools] whether a tool's schema must be enforced as a whole; NULL: none
 *   many         more than one call may be made
 *   text_before  begin before the block instead: any text may come first, or be all    */
typedef struct ds4_grammar_calls {
    const ds4_slice *tools;
    const bool      *strict;
    uint32_t         n_tools;
    bool             many, text_before;
} ds4_grammar_calls;
DS4_MUST_CHECK ds4_status ds4_grammar_of_calls(const ds4_grammar_calls   *calls,
                                               const ds4_grammar_options *opt, ds4_grammar **out,
                                               ds4_err *err);

/* Let a block of tool calls stand in place of what the grammar says; its inside is free.
 * Before the first walk. Returns DS4_OK; DS4_E_LIMIT; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_grammar_or_calls(ds4_grammar *g, ds4_err *err);

void ds4_grammar_free(ds4_grammar *g); /* NULL is fine; after its walks */

DS4_MUST_CHECK ds4_status ds4_grammar_walk_create(const ds4_grammar *g, ds4_grammar_walk **out,
                                                  ds4_err *err);
void                      ds4_grammar_walk_free(ds4_grammar_walk *w); /* NULL is fine */

/* Would these bytes fit next? `marker` stands for the special token of tool calls, which
 * is no text. n_bytes 0 without a marker fits always. */
bool ds4_grammar_fits(ds4_grammar_walk *w, ds4_slice bytes, bool marker);

/* Bound what ds4_grammar_fits() may find out from now on: behind that it says no where it would
 * have to find out more. What was found is remembered and costs nothing again.
 *
 *   work  units of some 0.2 us; UINT32_MAX: no bound, as at first                       */
void ds4_grammar_allow(ds4_grammar_walk *w, uint32_t work);

/* Go on by bytes that fit; false, and no move, when they do not. */
bool ds4_grammar_take(ds4_grammar_walk *w, ds4_slice bytes, bool marker);

bool ds4_grammar_may_end(const ds4_grammar_walk *w);
bool ds4_grammar_must_end(const ds4_grammar_walk *w); /* nothing fits any more */

#endif
