/* ops_test.c - every operation and weight type on one backend, against a reference in plain C.
 *
 *     ops_test [--backend NAME] [--op NAME] [--shape NAME] [--tokens N] [--all] [--stop]
 *
 * --stop ends it at the first case that fails.
 * Without --all the cheap cases: `make ops` runs the whole table. NAME of --op is a name of ops_table.c or
 * its beginning. Backends are those of the build and, in tests, the far
 * device and the emulated GPU. Output is TAP: a line for each operation and shape. */
#include "ops/ops.h"

#include "base/clock.h"
#include "support/far_device.h"

#ifdef DS4_HAVE_EMULATOR
#include "emulator/emulated_device.h"
#ifdef DS4_HAVE_METAL
#include "backend/gpu/metal/metal_backend.h"
#endif
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t counts[] = { 1, 2, 7, 31, 32, 33, 64, 127, 128, 129, 4096 };
enum { N_COUNTS = sizeof counts / sizeof *counts, MOST_TOLD = 3 };

typedef struct options {
    const char *backend, *op, *shape;
    uint32_t    n_tokens; /* 0: all */
    bool        all, stop;
    double      most; /* cost of a case */
} options;

typedef struct tally {
    uint32_t n_lines, n_failed, n_cases, n_dear, n_kinds[DS4_N_OPS];
} tally;

static const ds4_backend *find_backend(const char *name)
{
    const ds4_backend *b;
    ds4_err            err;

    if (strcmp(name, "far") == 0) return &ds4_backend_far;
#ifdef DS4_HAVE_EMULATOR
    if (strcmp(name, "emulated") == 0) return &emulated_backend;
#ifdef DS4_HAVE_METAL
    if (strcmp(name, "metal") == 0) return &ds4_backend_metal;
#endif
#endif
    if (ds4_backend_find(name, &b, &err) == DS4_OK) return b;
    fprintf(stderr, "ops_test: %s\n", err.text);
    exit(2);
}

static options read_options(int argc, char **argv)
{
    options o = { .backend = "cpu", .op = "", .shape = "" };

    for (int i = 1; i < argc; i++) {
        const bool last = i + 1 == argc;
        if (strcmp(argv[i], "--all") == 0)
            o.all = true;
        else if (strcmp(argv[i], "--stop") == 0)
            o.stop = true;
        else if (last)
            fprintf(stderr, "ops_test: %s needs a value\n", argv[i]), exit(2);
        else if (strcmp(argv[i], "--backend") == 0)
            o.backend = argv[++i];
        else if (strcmp(argv[i], "--op") == 0)
            o.op = argv[++i];
        else if (strcmp(argv[i], "--shape") == 0)
            o.shape = argv[++i];
        else if (strcmp(argv[i], "--tokens") == 0)
            o.n_tokens = (uint32_t)strtoul(argv[++i], NULL, 10);
        else
            fprintf(stderr, "ops_test: unknown option %s\n", argv[i]), exit(2);
    }
    /* An emulated thread costs a hundred times a real one. */
    const bool slow = strcmp(o.backend, "emulated") == 0 || strcmp(o.backend, "metal") == 0;
    o.most = o.all ? (slow ? 3e7 : 1e13) : slow ? 3e5 : 1.4e7;
    return o;
}

/* ---- one line --------------------------------------------------------------------------------------- */

/* How rows lie. */
static const struct layout {
    const char *name;
    ds4_kv_form form;
    bool        spills;
} layouts[] = { { "records", DS4_KV_RECORDS, false },
                { "planes", DS4_KV_PLANES, false },
                { "floats", DS4_KV_FLOATS, false },
                { "records in files", DS4_KV_RECORDS, true } };
enum { N_LAYOUTS = sizeof layouts / sizeof *layouts };

