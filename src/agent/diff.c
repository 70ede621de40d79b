/* diff.c - see diff.h.
 *
 * Source: E. W. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986), the greedy algorithm. */
#include "agent/diff.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_EDITS = 1000 };

typedef struct lines {
    ds4_slice *line;            /* with their line feeds */
    size_t     n;
} lines;

static bool split(ds4_slice text, lines *out)
{
    size_t n = 0;

    for (size_t at = 0; at < text.n_bytes; n++) {
        const char *end = memchr(text.data + at, '\n', text.n_bytes - at);
        at = end ? (size_t)(end - text.data) + 1 : text.n_bytes;
    }
    out->line = malloc((n ? n : 1) * sizeof *out->line);
    out->n = 0;
    if (!out->line) return false;
    for (size_t at = 0; at < text.n_bytes; ) {
        const char  *end = memchr(text.data + at, '\n', text.n_bytes - at);
        const size_t next = end ? (size_t)(end - text.data) + 1 : text.n_bytes;
        out->line[out->n++] = (ds4_slice){ text.data + at, next - at };
        at = next;
    }
    return true;
}

/* Marks of the lines that have no partner in the other text. */
typedef struct marks {
    bool *old_gone, *new_here;
} marks;

/* The furthest points of each round: round d has the diagonals -d..d, kept for the way back. */
typedef struct rounds {
    int *x[MOST_EDITS + 1];
    int  n;
} rounds;

static int at_diagonal(const rounds *r, int d, int k)
{
    return r->x[d][k + d];
}

/* Run forward until the end is met. Returns the number of edits, or -1 when there are too many. */
static int run(const lines *a, const lines *b, rounds *r)
{
    const int n = (int)a->n, m = (int)b->n;

    for (int d = 0; d <= MOST_EDITS; d++) {
        r->x[d] = malloc((size_t)(2 * d + 1) * sizeof(int));
        if (!r->x[d]) return -1;
        r->n = d + 1;
        for (int k = -d; k <= d; k += 2) {
            int x = 0;
            if (d > 0) {
                const bool down = k == -d || (k != d && at_diagonal(r, d - 1, k - 1) < at_diagonal(r, d - 1,
                                                                                                   k + 1));
                x = down ? at_diagonal(r, d - 1, k + 1) : at_diagonal(r, d - 1, k - 1) + 1;
            }
            int y = x - k;
            while (x < n && y >= 0 && y < m && ds4_slice_eq(a->line[x], b->line[y])) {
                x++;
                y++;
            }
            r->x[d][k + d] = x;
            if (x >= n && y >= m) return d;
        }
        /* The diagonals between are of the other parity and are read by nobody. */
    }
    return -1;
}

static void walk_back(const lines *a, const lines *b, const rounds *r, int d, size_t skip, marks *out)
{
    int x = (int)a->n, y = (int)b->n;

    for (; d > 0; d--) {
        const int  k = x - y;
        const bool down = k == -d || (k != d && at_diagonal(r, d - 1, k - 1) < at_diagonal(r, d - 1, k + 1));
        const int  before = down ? at_diagonal(r, d - 1, k + 1) : at_diagonal(r, d - 1, k - 1);
        const int  k_before = down ? k + 1 : k - 1;
        if (down) out->new_here[skip + (size_t)(before - k_before)] = true;
        else      out->old_gone[skip + (size_t)before] = true;
        x = before;
        y = before - k_before;
    }
}

static void compare(const lines *a, const lines *b, marks *out)
{
    rounds r = { .n = 0 };
    size_t head = 0, tail = 0;

    while (head < a->n && head < b->n && ds4_slice_eq(a->line[head], b->line[head])) head++;
    while (tail < a->n - head && tail < b->n - head &&
           ds4_slice_eq(a->line[a->n - 1 - tail], b->line[b->n - 1 - tail])) tail++;
    const lines mid_a = { a->line + head, a->n - head - tail },
        mid_b = { b->line + head, b->n - head - tail };
    const bool  small = mid_a.n < (1u << 24) && mid_b.n < (1u << 24);
    const int   d = small ? run(&mid_a, &mid_b, &r) : -1;
    if (d >= 0) {
        walk_back(&mid_a, &mid_b, &r, d, head, out);
    } else {
        for (size_t i = 0; i < mid_a.n; i++) out->old_gone[head + i] = true;
        for (size_t i = 0; i < mid_b.n; i++) out->new_here[head + i] = true;
    }
    for (int i = 0; i < r.n; i++) free(r.x[i]);
}

