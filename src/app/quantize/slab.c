/* slab.c - see slab.h. */
#include "app/quantize/slab.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/team.h"
#include "format/small_float.h"

enum { MAX_THREADS = 256 };

/* Encoded bytes held in memory at a time. */
static const uint64_t slab_bytes = (uint64_t)32 << 20;

struct slab {
    slab_options opt;
    ds4_team    *team;
    uint8_t     *bytes;                 /* [capacity] */
    uint64_t     capacity;
    float       *rows;                  /* [threads][n_columns] */
    float       *energy;                /* [n_columns] */
    ds4_trellis *trellis[MAX_THREADS];  /* of each thread; NULL until a matrix is written as T66 */
    ds4_err      errors[MAX_THREADS];   /* code DS4_OK if none */

    const source *from;                 /* being encoded: rows first .. first + n_rows - 1 */
    uint32_t      dtype;
    const float  *importance;
    uint64_t      first, n_rows, row_bytes;
    bool          repack;               /* FP4 to MXFP4 */
};

ds4_status slab_create(slab **out, const slab_options *opt, ds4_err *err)
{
    slab *s = calloc(1, sizeof *s);

    if (!s) return ds4_fail(err, DS4_E_NOMEM, "no memory to convert matrices");
    s->opt = *opt;
    s->capacity = opt->row_bytes > slab_bytes ? opt->row_bytes : slab_bytes;
    ds4_status st = ds4_team_create(&s->team, opt->n_threads, err);
    if (st == DS4_OK) {
        s->bytes = malloc(s->capacity);
        s->rows = calloc(opt->n_threads, opt->n_columns * sizeof *s->rows);
        s->energy = calloc(opt->n_columns, sizeof *s->energy);
        if (!s->bytes || !s->rows || !s->energy) {
            st = ds4_fail(err, DS4_E_NOMEM, "no memory to convert rows of %llu weights",
                          (unsigned long long)opt->n_columns);
        }
    }
    if (st == DS4_OK) *out = s;
    else slab_free(s);
    return st;
}

void slab_free(slab *s)
{
    if (!s) return;
    ds4_team_free(s->team);
    for (uint32_t i = 0; i < MAX_THREADS; i++) ds4_trellis_free(s->trellis[i]);
    free(s->bytes);
    free(s->rows);
    free(s->energy);
    free(s);
}

/* Types whose numbers or scales are F16 and end at 65504. */
static bool is_bounded(uint32_t dtype)
{
    return dtype != DS4_F32 && dtype != DS4_BF16 && dtype != DS4_MXFP4;
}

static ds4_status check_range(const slab *s, const float *x, uint64_t row, ds4_err *err)
{
    for (uint64_t i = 0; i < s->from->n_columns; i++) {
        if (fabsf(x[i]) <= DS4_F16_MAX) continue;
        return ds4_fail(err, DS4_E_UNSUPPORTED,
                        "tensor \"%.100s\": row %llu has %g, more than %s can hold; choose bf16 or f32",
                        s->from->name, (unsigned long long)row, (double)x[i], ds4_dtype_get(s->dtype)->name);
    }
    return DS4_OK;
}

static bool is_stopped(const slab *s)
{
    return s->opt.cancel && s->opt.cancel->stop;
}

static ds4_status encode_one(const slab *s, uint32_t member, uint64_t row, uint8_t *out, ds4_err *err)
{
    float *x = s->rows + member * s->opt.n_columns;

    if (s->repack) return source_row_mxfp4(s->from, row, out, err);
    DS4_TRY(source_row(s->from, row, x, err));
    if (is_bounded(s->dtype)) DS4_TRY(check_range(s, x, row, err));
    ds4_encode_row(s->dtype, s->opt.effort, out, x, s->importance, s->from->n_columns, s->trellis[member]);
    return DS4_OK;
}

static void encode_share(void *ctx, uint32_t member, uint32_t n_members)
{
    slab    *s = ctx;
    uint64_t from, to;

    ds4_team_share(s->n_rows, 1, member, n_members, &from, &to);
    for (uint64_t i = from; i < to && s->errors[member].code == DS4_OK && !is_stopped(s); i++) {
        const ds4_status st =
            encode_one(s, member, s->first + i, s->bytes + i * s->row_bytes, &s->errors[member]);
        if (st != DS4_OK) s->errors[member].code = st;
    }
}

/* The error of the first row that has one: shares are in the order of rows. */
static ds4_status first_error(const slab *s, ds4_err *err)
{
    for (uint32_t i = 0; i < ds4_team_size(s->team); i++) {
        if (s->errors[i].code == DS4_OK) continue;
        if (err) *err = s->errors[i];
        return s->errors[i].code;
    }
    return DS4_OK;
}

/* The energy of each column of the matrix. */
static ds4_status weigh_columns(slab *s, const source *from, ds4_err *err)
{
    const uint64_t n = from->n_columns;

    memset(s->energy, 0, n * sizeof *s->energy);
    for (uint64_t i = 0; i < from->n_rows; i++) {
        DS4_TRY(source_row(from, i, s->rows, err));
        for (uint64_t k = 0; k < n; k++) s->energy[k] += s->rows[k] * s->rows[k];
    }
    return DS4_OK;
}

static ds4_status want_trellis(slab *s, ds4_err *err)
{
    for (uint32_t i = 0; s->dtype == DS4_T66 && i < ds4_team_size(s->team); i++) {
        if (!s->trellis[i]) DS4_TRY(ds4_trellis_create(&s->trellis[i], DS4_TRELLIS_VBMI, err));
    }
    return DS4_OK;
}

ds4_status slab_write(slab *s, const source *from, uint32_t dtype, const float *importance,
                      ds4_gguf_writer *writer, ds4_err *err)
{
    s->from = from;
    s->dtype = dtype;
    s->importance = importance;
    s->row_bytes = ds4_row_bytes(dtype, from->n_columns);
    s->repack = from->kind == SOURCE_FP4 && dtype == DS4_MXFP4;
    if (ds4_gguf_writer_has(writer, from->n_rows * s->row_bytes)) return DS4_OK;
    if (!importance && dtype == DS4_IQ2_XXS && s->opt.effort == DS4_ENCODE_STANDARD) {
        DS4_TRY(weigh_columns(s, from, err));
        s->importance = s->energy;
    }
    DS4_TRY(want_trellis(s, err));
    const uint64_t most = s->capacity / s->row_bytes;
    for (s->first = 0; s->first < from->n_rows; s->first += s->n_rows) {
        s->n_rows = from->n_rows - s->first < most ? from->n_rows - s->first : most;
        for (uint32_t i = 0; i < MAX_THREADS; i++) s->errors[i].code = DS4_OK;
        ds4_team_run(s->team, encode_share, s);
        if (is_stopped(s)) return ds4_fail(err, DS4_E_CANCELLED, "%s: stopped", s->opt.out);
        DS4_TRY(first_error(s, err));
        DS4_TRY(ds4_gguf_writer_append(writer, s->bytes, s->n_rows * s->row_bytes, err));
    }
    return DS4_OK;
}
