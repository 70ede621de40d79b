/* op_dump.c - see op_dump.h. */
#include "app/common/op_dump.h"

#include "app/common/options.h"
#include "base/output.h"
#include "base/str.h"
#include "engine/watch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 64, MAX_NAMES = 128, ANY_LAYER = -2, N_SHOWN = 4 };

struct ds4_op_dump {
    ds4_engine *engine;
    char        name[NAME_BYTES];
    int32_t     layer;                  /* ANY_LAYER: all of them */
    bool        list;
    ds4_output *file;                   /* NULL: none */
    ds4_status  failed;                 /* the first failure, told at the end */
    ds4_err     err;
    uint64_t    n_tokens;               /* shown */
    const char *seen[MAX_NAMES];        /* [n_seen] names have static storage */
    uint32_t    n_seen;
};

static void note_name(ds4_op_dump *d, const char *name)
{
    for (uint32_t i = 0; i < d->n_seen; i++) {
        if (strcmp(d->seen[i], name) == 0) return;
    }
    if (d->n_seen < MAX_NAMES) d->seen[d->n_seen++] = name;
}

/* "attn.input 3 token 17: 2048 values, mean 0.01, rms 0.9, -3 .. 4; 0.1 0.2 0.3 0.4" */
static void show_row(const char *name, int32_t layer, uint64_t token, uint32_t n, const float *x)
{
    double   sum = 0, squares = 0, least = INFINITY, most = -INFINITY;
    uint32_t n_odd = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            n_odd++;
            continue;
        }
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
        least = fmin(least, (double)x[i]);
        most = fmax(most, (double)x[i]);
    }
    const uint32_t n_good = n - n_odd > 0 ? n - n_odd : 1;
    fprintf(stderr, "%s %d token %llu: %u values, mean %.6g, rms %.6g, %.6g .. %.6g", name, layer,
            (unsigned long long)token, n, sum / n_good, sqrt(squares / n_good), least, most);
    if (n_odd) fprintf(stderr, ", %u of them no numbers", n_odd);
    fputs(";", stderr);
    for (uint32_t i = 0; i < n && i < N_SHOWN; i++) fprintf(stderr, " %.9g", (double)x[i]);
    fputs("\n", stderr);
}

static void watch(void *ctx, const char *name, int32_t layer, uint32_t n_tokens, uint32_t n_values,
                  const float *values)
{
    ds4_op_dump *d = ctx;

    note_name(d, name);
    if (d->list || strcmp(name, d->name) != 0 || (d->layer != ANY_LAYER && layer != d->layer)) return;
    for (uint32_t t = 0; t < n_tokens; t++) {
        show_row(name, layer, d->n_tokens++, n_values, values + (size_t)t * n_values);
    }
    if (!d->file || d->failed != DS4_OK) return;
    d->failed = ds4_output_write(d->file, values, (size_t)n_tokens * n_values * sizeof *values, &d->err);
}

/* Read "NAME[:LAYER]" of n bytes. */
static ds4_status read_name(ds4_op_dump *d, const char *what, size_t n, ds4_err *err)
{
    const char    *colon = memchr(what, ':', n);
    const size_t   n_name = colon ? (size_t)(colon - what) : n;
    const uint32_t n_layers = ds4_engine_info(d->engine)->n_layers;
    char           number[16];
    uint64_t       layer = 0;

    d->layer = ANY_LAYER;
    if (n_name == 0 || n_name >= sizeof d->name) {
        return ds4_fail(err, DS4_E_ARG, "--dump-op %s: no name of an operation (\"list\" shows them)", what);
    }
    snprintf(d->name, sizeof d->name, "%.*s", (int)n_name, what);
    d->list = strcmp(d->name, "list") == 0;
    if (!colon) return DS4_OK;
    snprintf(number, sizeof number, "%.*s", (int)(n - n_name - 1), colon + 1);
    if (n - n_name - 1 >= sizeof number || !ds4_parse_u64(number, 0, n_layers - 1, &layer)) {
        return ds4_fail(err, DS4_E_ARG, "--dump-op %s: expected a layer in 0..%u behind the colon", what,
                        n_layers - 1);
    }
    d->layer = (int32_t)layer;
    return DS4_OK;
}

ds4_status ds4_op_dump_open(ds4_op_dump **out, const char *what, ds4_engine *engine, ds4_err *err)
{
    ds4_op_dump *d = calloc(1, sizeof *d);
    const char  *file = strchr(what, '=');

    if (!d) return ds4_fail(err, DS4_E_NOMEM, "no memory to watch operations");
    d->engine = engine;
    ds4_status st = read_name(d, what, file ? (size_t)(file - what) : strlen(what), err);
    if (st == DS4_OK && file && !d->list) st = ds4_output_open(&d->file, file + 1, err);
    if (st != DS4_OK) {
        free(d);
        return st;
    }
    ds4_engine_watch(engine, watch, d);
    *out = d;
    return DS4_OK;
}

static void add_names(const ds4_op_dump *d, ds4_str *out)
{
    for (uint32_t i = 0; i < d->n_seen; i++) ds4_str_addf(out, "%s%s", i ? " " : "", d->seen[i]);
}

ds4_status ds4_op_dump_close(ds4_op_dump *d, ds4_err *err)
{
    ds4_str    names = { 0 };
    ds4_status st = DS4_OK;

    if (!d) return DS4_OK;
    ds4_engine_watch(d->engine, NULL, NULL);
    add_names(d, &names);
    if (d->list) {
        fprintf(stderr, "%s\n", ds4_str_text(&names));
    } else if (d->n_seen > 0 && d->n_tokens == 0) {
        st = ds4_fail(err, DS4_E_ARG, "--dump-op: no operation \"%s\"%s gave values; these did: %s", d->name,
                      d->layer == ANY_LAYER ? "" : " of that layer", ds4_str_text(&names));
    } else if (d->failed != DS4_OK) {
        if (err) *err = d->err;
        st = d->failed;
    }
    if (d->file && st == DS4_OK) st = ds4_output_commit(d->file, err);
    else ds4_output_drop(d->file);
    ds4_str_clear(&names);
    free(d);
    return st;
}
