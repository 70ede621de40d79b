/* verify.c - see verify.h. */
#include "app/quantize/verify.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/team.h"
#include "format/small_float.h"
#include "kernels/kernels.h"

enum { MAX_THREADS = 256, HASH_BYTES = 8 << 20, ROWS_BYTES = 64 << 20 };

static bool is_stopped(const verify_options *opt)
{
    return opt->cancel && opt->cancel->stop;
}

/* ---- weights ---------------------------------------------------------------------------------- */

/* Rows of one tensor that the team looks at together. */
typedef struct rows_work {
    const ds4_kernels     *kernels;
    const ds4_gguf_tensor *tensor;
    uint64_t               first, n_rows, row_bytes;
    float                 *x;                   /* [threads][n_columns] */
    uint64_t               bad[MAX_THREADS];    /* the first bad row of each share, UINT64_MAX: none */
} rows_work;

static bool all_finite(const float *x, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return false;
    }
    return true;
}

static void look_share(void *ctx, uint32_t member, uint32_t n_members)
{
    rows_work             *w = ctx;
    const ds4_gguf_tensor *t = w->tensor;
    float                 *x = w->x + member * t->dim[0];
    uint64_t               from, to;

    w->bad[member] = UINT64_MAX;
    ds4_team_share(w->n_rows, 1, member, n_members, &from, &to);
    for (uint64_t row = w->first + from; row < w->first + to; row++) {
        w->kernels->decode[t->dtype](x, t->data + row * w->row_bytes, t->dim[0]);
        if (all_finite(x, t->dim[0])) continue;
        w->bad[member] = row;
        return;
    }
}

static ds4_status look_at_tensor(const ds4_gguf *g, rows_work *w, ds4_team *team, const verify_options *opt,
                                 uint64_t *n_done, ds4_err *err)
{
    const ds4_gguf_tensor *t = w->tensor;
    const uint64_t         n_rows = t->dim[1] * t->dim[2] * t->dim[3];
    char                   name[128];

    snprintf(name, sizeof name, "%.*s", (int)t->name.n_bytes, t->name.data);
    w->row_bytes = ds4_row_bytes(t->dtype, t->dim[0]);
    const uint64_t most = ROWS_BYTES / w->row_bytes + 1;
    for (w->first = 0; w->first < n_rows; w->first += w->n_rows) {
        w->n_rows = n_rows - w->first < most ? n_rows - w->first : most;
        ds4_team_run(team, look_share, w);
        DS4_TRY(ds4_gguf_check(g, err));
        for (uint32_t i = 0; i < ds4_team_size(team); i++) {
            if (w->bad[i] == UINT64_MAX) continue;
            return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%s\": row %llu has NaN or infinity",
                            ds4_gguf_path(g), name, (unsigned long long)w->bad[i]);
        }
        *n_done += w->n_rows * w->row_bytes;
        if (opt->progress) opt->progress(opt->ctx, *n_done, ds4_gguf_file_bytes(g), name);
        if (is_stopped(opt)) return ds4_fail(err, DS4_E_CANCELLED, "%s: stopped", ds4_gguf_path(g));
    }
    ds4_gguf_forget(g, t);
    return DS4_OK;
}

static bool has_weights(const ds4_gguf_tensor *t)
{
    return ds4_dtype_get(t->dtype)->is_matrix;
}

static ds4_status look_at_all(const ds4_gguf *g, rows_work *w, ds4_team *team, const verify_options *opt,
                              ds4_err *err)
{
    uint64_t longest = 1, n_done = 0;

    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(g, i);
        if (has_weights(t) && t->dim[0] > longest) longest = t->dim[0];
    }
    if (longest > SIZE_MAX / sizeof(float) / MAX_THREADS) {
        return ds4_fail(err, DS4_E_LIMIT, "%s: rows of %llu weights", ds4_gguf_path(g),
                        (unsigned long long)longest);
    }
    w->x = calloc(ds4_team_size(team), longest * sizeof *w->x);
    if (!w->x)
        return ds4_fail(err, DS4_E_NOMEM, "no memory for rows of %llu weights", (unsigned long long)longest);
    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        w->tensor = ds4_gguf_tensor_at(g, i);
        if (has_weights(w->tensor)) DS4_TRY(look_at_tensor(g, w, team, opt, &n_done, err));
    }
    return DS4_OK;
}

ds4_status verify_weights(const ds4_gguf *g, const verify_options *opt, ds4_err *err)
{
    ds4_kernels kernels;
    rows_work   w = { .kernels = &kernels };
    ds4_team   *team = NULL;

    DS4_TRY(ds4_gguf_check_filled(g, err));
    ds4_kernels_init(&kernels, ds4_cpu_features());
    DS4_TRY(ds4_team_create(&team, opt->n_threads, err));
    const ds4_status st = look_at_all(g, &w, team, opt, err);
    ds4_team_free(team);
    free(w.x);
    return st;
}

/* ---- digest ------------------------------------------------------------------------------------ */

static ds4_status add_file(const ds4_map *map, const char *path, const verify_options *opt,
                           ds4_sha256_run *run, ds4_err *err)
{
    for (uint64_t at = 0; at < map->n_bytes; at += HASH_BYTES) {
        const uint64_t n = map->n_bytes - at < HASH_BYTES ? map->n_bytes - at : HASH_BYTES;
        ds4_sha256_add(run, map->data + at, (size_t)n);
        ds4_map_forget(map->data + at, n);
        if (opt->progress) opt->progress(opt->ctx, at + n, map->n_bytes, "SHA-256");
        if (is_stopped(opt)) return ds4_fail(err, DS4_E_CANCELLED, "%s: stopped", path);
    }
    return ds4_map_check(map, path, err);
}

ds4_status verify_digest(const char *path, const verify_options *opt, uint8_t digest[DS4_SHA256_BYTES],
                         ds4_err *err)
{
    ds4_map         map = { 0 };
    ds4_sha256_run *run = NULL;

    DS4_TRY(ds4_map_open(&map, path, err));
    ds4_status st = ds4_sha256_begin(&run, err);
    if (st == DS4_OK) st = add_file(&map, path, opt, run, err);
    const bool done = ds4_sha256_end(run, st == DS4_OK ? digest : NULL);
    if (st == DS4_OK && !done) st = ds4_fail(err, DS4_E_NOMEM, "%s: no memory for SHA-256", path);
    ds4_map_close(&map);
    return st;
}

verify_known verify_look_up(ds4_slice list, uint64_t n_bytes, const char *digest, char name[64])
{
    char     line[512], entry[64], sha[72];
    uint64_t bytes;
    uint32_t n_same = 0;

    for (size_t at = 0; at < list.n_bytes;) {
        const char  *end = memchr(list.data + at, '\n', list.n_bytes - at);
        const size_t n = end ? (size_t)(end - list.data) - at : list.n_bytes - at;
        snprintf(line, sizeof line, "%.*s", (int)(n < sizeof line ? n : sizeof line - 1), list.data + at);
        at += n + 1;
        if (line[0] == '#' || sscanf(line, "%63s %20" SCNu64 " %71s", entry, &bytes, sha) != 3) continue;
        if (strlen(sha) == 64 && strcmp(sha, digest) == 0) {
            strcpy(name, entry);
            return VERIFY_PUBLISHED;
        }
        if (bytes == n_bytes && strlen(sha) == 64 && n_same++ == 0) strcpy(name, entry);
    }
    return n_same > 0 ? VERIFY_SAME_SIZE : VERIFY_UNKNOWN;
}
