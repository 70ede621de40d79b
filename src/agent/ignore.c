/* ignore.c - see ignore.h. */
#include "agent/ignore.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct pattern {
    char    *folder;            /* the file's, "" at the top */
    char    *text;              /* without the slashes and signs that the flags stand for */
    bool     negated, folders_only, anchored;
} pattern;

struct ds4_ignore {
    pattern *pattern;
    size_t   n, capacity;
};

/* ---- one component ------------------------------------------------------------------- */

static const struct { const char *name; int (*is)(int); } classes[] = {
    { "alnum", isalnum }, { "alpha", isalpha }, { "blank", isblank }, { "cntrl", iscntrl },
    { "digit", isdigit },
    { "graph", isgraph }, { "lower", islower }, { "print", isprint }, { "punct", ispunct },
    { "space", isspace },
    { "upper", isupper }, { "xdigit", isxdigit },
};

/* The class "[:name:]" at p; *fits says whether c is in it. Returns its bytes, 0 when it is none. */
static size_t class_at(const char *p, const char *end, unsigned char c, bool *fits)
{
    if (end - p < 4 || p[0] != '[' || p[1] != ':') return 0;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        const size_t n = strlen(classes[i].name);
        if ((size_t)(end - p) < n + 4 || memcmp(p + 2, classes[i].name, n) != 0 ||
            memcmp(p + 2 + n, ":]", 2) != 0)
            continue;
        *fits = classes[i].is(c) != 0;
        return n + 4;
    }
    return 0;
}

/* The set "[...]" at p against one character. Returns its bytes, 0 when it has no end and fits nothing. */
static size_t set_at(const char *p, const char *end, unsigned char c, bool *fits)
{
    const char *q = p + 1;
    bool        negated = false, found = false, first = true;

    if (q < end && (*q == '!' || *q == '^')) {
        negated = true;
        q++;
    }
    while (q < end && (first || *q != ']')) {
        bool         in_class = false;
        const size_t n_class = class_at(q, end, c, &in_class);
        first = false;
        if (n_class > 0) {
            found |= in_class;
            q += n_class;
            continue;
        }
        if (*q == '[' && q + 1 < end && q[1] == ':') return 0;      /* a class that nobody knows */
        if (*q == '\\' && ++q == end) return 0;
        unsigned char low = (unsigned char)*q++, high = low;
        if (end - q >= 2 && q[0] == '-' && q[1] != ']') {
            q++;
            if (*q == '\\' && ++q == end) return 0;
            high = (unsigned char)*q++;
        }
        found |= low <= c && c <= high;
    }
    if (q >= end) return 0;
    *fits = found != negated;
    return (size_t)(q + 1 - p);
}

/* One element of a pattern that is no star, against one character. Returns the element's bytes, or 0. */
static size_t fits_one(const char *p, const char *end, unsigned char c)
{
    bool fits = false;

    if (*p == '?') return 1;
    if (*p == '[') {
        const size_t n = set_at(p, end, c, &fits);
        return fits ? n : 0;
    }
    if (*p == '\\') return end - p >= 2 && (unsigned char)p[1] == c ? 2 : 0;
    return (unsigned char)*p == c ? 1 : 0;
}

/* A pattern and a name without slashes. Only the last star need be tried again: what an earlier one took
 * can be taken by the last as well. */
static bool fits_component(const char *p, const char *p_end, const char *s, const char *s_end)
{
    const char *star = NULL, *star_s = NULL;

    while (s < s_end) {
        if (p < p_end && *p == '*') {
            star = ++p;
            star_s = s;
            continue;
        }
        const size_t n = p < p_end ? fits_one(p, p_end, (unsigned char)*s) : 0;
        if (n > 0) {
            p += n;
            s++;
        } else if (star) {
            p = star;
            s = ++star_s;
        } else {
            return false;
        }
    }
    while (p < p_end && *p == '*') p++;
    return p == p_end;
}

/* ---- whole names --------------------------------------------------------------------- */

/* The end of the component at p. A slash in a set does not end it, but a set cannot hold one either, so
 * that such a pattern fits nothing. */
static const char *component_end(const char *p)
{
    return p + strcspn(p, "/");
}

/* `**`; more stars mean the same to git. */
static bool is_two_stars(const char *p, const char *end)
{
    return end - p >= 2 && strspn(p, "*") == (size_t)(end - p);
}

/* Match the components of a path: a component `**` is a star over components. */
static bool fits_path(const char *p, const char *s)
{
    const char *star = NULL, *star_s = NULL;

    while (*s) {
        const char *p_end = component_end(p), *s_end = component_end(s);
        const char *next_s = *s_end ? s_end + 1 : s_end;
        if (*p && is_two_stars(p, p_end)) {
            if (*p_end == '\0') return true;        /* at the end: everything inside */
            star = p = p_end + 1;
            star_s = s;
            continue;
        }
        if (*p && fits_component(p, p_end, s, s_end) && (*p_end == '/') == (*s_end == '/')) {
            p = *p_end ? p_end + 1 : p_end;
            s = next_s;
            continue;
        }
        if (!star) return false;
        const char *star_end = component_end(star_s);
        if (*star_end == '\0') return false;
        star_s = s = star_end + 1;
        p = star;
    }
    return *p == '\0';
}

