/* kv_tail_test.c - the bytes of a tail: the same in every form of memory and for every size
 * of the rings, and in few pieces. */
#include "testing.h"

#include "backend/backend.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "model/kv_layout.h"
#include "model/kv_tail.h"

enum { N_LAYERS = 43 };

static ds4_shape flash(void)
{
    ds4_shape s = { .n_layers = N_LAYERS, .n_head = 512, .n_rot = 64, .n_window = 128, .n_index = 128 };
    for (uint32_t i = 0; i < N_LAYERS; i++) s.ratio[i] = i < 2 ? 0 : i % 2 == 0 ? 4 : 128;
    return s;
}

static ds4_shape small(void)
{
    ds4_shape s = { .n_layers = 4, .n_head = 96, .n_rot = 32, .n_window = 16, .n_index = 32,
                    .ratio = { 0, 4, 128, 4 } };
    return s;
}

/* ---- a session's state on the CPU ----------------------------------------------------------- */

typedef struct state {
    ds4_kv_layer  layer[N_LAYERS];
    ds4_kv_layout kv;
    ds4_dev      *dev;
    ds4_kv_place  place;
    ds4_buf      *buf[3];
} state;

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

static ds4_view new_memory(state *s, int i, uint64_t n_bytes)
{
    ds4_err err = { 0 };
    check(ds4_backend_take(&ds4_backend_cpu, s->dev, DS4_MEM_DEVICE, n_bytes + 1, &s->buf[i], &err), &err);
    return (ds4_view){ s->buf[i], 0 };
}

static void open_state(state *s, const ds4_shape *shape, ds4_kv_form form)
{
    const ds4_limits limits = { .n_threads = 1, .max_batch = 1 };
    ds4_err          err = { 0 };

    ds4_kv_layout_make(shape, form, form, s->layer, &s->kv);
    check(ds4_backend_cpu.open(0, &limits, &s->dev, &err), &err);
    s->place = (ds4_kv_place){ .backend = &ds4_backend_cpu, .dev = s->dev, .kv = &s->kv };
    s->place.tail = new_memory(s, 0, s->kv.tail_bytes);
    s->place.last.cold = new_memory(s, 1, s->kv.cold_bytes);
    s->place.last.warm = new_memory(s, 2, s->kv.warm_bytes);
}

static void close_state(state *s)
{
    for (int i = 0; i < 3; i++) ds4_backend_cpu.free(s->dev, s->buf[i]);
    ds4_backend_cpu.close(s->dev);
}

static uint8_t *load_noise(state *s, uint32_t pos, uint64_t seed)
{
    const uint64_t n = ds4_kv_tail_bytes(&s->kv, pos);
    uint8_t       *bytes = malloc(n + 1);
    ds4_rng        rng;
    ds4_err        err = { 0 };

    assert_non_null(bytes);
    ds4_rng_seed(&rng, seed);
    for (uint64_t i = 0; i < n; i++) bytes[i] = (uint8_t)ds4_rng_next(&rng);
    check(ds4_kv_tail_load(&s->place, pos, bytes, &err), &err);
    return bytes;
}

/* ---- the order, written down a second time: record by record, as files of version 1 have it -- */

typedef struct old_walk {
    const state *s;
    uint8_t     *out;
} old_walk;

static void old_piece(old_walk *w, ds4_view base, uint64_t off, uint64_t n_bytes)
{
    ds4_err err = { 0 };
    const ds4_copy one = { { base.buf, off }, n_bytes, w->out };
    check(ds4_backend_cpu.read(w->s->dev, &one, 1, &err), &err);
    w->out += n_bytes;
}

static void old_compressor(old_walk *w, const ds4_kv_ring *r, uint32_t ratio, uint32_t pos)
{
    const uint64_t place = 4ull * r->width;
    const uint32_t window = pos / ratio * ratio;

    for (uint32_t score = 0; score < 2; score++) {
        const uint64_t at = r->off + score * r->n_rows * place;
        for (uint32_t p = window; ratio == 4 && window >= 4 && p < window + 4; p++) {
            old_piece(w, w->s->place.tail, at + (p - 4) % r->n_rows * place, place / 2);
        }
        for (uint32_t p = window; p < pos; p++) {
            old_piece(w, w->s->place.tail, at + p % r->n_rows * place, place);
        }
    }
}

static uint64_t old_bytes(const state *s, uint32_t pos, uint8_t *out)
{
    const ds4_kv_layout *kv = &s->kv;
    old_walk             w = { s, out };

    for (uint32_t i = 0; i < kv->n_layers; i++) {
        const ds4_kv_layer *l = &kv->layer[i];
        for (uint32_t p = pos > kv->n_window ? pos - kv->n_window : 0; p < pos; p++) {
            old_piece(&w, s->place.tail, l->raw.off + p % l->raw.n_rows * kv->row_bytes, kv->row_bytes);
        }
        if (l->ratio == 0) continue;
        old_compressor(&w, &l->comp, l->ratio, pos);
        old_piece(&w, l->ratio == 4 ? s->place.last.cold : s->place.last.warm, l->row.off,
                  pos % 256 / l->ratio * kv->row_bytes);
        if (l->ratio != 4) continue;
        old_compressor(&w, &l->icomp, 4, pos);
        old_piece(&w, s->place.last.warm, l->irow.off, pos % 256 / 4 * kv->irow_bytes);
    }
    return (uint64_t)(w.out - out);
}