static void add_line(ds4_str *out, char sign, ds4_slice line)
{
    ds4_str_add_char(out, sign);
    ds4_str_add(out, line.data, line.n_bytes);
    if (line.n_bytes == 0 || line.data[line.n_bytes - 1] != '\n')
        ds4_str_add_text(out, "\n\\ No newline at end of file\n");
}

/* One hunk: lines from (i, k) with `context` around its changes. Moves on behind it. */
static void hunk(const lines *a, const lines *b, const marks *m, unsigned context, size_t *i_io, size_t *k_io,
                 ds4_str *out)
{
    size_t       i = *i_io, k = *k_io, quiet = 0;
    const size_t back = i < context ? i : context, i0 = i - back, k0 = k - back;
    ds4_str      body = { 0 };

    for (size_t at = i0; at < i; at++) add_line(&body, ' ', a->line[at]);
    while (i < a->n || k < b->n) {
        if (i < a->n && m->old_gone[i]) {
            add_line(&body, '-', a->line[i++]);
            quiet = 0;
        } else if (k < b->n && m->new_here[k]) {
            add_line(&body, '+', b->line[k++]);
            quiet = 0;
        } else {
            /* Changes that are near share a hunk. */
            size_t ahead = 0;
            while (i + ahead < a->n && k + ahead < b->n && !m->old_gone[i + ahead] &&
                   !m->new_here[k + ahead] &&
                   ahead <= 2 * context) ahead++;
            const bool end = i + ahead >= a->n && k + ahead >= b->n;
            if (quiet >= context || (quiet == 0 && (end || ahead > 2 * context) && context == 0)) break;
            if (quiet == 0 && (end || ahead > 2 * context)) {
                for (; quiet < context && i < a->n && k < b->n; quiet++, k++)
                    add_line(&body, ' ', a->line[i++]);
                break;
            }
            add_line(&body, ' ', a->line[i++]);
            k++;
        }
    }
    ds4_str_addf(out, "@@ -%zu,%zu +%zu,%zu @@\n", i0 + (i > i0), i - i0, k0 + (k > k0), k - k0);
    ds4_str_add(out, ds4_str_text(&body), body.n_bytes);
    if (body.failed) out->failed = true;
    ds4_str_clear(&body);
    *i_io = i;
    *k_io = k;
}

void ds4_diff(const char *name, ds4_slice before, ds4_slice after, bool made, bool removed, unsigned context,
              ds4_str *out)
{
    lines  a = { 0 }, b = { 0 };
    marks  m = { 0 };
    size_t i = 0, k = 0;

    if (ds4_slice_eq(before, after) && !made && !removed) return;
    if (!split(before, &a) || !split(after, &b)) goto done;
    m.old_gone = calloc(a.n + 1, sizeof *m.old_gone);
    m.new_here = calloc(b.n + 1, sizeof *m.new_here);
    if (!m.old_gone || !m.new_here) goto done;
    compare(&a, &b, &m);
    ds4_str_addf(out, made ? "--- /dev/null\n" : "--- a/%s\n", name);
    ds4_str_addf(out, removed ? "+++ /dev/null\n" : "+++ b/%s\n", name);
    while (i < a.n || k < b.n) {
        if ((i < a.n && m.old_gone[i]) || (k < b.n && m.new_here[k])) {
            hunk(&a, &b, &m, context, &i, &k, out);
        } else {
            i++;
            k++;
        }
    }
done:
    if (!a.line || !b.line || !m.old_gone || !m.new_here) out->failed = true;
    free(a.line);
    free(b.line);
    free(m.old_gone);
    free(m.new_here);
}
