/* imatrix_test.c - files of importance: written and read back, added up, the older form, hostile ones. */
#include "testing.h"

#include "base/file.h"
#include "format/imatrix.h"

static void put_i32(ds4_str *s, int32_t v)
{
    for (int i = 0; i < 4; i++) ds4_str_add_char(s, (char)(uint8_t)((uint32_t)v >> (8 * i)));
}

static void put_f32(ds4_str *s, float v)
{
    int32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_i32(s, bits);
}

static void put_entry(ds4_str *s, const char *name, int32_t n_calls, int32_t n, const float *values)
{
    put_i32(s, (int32_t)strlen(name));
    ds4_str_add_text(s, name);
    put_i32(s, n_calls);
    put_i32(s, n);
    for (int32_t i = 0; i < n; i++) put_f32(s, values[i]);
}

/* Of a copy of exactly these bytes, so that a sanitizer sees a step too far. */
static ds4_status read_exact(ds4_imatrix *m, const void *bytes, size_t n, ds4_err *err)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n) memcpy(copy, bytes, n);
    const ds4_status st = ds4_imatrix_read_bytes(m, "evil", copy, n, err);
    free(copy);
    return st;
}

static void fill(ds4_imatrix *m, float factor)
{
    *m = (ds4_imatrix){ .has_counts = true, .n_chunks = 3 };
    ds4_imatrix_entry *e = ds4_imatrix_add(m, "blk.0.ffn_down_exps.weight", 4, 2);
    assert_non_null(e);
    for (int i = 0; i < 8; i++) e->sum[i] = factor * (float)(i < 4 ? i + 1 : 0);
    e->count[0] = factor;
    assert_non_null(ds4_imatrix_add(m, "blk.0.attn_kv.weight", 2, 1));
    m->entries[1].sum[1] = 8 * factor;
    m->entries[1].count[0] = 2 * factor;
    ds4_str_add_text(&m->dataset, "a text");
    ds4_str_add_text(&m->source, "abc");
}

static void test_written_and_read_back(void **state)
{
    char        path[256];
    ds4_imatrix a, b;
    ds4_err     err = { .code = DS4_OK };

    (void)state;
    fill(&a, 1);
    test_temp_path(path, "imatrix");
    assert_int_equal(ds4_imatrix_write(&a, path, &err), DS4_OK);
    assert_int_equal(ds4_imatrix_read(&b, path, &err), DS4_OK);
    unlink(path);
    assert_int_equal(b.n, 2);
    assert_int_equal(b.n_chunks, 3);
    assert_true(b.has_counts);
    assert_string_equal(ds4_str_text(&b.dataset), "a text");
    assert_string_equal(ds4_str_text(&b.source), "abc");
    for (uint32_t i = 0; i < 2; i++) {
        assert_string_equal(b.entries[i].name, a.entries[i].name);
        assert_int_equal(b.entries[i].n_mats, a.entries[i].n_mats);
        assert_memory_equal(b.entries[i].sum, a.entries[i].sum,
                            a.entries[i].n_mats * a.entries[i].n_columns * sizeof(float));
        assert_memory_equal(b.entries[i].count, a.entries[i].count, a.entries[i].n_mats * sizeof(float));
    }
    ds4_imatrix_clear(&a);
    ds4_imatrix_clear(&b);
}

static void test_sums_and_counts_add_up(void **state)
{
    ds4_imatrix a, b;
    ds4_err     err = { .code = DS4_OK };

    (void)state;
    fill(&a, 1);
    fill(&b, 2);
    assert_non_null(ds4_imatrix_add(&b, "only.there", 1, 1));
    assert_int_equal(ds4_imatrix_merge(&a, &b, &err), DS4_OK);
    assert_int_equal(a.n, 3);
    assert_int_equal(a.n_chunks, 6);
    assert_true(a.entries[0].sum[3] == 12 && a.entries[0].count[0] == 3 && a.entries[1].sum[1] == 24);
    b.entries[0].n_columns = 3;
    assert_int_equal(ds4_imatrix_merge(&a, &b, &err), DS4_E_FORMAT);
    b.entries[0].n_columns = 4;
    b.has_counts = false;
    assert_int_equal(ds4_imatrix_merge(&a, &b, &err), DS4_E_FORMAT);
    ds4_imatrix_clear(&a);
    ds4_imatrix_clear(&b);
}

