/* steering.c - see steering.h. */
#include "model/steering.h"

#include "base/file.h"
#include "format/small_float.h"

#include <math.h>
#include <stdlib.h>

enum { ALIGN = 64 };

static ds4_status check_direction(const char *name, uint32_t layer, const float *v, uint32_t n, ds4_err *err)
{
    double sum = 0.0;

    for (uint32_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    const double length = sqrt(sum);
    if (sum == 0.0 || (length > 0.99 && length < 1.01)) return DS4_OK;
    return ds4_fail(err, DS4_E_FORMAT,
                    "%s: the direction of layer %u has length %g, expected 1, or 0 for none", name, layer,
                    length);
}

ds4_status ds4_steering_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes, uint32_t n_layers,
                              uint32_t n_embd, float **v, ds4_err *err)
{
    const uint64_t n = (uint64_t)n_layers * n_embd;
    ds4_status     st = DS4_OK;

    if (n_bytes != n * sizeof(float)) {
        return ds4_fail(err, DS4_E_FORMAT, "%s has %llu bytes, expected %llu: %u layers of %u float32", name,
                        (unsigned long long)n_bytes, (unsigned long long)(n * sizeof(float)), n_layers,
                        n_embd);
    }
    float *out = malloc(n * sizeof *out);
    if (!out) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for %u directions", name, n_layers);
    for (uint64_t i = 0; i < n; i++) out[i] = ds4_load_f32(bytes + i * sizeof *out);
    for (uint32_t l = 0; st == DS4_OK && l < n_layers; l++) {
        st = check_direction(name, l, out + (uint64_t)l * n_embd, n_embd, err);
    }
    if (st == DS4_OK) *v = out;
    else free(out);
    return st;
}

uint64_t ds4_steering_lay_out(const ds4_shape *s, ds4_steer_places *out)
{
    const uint64_t stride = (s->n_embd * sizeof(float) + ALIGN - 1) / ALIGN * ALIGN;

    *out = (ds4_steer_places){ .factor = { 0, ALIGN }, .v = 2 * ALIGN, .stride = stride };
    return out->v + stride * s->n_layers;
}

static ds4_status write_all(const ds4_shape *s, const float *v, const ds4_backend *backend, ds4_dev *dev,
                            const ds4_steer_places *p, ds4_err *err)
{
    static const float zero = 0.0f;

    for (int i = 0; i < 2; i++) {
        const ds4_view at = { p->buf, p->factor[i] };
        DS4_TRY(ds4_backend_write(backend, dev, at, &zero, sizeof zero, err));
    }
    for (uint32_t l = 0; l < s->n_layers; l++) {
        const ds4_view at = { p->buf, p->v + l * p->stride };
        const float   *row = v + (uint64_t)l * s->n_embd;
        DS4_TRY(ds4_backend_write(backend, dev, at, row, s->n_embd * sizeof *row, err));
    }
    return DS4_OK;
}

ds4_status ds4_steering_load(const char *path, const ds4_shape *s, const ds4_backend *backend, ds4_dev *dev,
                             ds4_steer_places *places, float **v, ds4_err *err)
{
    const uint64_t room = ds4_steering_lay_out(s, places), most = (uint64_t)s->n_layers * s->n_embd * 4;
    ds4_str        bytes = { 0 };
    float         *all = NULL;

    ds4_status st = ds4_file_read(path, most, &bytes, err);
    if (st == DS4_OK) {
        st = ds4_steering_parse(path, (const uint8_t *)bytes.data, bytes.n_bytes, s->n_layers, s->n_embd,
                                &all, err);
    }
    if (st == DS4_OK) st = ds4_backend_take(backend, dev, DS4_MEM_DEVICE, room, &places->buf, err);
    if (st == DS4_OK) st = write_all(s, all, backend, dev, places, err);
    if (st == DS4_OK) *v = all;
    else free(all);
    ds4_str_clear(&bytes);
    return st;
}
