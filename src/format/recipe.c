/* recipe.c - see recipe.h. */
#include "format/recipe.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "format/encode.h"

enum { MAX_LINE = 256, MAX_LAYER = 1023 };

/* ---- patterns ------------------------------------------------------------------------------ */

/* Does the whole name fit? A star is tried with ever more characters, and only the last star has
 * to be tried again, so that the cost is the product of both lengths at most. */
static bool fits(const char *pattern, const char *name)
{
    const char *star = NULL, *from = NULL;

    while (*name) {
        if (*pattern == '*') {
            star = ++pattern;
            from = name;
        } else if (*pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star;
            name = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*') pattern++;
    return *pattern == 0;
}

static bool covers(const ds4_recipe_rule *rule, uint32_t layer)
{
    if (rule->first == 0 && rule->last == DS4_RECIPE_MTP) return true;
    return layer >= rule->first && layer <= rule->last;
}

bool ds4_recipe_type(ds4_recipe *r, const char *base, uint32_t layer, uint32_t *dtype)
{
    ds4_recipe_rule *last = NULL;

    for (uint32_t i = 0; i < r->n_rules; i++) {
        if (!fits(r->rules[i].pattern, base)) continue;
        r->rules[i].used = true;        /* by a name: whether the model has that layer is another question */
        if (covers(&r->rules[i], layer)) last = &r->rules[i];
    }
    if (!last) return false;
    *dtype = last->dtype;
    return true;
}

ds4_status ds4_recipe_check_used(const ds4_recipe *r, ds4_err *err)
{
    for (uint32_t i = 0; i < r->n_rules; i++) {
        const ds4_recipe_rule *rule = &r->rules[i];
        if (rule->used || rule->line == 0) continue;
        return ds4_fail(err, DS4_E_FORMAT, "%s: line %u: no tensor of the model is called \"%s\"", r->name,
                        rule->line, rule->pattern);
    }
    return DS4_OK;
}

bool ds4_recipe_add(ds4_recipe *r, const char *pattern, uint32_t dtype)
{
    if (r->n_rules == DS4_RECIPE_MAX_RULES || strlen(pattern) >= sizeof r->rules[0].pattern) return false;
    ds4_recipe_rule *rule = &r->rules[r->n_rules++];
    *rule = (ds4_recipe_rule){ .dtype = dtype, .last = DS4_RECIPE_MTP };
    strcpy(rule->pattern, pattern);
    return true;
}

/* ---- text ------------------------------------------------------------------------------------ */

static bool type_by_name(const char *name, uint32_t *dtype)
{
    for (uint32_t id = 0; id < DS4_N_DTYPE; id++) {
        const ds4_dtype_info *info = ds4_dtype_get(id);
        if (!info || strcasecmp(info->name, name) != 0 || !ds4_can_encode(id)) continue;
        *dtype = id;
        return true;
    }
    return false;
}

/* A whole decimal number, digits only, at most four of them. */
static bool parse_number(const char *text, uint32_t most, uint32_t *out)
{
    uint32_t value = 0;
    size_t   n = 0;

    for (; text[n] >= '0' && text[n] <= '9' && n < 5; n++) value = 10 * value + (uint32_t)(text[n] - '0');
    if (n == 0 || text[n] != 0 || value > most) return false;
    *out = value;
    return true;
}

/* "7", "37-42" or "mtp". */
static bool parse_layers(const char *text, ds4_recipe_rule *rule)
{
    char        first[16];
    uint32_t    from, to;
    const char *dash = strchr(text, '-');

    if (strcmp(text, "mtp") == 0) {
        rule->first = rule->last = DS4_RECIPE_MTP;
        return true;
    }
    const size_t n = dash ? (size_t)(dash - text) : strlen(text);
    if (n >= sizeof first) return false;
    memcpy(first, text, n);
    first[n] = 0;
    if (!parse_number(first, MAX_LAYER, &from)) return false;
    to = from;
    if (dash && (!parse_number(dash + 1, MAX_LAYER, &to) || to < from)) return false;
    rule->first = from;
    rule->last = to;
    return true;
}

/* Cut a line into words in place; at most 4 are told, the last one means "too many". */
static uint32_t cut_words(char *line, char *words[4])
{
    uint32_t n = 0;

    for (char *p = line; *p && n < 4;) {
        while (isspace((unsigned char)*p)) p++;
        if (!*p) break;
        words[n++] = p;
        while (*p && !isspace((unsigned char)*p)) p++;
        if (*p) *p++ = 0;
    }
    return n;
}

static ds4_status parse_line(ds4_recipe *r, uint32_t line, char *text, ds4_err *err)
{
    char        *words[4];
    char        *comment = strchr(text, '#');
    uint32_t     dtype = 0;

    if (comment) *comment = 0;
    const uint32_t n = cut_words(text, words);
    if (n == 0) return DS4_OK;
    if (n == 2 && strcmp(words[0], "file-type") == 0) {
        if (!parse_number(words[1], 9999, &r->file_type)) {
            return ds4_fail(err, DS4_E_FORMAT, "%s: line %u: file-type \"%.20s\" is not a number up to 9999",
                            r->name, line, words[1]);
        }
        return DS4_OK;
    }
    if (n == 2 && strcmp(words[0], "imatrix") == 0) {
        if (strcmp(words[1], "required") == 0) {
            r->needs_importance = true;
            return DS4_OK;
        }
        return ds4_fail(err, DS4_E_FORMAT, "%s: line %u: imatrix \"%.20s\", expected imatrix required",
                        r->name, line, words[1]);
    }
    if (n < 2 || n > 3) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: line %u has %s, expected a tensor, a type and perhaps layers",
                        r->name, line, n < 2 ? "one word" : "too many words");
    }
    if (!type_by_name(words[1], &dtype)) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: line %u: no tensor can be written as \"%.20s\"", r->name,
                        line, words[1]);
    }
    if (!ds4_recipe_add(r, words[0], dtype)) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: line %u: %s", r->name, line,
                        r->n_rules == DS4_RECIPE_MAX_RULES ? "too many lines" : "the name is too long");
    }
    ds4_recipe_rule *rule = &r->rules[r->n_rules - 1];
    rule->line = line;
    if (n == 3 && !parse_layers(words[2], rule)) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: line %u: \"%.20s\" is not a layer, a range of layers or mtp",
                        r->name, line, words[2]);
    }
    return DS4_OK;
}

ds4_status ds4_recipe_parse(ds4_recipe *out, const char *name, ds4_slice text, ds4_err *err)
{
    char     line[MAX_LINE];
    uint32_t i_line = 1;

    *out = (ds4_recipe){ .file_type = 0 };
    snprintf(out->name, sizeof out->name, "%s", name);
    for (size_t at = 0; at < text.n_bytes; i_line++) {
        const char  *from = text.data + at;
        const char  *end = memchr(from, '\n', text.n_bytes - at);
        const size_t n = end ? (size_t)(end - from) : text.n_bytes - at;
        at += n + 1;
        if (n >= sizeof line || memchr(from, 0, n)) {
            return ds4_fail(err, DS4_E_FORMAT, "%s: line %u is no text of at most %d characters", out->name,
                            i_line, MAX_LINE - 1);
        }
        memcpy(line, from, n);
        line[n] = 0;
        DS4_TRY(parse_line(out, i_line, line, err));
    }
    if (out->n_rules > 0) return DS4_OK;
    return ds4_fail(err, DS4_E_FORMAT, "%s: no line names a type", out->name);
}