static const uint32_t positions[] = { 1, 2, 3, 4, 5, 7, 15, 16, 17, 127, 128, 129, 131, 255, 256, 257, 383,
                                      511, 640, 1023, 30000, 30003, 30079, 30720 };
enum { N_POSITIONS = sizeof positions / sizeof *positions };

static void test_old_files_are_read(void **unused)
{
    const ds4_shape shapes[2] = { small(), flash() };
    state           s;
    ds4_err         err = { 0 };

    (void)unused;
    for (int i = 0; i < 4; i++) {
        open_state(&s, &shapes[i / 2], i % 2 ? DS4_KV_FLOATS : DS4_KV_RECORDS);
        for (int k = 0; k < N_POSITIONS; k++) {
            const uint32_t pos = positions[k];
            uint8_t       *noise = load_noise(&s, pos, pos);
            const uint64_t n = ds4_kv_tail_bytes(&s.kv, pos);
            uint8_t       *old = malloc(n), *now = malloc(n);
            assert_int_equal(old_bytes(&s, pos, old), n);
            check(ds4_kv_tail_save(&s.place, pos, now, &err), &err);
            assert_memory_equal(old, noise, n);
            assert_memory_equal(now, noise, n);
            free(old);
            free(now);
            free(noise);
        }
        close_state(&s);
    }
}

/* ---- planes ------------------------------------------------------------------------------------ */

static void test_planes_hold_the_bytes_of_records(void **unused)
{
    const ds4_shape shape = flash();
    ds4_kv_layer    r_layer[N_LAYERS], p_layer[N_LAYERS];
    ds4_kv_layout   r, p;

    (void)unused;
    ds4_kv_layout_make(&shape, DS4_KV_RECORDS, DS4_KV_RECORDS, r_layer, &r);
    ds4_kv_layout_make(&shape, DS4_KV_PLANES, DS4_KV_PLANES, p_layer, &p);
    assert_int_equal(r.row_bytes, 584);
    assert_int_equal(r.irow_bytes, 68);
    assert_int_equal(r.cold_bytes + r.warm_bytes, 899648);
    for (int k = 0; k < N_POSITIONS; k++) {
        assert_int_equal(ds4_kv_tail_bytes(&p, positions[k]), ds4_kv_tail_bytes(&r, positions[k]));
    }
    for (uint32_t i = 0; i < N_LAYERS; i++) {
        ds4_kv_range   at[DS4_KV_MAX_PLANES] = { { 0 } };
        const uint32_t n = ds4_kv_rows_at(&p_layer[i].raw, 3, 5, at);
        assert_int_equal(n, 3);
        assert_int_equal(at[0].n_bytes, 5 * 448);
        assert_int_equal(at[1].n_bytes, 5 * 8);
        assert_int_equal(at[2].n_bytes, 5 * 128);
        assert_int_equal(at[0].off - p_layer[i].raw.off, 3 * 448);
        for (uint32_t j = 0; j < n; j++) {
            assert_int_equal(ds4_kv_rows_at(&p_layer[i].raw, 0, 1, at), 3);
            assert_int_equal(at[j].off % DS4_KV_ALIGN, 0);
        }
    }
}

/* No table reaches into another: all rows of all tables, written once each, are still there. */
static void test_tables_do_not_overlap(void **unused)
{
    const ds4_shape   shape = flash();
    const ds4_kv_form forms[] = { DS4_KV_RECORDS, DS4_KV_FLOATS, DS4_KV_PLANES };
    state             s;
    ds4_err           err = { 0 };

    (void)unused;
    for (int i = 0; i < 3; i++) {
        open_state(&s, &shape, forms[i]);
        for (uint32_t pos = 254; pos < 258; pos++) {
            uint8_t       *noise = load_noise(&s, pos, pos);
            const uint64_t n = ds4_kv_tail_bytes(&s.kv, pos);
            uint8_t       *now = malloc(n);
            check(ds4_kv_tail_save(&s.place, pos, now, &err), &err);
            assert_memory_equal(now, noise, n);
            free(now);
            free(noise);
        }
        close_state(&s);
    }
}

/* ---- few pieces ---------------------------------------------------------------------------------- */

static void test_few_pieces(void **unused)
{
    const ds4_shape shape = flash();
    ds4_kv_layer    layer[N_LAYERS];
    ds4_kv_layout   kv;
    ds4_kv_extent    few[4];

    (void)unused;
    ds4_kv_layout_make(&shape, DS4_KV_RECORDS, DS4_KV_RECORDS, layer, &kv);
    for (uint32_t pos = 30000; pos < 30000 + 257; pos++) {
        const uint32_t n = ds4_kv_tail_extents(&kv, pos, NULL, 0);
        if (n > (pos % 128 ? 700 : 480)) fail_msg("%u pieces at %u", n, pos);
    }
    /* A list that is too short receives what fits. */
    assert_true(ds4_kv_tail_extents(&kv, 30000, few, 4) > 4);
    assert_int_equal(few[0].memory, DS4_KV_OWN);
    assert_int_equal(few[3].memory, DS4_KV_OWN);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_old_files_are_read),
    cmocka_unit_test(test_planes_hold_the_bytes_of_records),
    cmocka_unit_test(test_tables_do_not_overlap),
    cmocka_unit_test(test_few_pieces),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