static void test_rows_are_scaled_and_unseen_experts_unknown(void **state)
{
    ds4_imatrix m;
    ds4_status  st;
    ds4_err     err = { .code = DS4_OK };
    float       row[4], sum = 0;

    (void)state;
    fill(&m, 1);
    assert_true(ds4_imatrix_row(&m, "blk.0.ffn_down_exps.weight", 0, 2, 4, row, &st, &err));
    for (int i = 0; i < 4; i++) sum += row[i];
    assert_true(sum > 3.999f && sum < 4.001f);
    assert_true(row[3] / row[0] > 3.95f && row[3] / row[0] < 4.0f);
    assert_false(ds4_imatrix_row(&m, "blk.0.ffn_down_exps.weight", 1, 2, 4, row, &st, &err));
    assert_int_equal(st, DS4_OK);
    assert_false(ds4_imatrix_row(&m, "blk.9.none", 0, 1, 4, row, &st, &err));
    assert_int_equal(st, DS4_OK);
    assert_false(ds4_imatrix_row(&m, "blk.0.ffn_down_exps.weight", 0, 3, 4, row, &st, &err));
    assert_int_equal(st, DS4_E_FORMAT);
    assert_true(ds4_imatrix_row(&m, "blk.0.attn_kv.weight", 0, 1, 2, row, &st, &err));
    assert_true(row[0] > 0);            /* never quite nothing */
    ds4_imatrix_clear(&m);
}

/* Means of all experts one behind the other, an expert with a name of its own, and a trailer. */
static void make_dat(ds4_str *s)
{
    static const float both[8] = { 1, 1, 1, 5, 7, 1, 1, 1 }, one[4] = { 0, 0, 8, 0 };

    put_i32(s, 2);
    put_entry(s, "a", 2, 8, both);
    put_entry(s, "b.expert.1", 1, 4, one);
    put_i32(s, 17);
    put_i32(s, 3);
    ds4_str_add_text(s, "set");
}

static void test_the_older_form(void **state)
{
    ds4_str     s = { 0 };
    ds4_imatrix m;
    ds4_status  st;
    ds4_err     err = { .code = DS4_OK };
    float       row[4];

    (void)state;
    make_dat(&s);
    assert_int_equal(read_exact(&m, s.data, s.n_bytes, &err), DS4_OK);
    assert_false(m.has_counts);
    assert_int_equal(m.n_chunks, 17);
    assert_string_equal(ds4_str_text(&m.dataset), "set");
    assert_true(m.entries[0].sum[4] == 3.5f);                /* divided by the calls */
    assert_true(ds4_imatrix_row(&m, "a", 1, 2, 4, row, &st, &err));
    assert_true(row[0] > 6.9f * row[1]);
    assert_true(ds4_imatrix_row(&m, "b", 1, 2, 4, row, &st, &err));
    assert_true(row[2] > 3.9f);
    assert_false(ds4_imatrix_row(&m, "b", 0, 2, 4, row, &st, &err));
    ds4_imatrix_clear(&m);
    /* Every shorter file is refused, but for one that lacks just the trailer. */
    for (size_t n = 0; n < s.n_bytes; n++) {
        st = read_exact(&m, s.data, n, &err);
        if (n == s.n_bytes - 11) assert_int_equal(st, DS4_OK);
        else assert_int_equal(st, DS4_E_FORMAT);
        ds4_imatrix_clear(&m);
    }
    ds4_str_clear(&s);
}

static void refuse(ds4_str *s, const char *words)
{
    ds4_imatrix m;
    ds4_err     err = { .code = DS4_OK };

    assert_int_equal(read_exact(&m, s->data, s->n_bytes, &err), DS4_E_FORMAT);
    if (!strstr(err.text, words)) fail_msg("\"%s\" lacks \"%s\"", err.text, words);
    ds4_imatrix_clear(&m);
    ds4_str_clear(s);
}

static void test_hostile_files_are_refused(void **state)
{
    static const float good[2] = { 1, 2 }, bad[2] = { 1, -2 };
    ds4_str            s = { 0 };

    (void)state;
    put_i32(&s, -1);
    refuse(&s, "-1 entries");
    put_i32(&s, 1 << 30);
    refuse(&s, "entries");
    put_i32(&s, 1), put_i32(&s, 0x7fffffff);
    refuse(&s, "has no name");
    put_i32(&s, 1), put_i32(&s, 1), ds4_str_add_text(&s, "a"), put_i32(&s, 1), put_i32(&s, 0x7fffffff);
    refuse(&s, "promises 2147483647 values");
    put_i32(&s, 1), put_entry(&s, "a", 1, 2, bad);
    refuse(&s, "has -2");
    put_i32(&s, 2), put_entry(&s, "a", 1, 2, good), put_entry(&s, "a", 1, 2, good);
    refuse(&s, "\"a\" is there twice");
    put_i32(&s, 1), put_entry(&s, "a\nb", 1, 2, good);
    refuse(&s, "has no name");
    put_i32(&s, 1), put_entry(&s, "a", 1, 2, good), put_i32(&s, 1), put_i32(&s, -5);
    refuse(&s, "does not fit its length");
    ds4_str_add_text(&s, "GGUFabc");
    refuse(&s, "evil");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_written_and_read_back),
    cmocka_unit_test(test_sums_and_counts_add_up),
    cmocka_unit_test(test_rows_are_scaled_and_unseen_experts_unknown),
    cmocka_unit_test(test_the_older_form),
    cmocka_unit_test(test_hostile_files_are_refused),
};

TEST_MAIN(tests)
