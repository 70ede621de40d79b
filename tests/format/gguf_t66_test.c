/* gguf_t66_test.c - files with our own element type: what is written, what is read, what is refused. */
#include "testing.h"

#include "format/gguf.h"
#include "format/gguf_write.h"
#include "support/gguf_bytes.h"

static void test_ids_go_there_and_back(void **state)
{
    (void)state;
    assert_int_equal(ds4_dtype_from_file(DS4_T66_IN_FILES), DS4_T66);
    assert_int_equal(ds4_dtype_to_file(DS4_T66), DS4_T66_IN_FILES);
    assert_null(ds4_dtype_get(ds4_dtype_from_file(DS4_T66)));       /* stands in no file */
    assert_int_equal(ds4_row_bytes(DS4_T66, 512), 132);
}

/* A file with one T66 tensor, whose key, unless version is 0, says that version. */
static ds4_status open_version(uint32_t version, ds4_err *err)
{
    ds4_str   s = { 0 };
    ds4_gguf *g = NULL;

    gguf_head(&s, 1, version ? 1 : 0);
    if (version) {
        gguf_key(&s, DS4_T66_KEY, DS4_GGUF_U32);
        gguf_u32(&s, version);
    }
    gguf_entry(&s, "t", 256, 0, DS4_T66_IN_FILES, 0);
    gguf_data(&s, 32, 96);
    const ds4_status st = ds4_gguf_open_bytes("memory", s.data, s.n_bytes, &g, err);
    if (st == DS4_OK) assert_int_equal(ds4_gguf_tensor_at(g, 0)->dtype, DS4_T66);
    ds4_gguf_close(g);
    ds4_str_clear(&s);
    return st;
}

static void test_only_the_known_version_is_read(void **state)
{
    ds4_err err = { 0 };

    (void)state;
    assert_int_equal(open_version(1, &err), DS4_OK);
    assert_int_equal(open_version(2, &err), DS4_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "tensor \"t\" has type T66, but key \"ds4.t66.version\" is not 1"));
    assert_int_equal(open_version(0, &err), DS4_E_UNSUPPORTED);
}

static void test_the_key_is_written_once(void **state)
{
    const uint64_t   dim[1] = { 256 };
    ds4_gguf_writer *w;
    ds4_str          s = { 0 };
    ds4_err          err = { 0 };
    ds4_gguf        *g;

    (void)state;
    assert_int_equal(ds4_gguf_writer_create(&w, 0, &err), DS4_OK);
    ds4_gguf_declare(w, "a", DS4_T66, 1, dim);
    ds4_gguf_declare(w, "b", DS4_T66, 1, dim);
    assert_int_equal(ds4_gguf_writer_header(w, &s, &err), DS4_OK);
    for (int i = 0; i < 2 * 96; i++) ds4_str_add_char(&s, 0);
    if (ds4_gguf_open_bytes("memory", s.data, s.n_bytes, &g, &err) != DS4_OK) fail_msg("%s", err.text);
    assert_int_equal(ds4_gguf_n_keys(g), 1);
    assert_int_equal(ds4_gguf_tensor_at(g, 1)->n_bytes, 66);
    ds4_gguf_close(g);
    ds4_gguf_writer_free(w);
    ds4_str_clear(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_ids_go_there_and_back),
    cmocka_unit_test(test_only_the_known_version_is_read),
    cmocka_unit_test(test_the_key_is_written_once),
};

TEST_MAIN(tests)
