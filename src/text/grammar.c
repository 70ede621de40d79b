/* grammar.c - grammars that are made from something else than a schema or tools. */
#include "text/grammar_json.h"

/* The grammar of a language, which is given up. */
static ds4_status of_language(ds4_g_build *b, ds4_lang *l, ds4_grammar **out, ds4_err *err)
{
    b->g->start = ds4_g_state_new(b->g);
    const uint32_t end = ds4_g_state_new(b->g);
    ds4_g_end(b->g, end);
    ds4_lang_write(b->g, &b->wide, l, false, b->g->start, end);
    ds4_lang_free(l);
    ds4_g_build_clear(b);
    return ds4_g_finish(b->g, out, err);
}

ds4_status ds4_grammar_from_regex(ds4_slice pattern, const ds4_grammar_options *opt,
                                  ds4_grammar **out, ds4_err *err)
{
    ds4_g_build b = { .g = NULL };
    ds4_lang   *l = NULL;

    DS4_TRY(ds4_g_new(opt, &b.g, err));
    ds4_status st = ds4_lang_from_regex(b.g, pattern, true, &l, err);
    if (st == DS4_OK && l->n_states == 0) {
        ds4_lang_free(l);
        st = ds4_fail(err, DS4_E_FORMAT, "no text can fit the pattern");
    }
    if (st == DS4_OK) return of_language(&b, l, out, err);
    ds4_g_build_clear(&b);
    ds4_grammar_free(b.g);
    return st;
}

ds4_status ds4_grammar_one_of(const ds4_slice *texts, uint32_t n_texts, ds4_grammar **out,
                              ds4_err *err)
{
    ds4_g_build b = { .g = NULL };
    ds4_lang   *l = NULL;

    DS4_TRY(ds4_g_new(NULL, &b.g, err));
    const ds4_status st = ds4_lang_of_texts(b.g, texts, n_texts, &l, err);
    if (st == DS4_OK) return of_language(&b, l, out, err);
    ds4_grammar_free(b.g);
    return st;
}

ds4_status ds4_grammar_any_object(ds4_grammar **out, ds4_err *err)
{
    ds4_g_build b = { .g = NULL };

    DS4_TRY(ds4_g_new(NULL, &b.g, err));
    b.g->start = ds4_g_rule(&b, DS4_RULE_OBJECT);
    ds4_g_build_clear(&b);
    return ds4_g_finish(b.g, out, err);
}

ds4_status ds4_grammar_or_calls(ds4_grammar *g, ds4_err *err)
{
    const uint32_t either = ds4_g_state_new(g), tag = ds4_g_state_new(g), end = ds4_g_state_new(g);

    ds4_g_go(g, either, g->start);
    ds4_g_marker(g, ds4_g_literal(g, either, "\n\n<"), tag);
    const uint32_t inside = ds4_g_literal(g, tag, "tool_calls>");
    ds4_g_bytes(g, inside, 0, 255, inside);
    ds4_g_marker(g, inside, inside);
    ds4_g_go(g, inside, end);
    ds4_g_end(g, end);
    g->start = either;
    return ds4_g_analyse(g, err);
}
