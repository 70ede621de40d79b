/* matcher.c - see matcher.h. */
#include "agent/matcher.h"

#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MOST_STEPS = 2000000, MOST_HEAP_KIB = 16384, MOST_DEPTH = 100000 };

struct ds4_matcher {
    pcre2_code          *code;
    pcre2_match_data    *data;
    pcre2_match_context *limits;
};

ds4_status ds4_matcher_create(ds4_matcher **out, ds4_slice pattern, bool regex, bool ignore_case,
                              ds4_err *err)
{
    int            number = 0;
    PCRE2_SIZE     where = 0;
    const uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | (ignore_case ? PCRE2_CASELESS : 0) |
                             (regex ? PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C : PCRE2_LITERAL);

    if (pattern.n_bytes == 0 || pattern.n_bytes > DS4_MATCHER_MAX_PATTERN)
        return ds4_fail(err, DS4_E_LIMIT, "a pattern has 1 to %d bytes", DS4_MATCHER_MAX_PATTERN);
    ds4_matcher *m = calloc(1, sizeof *m);
    if (!m) return ds4_fail(err, DS4_E_NOMEM, "no memory for a pattern");
    m->code = pcre2_compile((PCRE2_SPTR)pattern.data, pattern.n_bytes, options, &number, &where, NULL);
    if (!m->code) {
        PCRE2_UCHAR why[160] = { 0 };
        pcre2_get_error_message(number, why, sizeof why);
        ds4_matcher_free(m);
        return ds4_fail(err, DS4_E_FORMAT, "the pattern is wrong at its byte %zu: %s", (size_t)where,
                        (char *)why);
    }
    m->data = pcre2_match_data_create(1, NULL);
    m->limits = pcre2_match_context_create(NULL);
    if (!m->data || !m->limits) {
        ds4_matcher_free(m);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a pattern");
    }
    pcre2_set_match_limit(m->limits, MOST_STEPS);
    pcre2_set_heap_limit(m->limits, MOST_HEAP_KIB);
    pcre2_set_depth_limit(m->limits, MOST_DEPTH);
    *out = m;
    return DS4_OK;
}

void ds4_matcher_free(ds4_matcher *m)
{
    if (!m) return;
    pcre2_match_context_free(m->limits);
    pcre2_match_data_free(m->data);
    pcre2_code_free(m->code);
    free(m);
}

int ds4_matcher_find(ds4_matcher *m, ds4_slice text, size_t from, size_t *begin, size_t *end)
{
    const int rc = pcre2_match(m->code, (PCRE2_SPTR)text.data, text.n_bytes, from, 0, m->data, m->limits);

    if (rc == PCRE2_ERROR_NOMATCH) return 0;
    if (rc < 0) return -1;
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m->data);
    *begin = at[0] < at[1] ? at[0] : at[1];         /* \K in a lookahead may turn them round */
    *end = at[0] < at[1] ? at[1] : at[0];
    return 1;
}
