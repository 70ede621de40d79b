/* gguf_write_test.c - what the GGUF writer writes, the reader reads. */
#include "testing.h"

#include "format/gguf.h"
#include "format/gguf_write.h"

/* A folder of this test alone, below the folder of everything that was built. */
static char folder[512];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s/gguf_write_test.XXXXXX", getenv("OUT") ? getenv("OUT") : "build");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    rmdir(folder);
    return 0;
}

static void put_all_kinds(ds4_gguf_writer *w)
{
    const uint32_t  u[3] = { 0, 4, 128 };
    const int32_t   s[2] = { -1, 7 };
    const float     f[2] = { 1.5f, -2.0f };
    const ds4_slice t[3] = { DS4_SLICE("a"), DS4_SLICE(""), DS4_SLICE("b\0c") };

    ds4_gguf_put_u32(w, "u32", 4000000000u);
    ds4_gguf_put_f32(w, "f32", 0.25f);
    ds4_gguf_put_bool(w, "yes", true);
    ds4_gguf_put_bool(w, "no", false);
    ds4_gguf_put_string(w, "text", DS4_SLICE("hello"));
    ds4_gguf_put_u32s(w, "u32s", u, 3);
    ds4_gguf_put_i32s(w, "i32s", s, 2);
    ds4_gguf_put_f32s(w, "f32s", f, 2);
    ds4_gguf_put_strings(w, "texts", t, 3);
    ds4_gguf_put_u32s(w, "none", NULL, 0);
}

static void check_values(const ds4_gguf *g)
{
    uint64_t  u = 0;
    float     f = 0;
    bool      b = false;
    ds4_slice s = { 0 };
    ds4_err   err;

    assert_int_equal(ds4_gguf_get_u64(g, "u32", 0, UINT64_MAX, &u, &err), DS4_OK);
    assert_int_equal(u, 4000000000u);
    assert_int_equal(ds4_gguf_get_f32(g, "f32", &f, &err), DS4_OK);
    assert_true(f == 0.25f);
    assert_int_equal(ds4_gguf_opt_bool(g, "yes", false, &b, &err), DS4_OK);
    assert_true(b);
    assert_int_equal(ds4_gguf_opt_bool(g, "no", true, &b, &err), DS4_OK);
    assert_false(b);
    assert_int_equal(ds4_gguf_get_string(g, "text", &s, &err), DS4_OK);
    assert_true(ds4_slice_eq(s, DS4_SLICE("hello")));
}

static void check_arrays(const ds4_gguf *g)
{
    int64_t   *i = NULL;
    float     *f = NULL;
    ds4_slice *t = NULL;
    uint64_t   n = 0;
    ds4_err    err;

    assert_int_equal(ds4_gguf_copy_i64s(g, "u32s", 0, 128, &i, &n, &err), DS4_OK);
    assert_int_equal(n, 3);
    assert_int_equal(i[2], 128);
    free(i);
    assert_int_equal(ds4_gguf_copy_i64s(g, "i32s", -1, 7, &i, &n, &err), DS4_OK);
    assert_int_equal(n, 2);
    assert_int_equal(i[0], -1);
    free(i);
    assert_int_equal(ds4_gguf_copy_f32s(g, "f32s", &f, &n, &err), DS4_OK);
    assert_int_equal(n, 2);
    assert_true(f[1] == -2.0f);
    free(f);
    assert_int_equal(ds4_gguf_copy_strings(g, "texts", &t, &n, &err), DS4_OK);
    assert_int_equal(n, 3);
    assert_true(ds4_slice_eq(t[1], DS4_SLICE("")));
    assert_true(ds4_slice_eq(t[2], DS4_SLICE("b\0c")));
    free(t);
    assert_int_equal(ds4_gguf_copy_i64s(g, "none", 0, 0, &i, &n, &err), DS4_OK);
    assert_int_equal(n, 0);
    free(i);
}

static void test_written_keys_are_read(void **state)
{
    ds4_gguf_writer *w = NULL, *copy = NULL;
    ds4_gguf        *g = NULL, *h = NULL;
    ds4_str          bytes = { 0 }, again = { 0 };
    ds4_err          err = { 0 };

    (void)state;
    assert_int_equal(ds4_gguf_writer_create(&w, 0, &err), DS4_OK);
    put_all_kinds(w);
    assert_int_equal(ds4_gguf_writer_header(w, &bytes, &err), DS4_OK);
    assert_int_equal(ds4_gguf_open_bytes("memory", bytes.data, bytes.n_bytes, &g, &err), DS4_OK);
    check_values(g);
    check_arrays(g);

    assert_int_equal(ds4_gguf_writer_create(&copy, 0, &err), DS4_OK);
    for (uint32_t i = 0; i < ds4_gguf_n_keys(g); i++) ds4_gguf_put_key(copy, ds4_gguf_key_at(g, i));
    assert_int_equal(ds4_gguf_writer_header(copy, &again, &err), DS4_OK);
    assert_int_equal(again.n_bytes, bytes.n_bytes);
    assert_memory_equal(again.data, bytes.data, bytes.n_bytes);
    assert_int_equal(ds4_gguf_open_bytes("copy", again.data, again.n_bytes, &h, &err), DS4_OK);

    ds4_gguf_close(h);
    ds4_gguf_close(g);
    ds4_str_clear(&again);
    ds4_str_clear(&bytes);
    ds4_gguf_writer_free(copy);
    ds4_gguf_writer_free(w);
}