bool ds4_glob_matches(const char *p, const char *name)
{
    const char *slash = strrchr(name, '/');

    if (strlen(p) > DS4_IGNORE_MAX_PATTERN) return false;
    if (p[0] == '/') return fits_path(p + 1, name);
    if (strchr(p, '/')) return fits_path(p, name);
    const char *base = slash ? slash + 1 : name;
    return fits_component(p, p + strlen(p), base, base + strlen(base));
}

static bool fits_pattern(const pattern *p, const char *name, bool is_folder)
{
    const size_t n = strlen(p->folder);

    if (p->folders_only && !is_folder) return false;
    if (n > 0) {
        if (strncmp(name, p->folder, n) != 0 || name[n] != '/') return false;
        name += n + 1;
    }
    if (p->anchored) return fits_path(p->text, name);
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    return fits_component(p->text, p->text + strlen(p->text), base, base + strlen(base));
}

bool ds4_ignore_matches(const ds4_ignore *ignore, const char *name, bool is_folder)
{
    for (size_t i = ignore->n; i-- > 0; ) {
        if (fits_pattern(&ignore->pattern[i], name, is_folder)) return !ignore->pattern[i].negated;
    }
    return false;
}

/* ---- reading --------------------------------------------------------------------------- */

ds4_ignore *ds4_ignore_create(void)
{
    return calloc(1, sizeof(ds4_ignore));
}

void ds4_ignore_drop(ds4_ignore *ignore, size_t n_patterns)
{
    while (ignore->n > n_patterns) {
        ignore->n--;
        free(ignore->pattern[ignore->n].folder);
        free(ignore->pattern[ignore->n].text);
    }
}

void ds4_ignore_free(ds4_ignore *ignore)
{
    if (!ignore) return;
    ds4_ignore_drop(ignore, 0);
    free(ignore->pattern);
    free(ignore);
}

size_t ds4_ignore_count(const ds4_ignore *ignore)
{
    return ignore->n;
}

/* Spaces at the end do not count unless a backslash stands before them. */
static size_t without_spaces(const char *line, size_t n)
{
    while (n > 0 && line[n - 1] == ' ') {
        size_t n_slashes = 0;
        while (n_slashes + 1 < n && line[n - 2 - n_slashes] == '\\') n_slashes++;
        if (n_slashes % 2 != 0) break;
        n--;
    }
    return n;
}

/* The pattern of one line. False when the line has none. */
static bool parse_line(const char *line, size_t n, pattern *out)
{
    if (n > 0 && line[n - 1] == '\r') n--;
    n = without_spaces(line, n);
    if (n == 0 || line[0] == '#' || n > DS4_IGNORE_MAX_PATTERN || memchr(line, '\0', n)) return false;
    if (line[0] == '!') {
        out->negated = true;
        line++;
        n--;
    }
    if (n > 0 && line[n - 1] == '/') {
        out->folders_only = true;
        n--;
    }
    if (n == 0) return false;
    out->anchored = memchr(line, '/', n) != NULL;
    if (line[0] == '/') {
        line++;
        n--;
    }
    if (n == 0) return false;
    out->text = strndup(line, n);
    return out->text != NULL;
}

static bool make_room(ds4_ignore *ignore)
{
    if (ignore->n < ignore->capacity) return true;
    const size_t n = ignore->capacity ? 2 * ignore->capacity : 32;
    pattern     *more = realloc(ignore->pattern, n * sizeof *more);
    if (!more) return false;
    ignore->pattern = more;
    ignore->capacity = n;
    return true;
}

ds4_status ds4_ignore_add(ds4_ignore *ignore, const char *folder, ds4_slice text, ds4_err *err)
{
    const char *at = text.data;
    size_t      left = text.n_bytes < DS4_IGNORE_MAX_BYTES ? text.n_bytes : DS4_IGNORE_MAX_BYTES;

    if (left >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) {
        at += 3;
        left -= 3;
    }
    while (left > 0) {
        const char  *end = memchr(at, '\n', left);
        const size_t n = end ? (size_t)(end - at) : left;
        pattern      p = { 0 };
        if (parse_line(at, n, &p)) {
            if (ignore->n >= DS4_IGNORE_MAX_PATTERNS) {
                free(p.text);
                return ds4_fail(err, DS4_E_LIMIT, "more than %d patterns in .gitignore files",
                                DS4_IGNORE_MAX_PATTERNS);
            }
            p.folder = strdup(folder);
            if (!p.folder || !make_room(ignore)) {
                free(p.folder);
                free(p.text);
                return ds4_fail(err, DS4_E_NOMEM, "no memory for the patterns of .gitignore files");
            }
            ignore->pattern[ignore->n++] = p;
        }
        at += end ? n + 1 : n;
        left -= end ? n + 1 : n;
    }
    return DS4_OK;
}