static bool run_one(ops *o, const ops_kind *k, uint32_t n_tokens, ops_fill fill, uint32_t i_layout, bool tell)
{
    static const char *const fills[] = { "ordinary", "extreme", "zero" };

    /* Drafters' blocks are short, and a device is opened for as many tokens as come. */
    o->n_tokens = k->kind == DS4_OP_ATTEND_BLOCK && n_tokens > 5 ? 5 + n_tokens % 5 : n_tokens;
    o->fill = fill;
    o->form = layouts[i_layout].form;
    o->spills = layouts[i_layout].spills;
    ds4_rng_seed(&o->rng, 1000u * n_tokens + 10u * fill + i_layout);
    if (ops_run_case(o, k->run)) return true;
    if (tell) {
        printf("# %s, %s, %u tokens, %s values%s%s: %s\n", k->name, o->shape->name, n_tokens, fills[fill],
               k->has_state ? ", rows as " : "", k->has_state ? layouts[i_layout].name : "", o->why);
    }
    return false;
}

static bool has_files(const options *opt)
{
    return strcmp(opt->backend, "cpu") == 0 || strcmp(opt->backend, "far") == 0;
}

/* Returns the number of cases that failed; -1 when the backend refuses the operation or the type. */
static int run_cases(ops *o, const options *opt, const ops_kind *k, tally *t)
{
    int n_failed = 0;

    for (int c = 0; c < N_COUNTS; c++) {
        if (opt->n_tokens && counts[c] != opt->n_tokens) continue;
        for (uint32_t i = 0; i < OPS_N_FILLS * N_LAYOUTS; i++) {
            const ops_fill fill = (ops_fill)(i % OPS_N_FILLS);
            if (i >= OPS_N_FILLS && !k->has_state) break;
            if (layouts[i / OPS_N_FILLS].spills && !has_files(opt)) break;
            if (fill != OPS_ORDINARY && !opt->all && c % 3 != 0) continue;
            if (k->cost(o->shape, counts[c]) > opt->most) {
                t->n_dear++;
                continue;
            }
            t->n_cases++;
            n_failed += !run_one(o, k, counts[c], fill, i / OPS_N_FILLS, n_failed < MOST_TOLD);
            if (o->is_refused) return -1;
            if (n_failed && opt->stop) exit(1);
        }
    }
    return n_failed;
}

static void run_line(ops *o, const options *opt, const ops_kind *k, tally *t)
{
    const uint32_t before = t->n_cases;
    const uint64_t begin = ds4_now_ns();
    const int      n_failed = run_cases(o, opt, k, t);

    if (t->n_cases == before) return;
    t->n_lines++;
    if (n_failed < 0) {
        printf("ok %u - %s, %s # SKIP the %s backend refuses it\n", t->n_lines, k->name,
               o->shape->name, o->backend->name);
        return;
    }
    t->n_failed += n_failed > 0;
    t->n_kinds[k->kind]++;
    printf("%sok %u - %s, %s: %u cases, %.2f s\n", n_failed ? "not " : "", t->n_lines, k->name,
           o->shape->name, t->n_cases - before, (double)(ds4_now_ns() - begin) * 1e-9);
    fflush(stdout);
}

static uint32_t current_dtype;

uint32_t ops_dtype_of(const ops *o)
{
    (void)o;
    return current_dtype;
}

int main(int argc, char **argv)
{
    const options opt = read_options(argc, argv);
    tally         t = { 0 };
    static ops    o;
    bool          complete = true;

    o.backend = find_backend(opt.backend);
    for (const ops_kind *k = ops_kinds; k->name; k++) {
        if (strncmp(k->name, opt.op, strlen(opt.op)) != 0) continue;
        current_dtype = k->dtype ? k->dtype - 1 : 0;
        for (const ops_shape *s = ops_shapes; s->name; s++) {
            o.shape = s;
            if (!*opt.shape || strcmp(s->name, opt.shape) == 0) run_line(&o, &opt, k, &t);
        }
    }
    for (int i = 0; i < DS4_N_OPS; i++) complete &= t.n_kinds[i] > 0;
    if (!*opt.op && strcmp(opt.backend, "emulated") != 0 && strcmp(opt.backend, "metal") != 0) {
        printf("%sok %u - every kind of operation was run\n", complete ? "" : "not ", ++t.n_lines);
        t.n_failed += !complete;
    }
    printf("1..%u\n# %u cases on the %s backend, %u too dear without --all\n", t.n_lines, t.n_cases,
           o.backend->name, t.n_dear);
    return t.n_failed > 0 || t.n_lines == 0;
}