static void write_two_tensors(ds4_gguf_writer *w, const char *path)
{
    const float    norm[3] = { 1, 2, 3 };
    uint8_t        blocks[2 * 34];
    const uint64_t norm_dim[1] = { 3 }, block_dim[2] = { 32, 2 };
    ds4_err        err = { 0 };

    for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = (uint8_t)i;
    ds4_gguf_declare(w, "norm", DS4_F32, 1, norm_dim);
    ds4_gguf_declare(w, "blocks", DS4_Q8_0, 2, block_dim);
    assert_int_equal(ds4_gguf_writer_begin(w, path, &err), DS4_OK);
    assert_int_equal(ds4_gguf_writer_append(w, norm, sizeof norm, &err), DS4_OK);
    assert_int_equal(ds4_gguf_writer_finish(w, &err), DS4_E_ARG);       /* the blocks are missing */
    assert_int_equal(ds4_gguf_writer_append(w, blocks, 50, &err), DS4_OK);
    assert_int_equal(ds4_gguf_writer_append(w, blocks, 19, &err), DS4_E_ARG);   /* 18 fit */
    assert_int_equal(ds4_gguf_writer_append(w, blocks + 50, 18, &err), DS4_OK);
    assert_int_equal(ds4_gguf_writer_append(w, blocks, 1, &err), DS4_E_ARG);
    assert_int_equal(access(path, F_OK), -1);                   /* no name before the finish */
    assert_int_equal(ds4_gguf_writer_finish(w, &err), DS4_OK);
}

static void check_two_tensors(uint32_t alignment)
{
    ds4_gguf_writer *w = NULL;
    ds4_gguf        *g = NULL;
    ds4_err          err = { 0 };
    char             path[600];

    snprintf(path, sizeof path, "%s/f.gguf", folder);
    assert_int_equal(ds4_gguf_writer_create(&w, alignment, &err), DS4_OK);
    write_two_tensors(w, path);
    assert_int_equal(ds4_gguf_open(path, &g, &err), DS4_OK);
    unlink(path);
    assert_int_equal(ds4_gguf_alignment(g), alignment ? alignment : 32);
    assert_int_equal(ds4_gguf_n_tensors(g), 2);
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, "blocks");
    assert_non_null(t);
    assert_int_equal((uintptr_t)t->data % (alignment ? alignment : 32), 0);
    assert_int_equal(t->n_bytes, 68);
    for (uint8_t i = 0; i < 68; i++) assert_int_equal(t->data[i], i);
    assert_int_equal(t->dim[0], 32);
    assert_int_equal(t->dim[1], 2);
    assert_int_equal(t->dim[2], 1);
    assert_ptr_equal(ds4_gguf_tensor_find(g, "norm"), ds4_gguf_tensor_at(g, 0));
    assert_null(ds4_gguf_tensor_find(g, "other"));
    ds4_gguf_close(g);
    ds4_gguf_writer_free(w);
}

static void test_written_tensors_are_read(void **state)
{
    (void)state;
    check_two_tensors(0);
    check_two_tensors(4096);
}

static void test_bad_declarations_are_refused(void **state)
{
    const uint64_t   dim[1] = { 33 };
    ds4_gguf_writer *w = NULL;
    ds4_str          out = { 0 };
    ds4_err          err = { 0 };

    (void)state;
    assert_int_equal(ds4_gguf_writer_create(&w, 24, &err), DS4_E_ARG);
    assert_int_equal(ds4_gguf_writer_create(&w, 0, &err), DS4_OK);
    ds4_gguf_declare(w, "odd", DS4_Q8_0, 1, dim);
    assert_int_equal(ds4_gguf_writer_header(w, &out, &err), DS4_E_ARG);
    assert_non_null(strstr(err.text, "odd"));
    ds4_str_clear(&out);
    ds4_gguf_writer_free(w);
}

static void test_an_unfinished_file_leaves_nothing(void **state)
{
    const uint64_t   dim[1] = { 4 };
    ds4_gguf_writer *w = NULL;
    ds4_err          err = { 0 };
    char             path[600];

    (void)state;
    snprintf(path, sizeof path, "%s/f.gguf", folder);
    assert_int_equal(ds4_gguf_writer_create(&w, 0, &err), DS4_OK);
    ds4_gguf_declare(w, "t", DS4_F32, 1, dim);
    assert_int_equal(ds4_gguf_writer_begin(w, path, &err), DS4_OK);
    ds4_gguf_writer_free(w);
    assert_int_equal(rmdir(folder), 0);                         /* only works on an empty folder */
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_written_keys_are_read),
    cmocka_unit_test_setup_teardown(test_written_tensors_are_read, make_folder, remove_folder),
    cmocka_unit_test(test_bad_declarations_are_refused),
    cmocka_unit_test_setup_teardown(test_an_unfinished_file_leaves_nothing, make_folder, remove_folder),
};

TEST_MAIN(tests)
