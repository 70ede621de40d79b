/* twin.c - see twin.h. */
#include "testing.h"

#include "backend/gpu/cuda/cuda_backend.h"
#include "backend/gpu/metal/metal_backend.h"
#include "emulator/emulated_device.h"
#include "emulator/fake_metal.h"
#include "emulator/twin.h"

#include "base/rng.h"
#include "format/dtype.h"
#include "format/encode.h"

#include <math.h>
#include <sys/mman.h>

static bool on_metal;

void twin_on_metal(bool on)
{
    on_metal = on;
}

static void must(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

/* The backend under test: the emulated GPU, or the one that DS4_TEST_BACKEND names. */
static const ds4_backend *tested_backend(void)
{
    const char *name = getenv("DS4_TEST_BACKEND");

#ifdef DS4_HAVE_FAKE_METAL
    if (!name && on_metal) return &ds4_backend_metal;
#endif
    if (!name) return &emulated_backend;
#ifdef DS4_HAVE_CUDA
    if (strcmp(name, "cuda") == 0) return &ds4_backend_cuda;
#endif
#ifdef DS4_HAVE_METAL
    if (strcmp(name, "metal") == 0) return &ds4_backend_metal;
#endif
    fail_msg("no backend %s to test", name);
    return NULL;
}

void twin_open(twin *t, const ds4_limits *limits)
{
    ds4_err err;

    *t = (twin){ .backend = { &ds4_backend_cpu, tested_backend() },
                 .rng = { { 20 } },
                 .hash = 14695981039346656037ull };
    for (int s = 0; s < TWIN_SIDES; s++) must(t->backend[s]->open(0, limits, &t->dev[s], &err), &err);
}

void twin_close(twin *t)
{
    for (int s = 0; s < TWIN_SIDES; s++) t->backend[s]->close(t->dev[s]);
    on_metal = false;
    emulated_run_text(false);
#ifdef DS4_HAVE_FAKE_METAL
    if (fake_metal_misuse()) fail_msg("%s", fake_metal_misuse());
    assert_int_equal(fake_metal_count().n_live, 0);
#endif
}

uint32_t twin_below(twin *t, uint32_t n)
{
    return (uint32_t)(ds4_rng_uniform(&t->rng) * n);
}

static float roughly_normal(twin *t)
{
    double sum = -3.0;
    for (int i = 0; i < 6; i++) sum += ds4_rng_uniform(&t->rng);
    return (float)(sum * sqrt(2.0));
}

twin_buf twin_zeros(twin *t, uint64_t n_bytes)
{
    twin_buf b = { .n_bytes = n_bytes };
    ds4_err  err;

    for (int s = 0; s < TWIN_SIDES; s++)
        must(ds4_backend_take(t->backend[s], t->dev[s], DS4_MEM_DEVICE, n_bytes, &b.buf[s], &err), &err);
    return b;
}

twin_buf twin_bytes(twin *t, const void *bytes, uint64_t n_bytes)
{
    twin_buf b = twin_zeros(t, n_bytes);
    ds4_err  err;

    for (int s = 0; s < TWIN_SIDES; s++) {
        must(ds4_backend_write(t->backend[s], t->dev[s], twin_view(b, s), bytes, n_bytes, &err), &err);
    }
    return b;
}

twin_buf twin_floats(twin *t, uint64_t n)
{
    float *x = malloc(n * sizeof *x);

    for (uint64_t i = 0; i < n; i++) x[i] = roughly_normal(t);
    const twin_buf b = twin_bytes(t, x, n * sizeof *x);
    free(x);
    return b;
}

void twin_free(twin *t, twin_buf b)
{
    for (int s = 0; s < TWIN_SIDES; s++) t->backend[s]->free(t->dev[s], b.buf[s]);
}

/* As a model file is: mapped, so that the CPU backend may tell the system to forget pages. */
static uint8_t *map_file(const uint8_t *bytes, uint64_t n_bytes)
{
    FILE *file = tmpfile();

    if (!file || fwrite(bytes, 1, n_bytes, file) != n_bytes || fflush(file) != 0)
        fail_msg("no temporary file");
    uint8_t *map = mmap(NULL, n_bytes, PROT_READ, MAP_PRIVATE, fileno(file), 0);
    if (map == MAP_FAILED) fail_msg("a temporary file cannot be mapped");
    fclose(file);
    return map;
}

twin_matrix twin_matrix_make(twin *t, uint32_t dtype, uint32_t n_in, uint32_t n_out, uint32_t n_mats,
                             ds4_use use)
{
    const uint64_t row_bytes = ds4_row_bytes(dtype, n_in), n_rows = (uint64_t)n_out * n_mats;
    uint8_t       *bytes = malloc(row_bytes * n_rows);
    float         *x = malloc(n_in * sizeof *x), *ones = malloc(n_in * sizeof *ones);
    ds4_trellis   *trellis = NULL;
    ds4_err        err;

    if (ds4_trellis_create(&trellis, DS4_TRELLIS_VBMI, &err) != DS4_OK) fail_msg("%s", err.text);
    for (uint32_t i = 0; i < n_in; i++) ones[i] = 1.0f;
    for (uint64_t r = 0; r < n_rows; r++) {
        for (uint32_t i = 0; i < n_in; i++) x[i] = roughly_normal(t);
        ds4_encode_row(dtype, DS4_ENCODE_STANDARD, bytes + r * row_bytes, x, ones, n_in, trellis);
    }
    ds4_trellis_free(trellis);
    twin_matrix m = { .bytes = map_file(bytes, row_bytes * n_rows), .n_bytes = row_bytes * n_rows };
    free(bytes);
    const ds4_tensor tensor = { .name = "random",
                                .path = "memory",
                                .data = m.bytes,
                                .n_bytes = row_bytes * n_rows,
                                .dtype = dtype,
                                .n_in = n_in,
                                .n_out = n_out,
                                .n_mats = n_mats,
                                .use = use,
                                .by_rows = use == DS4_USE_ROWS };
    for (int s = 0; s < TWIN_SIDES; s++) {
        must(t->backend[s]->bind(t->dev[s], &tensor, &m.w[s], &err), &err);
        must(t->backend[s]->load(t->dev[s], &(ds4_loading){ 0 }, &err), &err);
    }
    free(x);
    free(ones);
    return m;
}

void twin_matrix_free(twin_matrix m)
{
    munmap(m.bytes, m.n_bytes);
}

void twin_run(twin *t, int side, const ds4_op *op, const ds4_batch *batch)
{
    const ds4_backend *b = t->backend[side];
    ds4_program       *program;
    ds4_ticket         ticket;
    ds4_err            err;

    must(b->compile(t->dev[side], op, 1, &program, &err), &err);
    must(b->run(t->dev[side], program, batch, &ticket, &err), &err);
    must(b->wait(t->dev[side], ticket, &err), &err);
    b->drop_program(t->dev[side], program);
}

void *twin_read(twin *t, int side, twin_buf b)
{
    void   *bytes = malloc(b.n_bytes);
    ds4_err err;

    must(ds4_backend_read(t->backend[side], t->dev[side], twin_view(b, side), bytes, b.n_bytes, &err), &err);
    return bytes;
}

void twin_align(twin *t, twin_buf b)
{
    void   *bytes = twin_read(t, 0, b);
    ds4_err err;

    must(ds4_backend_write(t->backend[1], t->dev[1], twin_view(b, 1), bytes, b.n_bytes, &err), &err);
    free(bytes);
}

void twin_hash(twin *t, const void *data, uint64_t n)
{
    const uint8_t *bytes = data;

    for (uint64_t i = 0; i < n; i++) t->hash = (t->hash ^ bytes[i]) * 1099511628211ull;
}

void twin_expect_rows(twin *t, twin_buf b, uint32_t n_rows, uint32_t n, uint32_t stride, double bound,
                      const char *what)
{
    float *x[TWIN_SIDES] = { twin_read(t, 0, b), twin_read(t, 1, b) };

    for (uint32_t r = 0; r < n_rows; r++) {
        const float *a = x[0] + (uint64_t)r * stride, *c = x[1] + (uint64_t)r * stride;
        double       squares = 0.0;
        for (uint32_t i = 0; i < n; i++) squares += (double)a[i] * a[i];
        const double most = bound * sqrt(squares / n) + 1e-30;
        for (uint32_t i = 0; i < n; i++) {
            if (fabs((double)a[i] - c[i]) <= most) continue;
            fail_msg("%s: row %u value %u is %.9g, on the CPU %.9g, allowed %.3g off", what, r, i,
                     (double)c[i], (double)a[i], most);
        }
        twin_hash(t, c, n * sizeof *c);
    }
    free(x[0]);
    free(x[1]);
}

void twin_expect_bytes(twin *t, twin_buf b, const char *what)
{
    uint8_t *x[TWIN_SIDES] = { twin_read(t, 0, b), twin_read(t, 1, b) };

    for (uint64_t i = 0; i < b.n_bytes; i++) {
        if (x[0][i] != x[1][i])
            fail_msg("%s: byte %llu is %u, on the CPU %u", what, (unsigned long long)i, x[1][i], x[0][i]);
    }
    twin_hash(t, x[1], b.n_bytes);
    free(x[0]);
    free(x[1]);
}
