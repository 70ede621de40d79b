/* cpu_parts.c - sharing the rows of several matrices among the team.
 *
 * The rows of all matrices of one type stand in a line, weighted by their work. Each member
 * first takes a stretch of every line, so that it reads memory in order and crosses from
 * matrix to matrix as seldom as possible; the ends of the lines are dealt in small stretches
 * to whoever is free, because cores differ in what else they have to do. Who computes a
 * row does not show in it. */
#include "backend/cpu/cpu_local.h"

#include <stdatomic.h>

enum {
    DEAL_BYTES = 64 << 10,      /* of weights */
    MANY_TOKENS = 4,
    DEALS = 8,                  /* for each member, at most */
    MAX_LINES = 4,              /* further types join the last line */
};

typedef struct line {
    const cpu_part *parts;
    uint32_t        n_parts;
    uint64_t        total;      /* work of the whole line */
    uint64_t        fixed;      /* the first so much is shared, the rest dealt */
    uint32_t        n_deals;
} line;

typedef struct parts_job {
    const cpu_part *parts;
    line            line[MAX_LINES];
    uint32_t        n_lines;
    cpu_part_fn    *fn;
    void           *ctx;
    atomic_uint     next;       /* deal, counted through all lines */
} parts_job;

typedef struct place {
    uint32_t part;
    uint64_t row;
} place;

/* Work of a row: its bytes, and a quarter of them more for each token. */
static uint64_t row_work(const cpu_part *p)
{
    return p->row_bytes * (4 + (uint64_t)p->n_tokens);
}

/* The row at which a stretch begins or ends that is cut at `at`; cuts are at whole tiles. */
static place find(const line *l, uint64_t at)
{
    for (uint32_t i = 0; i < l->n_parts; i++) {
        const cpu_part *p = &l->parts[i];
        const uint64_t  work = row_work(p);
        if (at < p->n_rows * work) {
            const uint64_t row = (at / work + p->tile - 1) / p->tile * p->tile;
            return (place){ i, row < p->n_rows ? row : p->n_rows };
        }
        at -= p->n_rows * work;
    }
    return (place){ l->n_parts, 0 };
}

static void run_stretch(const parts_job *job, const line *l, uint64_t from, uint64_t to,
                        uint32_t member)
{
    const place    a = find(l, from), b = find(l, to);
    const uint32_t base = (uint32_t)(l->parts - job->parts);

    for (uint32_t i = a.part; i < l->n_parts && i <= b.part; i++) {
        const uint64_t first = i == a.part ? a.row : 0;
        const uint64_t end = i == b.part ? b.row : l->parts[i].n_rows;
        if (first < end) job->fn(job->ctx, base + i, first, end, member);
    }
}

/* The beginning of the i-th of n equal pieces; the n-th ends at `total`. */
static uint64_t cut(uint64_t total, uint32_t i, uint32_t n)
{
    return i == n ? total : total / n * i;
}

static void parts_share(void *ctx, uint32_t member, uint32_t n_members)
{
    parts_job *job = ctx;
    uint32_t   before = 0;          /* deals of the lines before */

    for (uint32_t i = 0; i < job->n_lines; i++) {
        const line *l = &job->line[i];
        run_stretch(job, l, cut(l->fixed, member, n_members), cut(l->fixed, member + 1, n_members),
                    member);
    }
    for (uint32_t i = 0; i < job->n_lines;) {
        const line    *l = &job->line[i];
        const uint32_t deal = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        while (i < job->n_lines && deal >= before + l->n_deals) {
            before += l->n_deals;
            l = &job->line[++i];
        }
        if (i == job->n_lines) return;
        const uint64_t rest = l->total - l->fixed;
        run_stretch(job, l, l->fixed + cut(rest, deal - before, l->n_deals),
                    l->fixed + cut(rest, deal - before + 1, l->n_deals), member);
    }
}

/* Half of a large batch is dealt, an eighth of a small one. */
static void plan_line(line *l, uint32_t n_members)
{
    uint64_t n_bytes = 0, n_deals;
    bool     many = false;

    for (uint32_t i = 0; i < l->n_parts; i++) {
        l->total += l->parts[i].n_rows * row_work(&l->parts[i]);
        n_bytes += l->parts[i].n_rows * l->parts[i].row_bytes;
        many |= l->parts[i].n_tokens > MANY_TOKENS;
    }
    n_deals = n_bytes / (many ? 2 : 8) / DEAL_BYTES;
    if (n_deals > DEALS * n_members) n_deals = DEALS * n_members;
    l->n_deals = n_deals < n_members ? 0 : (uint32_t)n_deals;
    l->fixed = l->n_deals == 0 ? l->total : many ? l->total / 2 : l->total / 8 * 7;
}

/* Cut parts into lines of one type each. Returns the number of lines. */
static uint32_t plan_lines(line lines[MAX_LINES], const cpu_part *parts, uint32_t n_parts, uint32_t n_members)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_parts; i++) {
        if (i == 0 || (parts[i].dtype != parts[i - 1].dtype && n < MAX_LINES)) {
            lines[n++] = (line){ .parts = &parts[i] };
        }
        lines[n - 1].n_parts++;
    }
    for (uint32_t i = 0; i < n; i++) plan_line(&lines[i], n_members);
    return n;
}

void cpu_run_parts(ds4_dev *dev, const cpu_part *parts, uint32_t n_parts, cpu_part_fn *fn,
                   void *ctx)
{
    parts_job job = { .parts = parts, .fn = fn, .ctx = ctx };

    job.n_lines = plan_lines(job.line, parts, n_parts, ds4_team_size(dev->team));
    ds4_team_run(dev->team, parts_share, &job);
}

void cpu_parts_begin(const cpu_part *parts, uint32_t n_parts, uint32_t n_members, cpu_stretch_fn *fn,
                     void *ctx)
{
    line           lines[MAX_LINES];
    const uint32_t n_lines = plan_lines(lines, parts, n_parts, n_members);

    for (uint32_t i = 0; i < n_lines; i++) {
        place at = find(&lines[i], 0);
        for (uint32_t m = 0; m < n_members; m++) {
            const place    end = find(&lines[i], cut(lines[i].fixed, m + 1, n_members));
            const uint64_t n_rows = at.part < lines[i].n_parts ? lines[i].parts[at.part].n_rows : 0;
            if (at.row < n_rows && (at.part < end.part || at.row < end.row)) {
                fn(ctx, m, &lines[i].parts[at.part], at.row, at.part == end.part ? end.row : n_rows);
            }
            at = end;
        }
    }
}
