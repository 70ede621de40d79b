/* gguf_read_test.c - every rule of the GGUF reader has a hostile file that breaks it. */
#include "testing.h"

#include "base/rng.h"
#include "format/gguf.h"
#include "format/gguf_write.h"
#include "support/gguf_bytes.h"

/* Open a copy that ends at an exact allocation, so that the sanitizer sees any over-read. */
static ds4_status open_copy(const void *bytes, size_t n, ds4_gguf **g, uint8_t **copy, ds4_err *err)
{
    *copy = malloc(n ? n : 1);
    assert_non_null(*copy);
    if (n) memcpy(*copy, bytes, n);
    return ds4_gguf_open_bytes("evil.gguf", *copy, n, g, err);
}

/* The file must be refused with a sentence that has the expected words. Frees s. */
static void refuse_as(ds4_str *s, ds4_status code, const char *words)
{
    ds4_gguf *g = NULL;
    uint8_t  *copy = NULL;
    ds4_err   err = { 0 };

    assert_int_equal(open_copy(s->data, s->n_bytes, &g, &copy, &err), code);
    assert_null(g);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.text, "evil.gguf: "));
    if (!strstr(err.text, words)) fail_msg("\"%s\" lacks \"%s\"", err.text, words);
    free(copy);
    ds4_str_clear(s);
}

static void refuse(ds4_str *s, const char *words)
{
    refuse_as(s, DS4_E_FORMAT, words);
}

static ds4_gguf *accept(ds4_str *s)
{
    ds4_gguf *g = NULL;
    ds4_err   err = { 0 };

    if (ds4_gguf_open_bytes("good.gguf", s->data, s->n_bytes, &g, &err) != DS4_OK) fail_msg("%s", err.text);
    return g;
}

/* ---- header ------------------------------------------------------------------------------- */

static void test_header_rules(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    refuse(&s, "0 bytes long");
    ds4_str_add(&s, "GGUF\3\0\0\0", 8);
    refuse(&s, "8 bytes long");
    gguf_head(&s, 0, 0);
    s.data[0] = 'g';
    refuse(&s, "not a GGUF file: magic 0x46554767, expected 0x46554747");
    gguf_head(&s, 0, 0);
    s.data[4] = 2;
    refuse_as(&s, DS4_E_UNSUPPORTED, "GGUF version 2, expected 3");
    gguf_head(&s, 0, 0);
    s.data[4] = 0;
    s.data[7] = 3;
    refuse_as(&s, DS4_E_UNSUPPORTED, "big-endian");
}

static void test_count_rules(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    gguf_head(&s, 65537, 0);
    refuse(&s, "65537 tensors, expected at most 65536");
    gguf_head(&s, 0, UINT64_MAX);
    refuse(&s, "18446744073709551615 keys, expected at most 65536");
    gguf_head(&s, 0, 2);
    refuse(&s, "2 keys do not fit into 24 bytes");
    gguf_head(&s, 1, 0);
    refuse(&s, "1 tensors do not fit into 24 bytes");
}

/* ---- keys ----------------------------------------------------------------------------------- */

static void test_key_rules(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    gguf_head(&s, 0, 1);
    gguf_u64(&s, 65536);
    gguf_data(&s, 1, 70000);
    refuse(&s, "a key of 65536 bytes");
    gguf_head(&s, 0, 1);
    gguf_u64(&s, 100);
    gguf_data(&s, 1, 50);
    refuse(&s, "the file ends inside a key: 100 bytes needed at 32, 50 left");
    gguf_head(&s, 0, 1);
    gguf_u64(&s, 0);
    gguf_u32(&s, 4);
    gguf_u32(&s, 1);
    refuse(&s, "empty key");
    gguf_head(&s, 0, 1);
    gguf_key(&s, "k", 13);
    gguf_u32(&s, 0);
    refuse(&s, "key \"k\": value type 13, expected 0..12");
    gguf_head(&s, 0, 2);
    gguf_key(&s, "twin", 4);
    gguf_u32(&s, 1);
    gguf_key(&s, "twin", 6);
    gguf_u32(&s, 1);
    refuse(&s, "key \"twin\" appears twice");
    gguf_head(&s, 0, 1);
    gguf_key(&s, "b", 7);
    ds4_str_add_char(&s, 2);
    refuse(&s, "key \"b\": bool byte 2, expected 0 or 1");
    gguf_head(&s, 0, 1);
    gguf_key(&s, "k", 4);
    refuse(&s, "key \"k\": 1 elements of type u32, but only 0 bytes are left");
}

static void test_array_rules(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    gguf_head(&s, 0, 1);
    gguf_array(&s, 9, 1);
    gguf_u64(&s, 0);
    refuse_as(&s, DS4_E_UNSUPPORTED, "an array of arrays");
    gguf_head(&s, 0, 1);
    gguf_array(&s, 99, 1);
    gguf_u64(&s, 0);
    refuse(&s, "value type 99");
    gguf_head(&s, 0, 1);
    gguf_array(&s, 10, (UINT64_MAX >> 3) + 2);           /* wraps to 8 bytes if multiplied */
    gguf_u64(&s, 0);
    refuse(&s, "elements of type u64, but only 8 bytes are left");
    gguf_head(&s, 0, 1);
    gguf_array(&s, 8, 3);
    gguf_text(&s, "");
    gguf_text(&s, "");
    refuse(&s, "3 elements of type string");
    gguf_head(&s, 0, 1);
    gguf_array(&s, 8, 2);
    gguf_text(&s, "abcdefghij");
    gguf_u64(&s, UINT64_MAX);
    refuse(&s, "a string value of 18446744073709551615 bytes");
    gguf_head(&s, 0, 1);
    gguf_array(&s, 7, 2);
    ds4_str_add(&s, "\1\2", 2);
    refuse(&s, "bool byte 2");
}

static void test_string_value_is_capped(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    gguf_head(&s, 0, 1);
    gguf_key(&s, "k", 8);
    gguf_u64(&s, ((uint64_t)64 << 20) + 1);
    refuse(&s, "expected at most 67108864");
}

static void alignment(ds4_str *s, uint32_t type, uint32_t value)
{
    gguf_head(s, 0, 1);
    gguf_key(s, "general.alignment", type);
    gguf_u32(s, value);
}

static void test_alignment_rules(void **state)
{
    static const uint32_t bad[] = { 0, 1, 4, 24, 33, 1u << 21, 1u << 31 };
    ds4_str               s = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        alignment(&s, 4, bad[i]);
        refuse(&s, "expected a power of two in 8..1048576");
    }
    alignment(&s, 5, 32);
    refuse(&s, "key \"general.alignment\": found i32, expected u32");
}

/* ---- tensors ---------------------------------------------------------------------------------- */

static void one(ds4_str *s, uint64_t d0, uint64_t d1, uint32_t type, uint64_t offset, size_t n_data)
{
    gguf_head(s, 1, 0);
    gguf_entry(s, "t", d0, d1, type, offset);
    gguf_data(s, 32, n_data);
}

static void test_tensor_name_rules(void **state)
{
    ds4_str s = { 0 };
    char    name[129];

    (void)state;
    memset(name, 'n', 128);
    name[128] = 0;
    gguf_head(&s, 1, 0);
    gguf_entry(&s, name, 8, 0, DS4_F32, 0);
    gguf_data(&s, 32, 32);
    refuse(&s, "a tensor name of 128 bytes");
    gguf_head(&s, 1, 0);
    gguf_entry(&s, "", 8, 0, DS4_F32, 0);
    gguf_data(&s, 32, 32);
    refuse(&s, "empty or has a zero byte");
    gguf_head(&s, 1, 0);
    gguf_entry(&s, "a_b", 8, 0, DS4_F32, 0);
    s.data[24 + 8 + 1] = 0;
    gguf_data(&s, 32, 32);
    refuse(&s, "empty or has a zero byte");
    gguf_head(&s, 2, 0);
    gguf_entry(&s, "twin", 8, 0, DS4_F32, 0);
    gguf_entry(&s, "twin", 8, 0, DS4_F32, 32);
    gguf_data(&s, 32, 64);
    refuse(&s, "tensor \"twin\" appears twice");
}

static void test_tensor_shape_rules(void **state)
{
    static const uint32_t bad_types[] = { 4, 5, 15, 31, 33, 36, 38, 42, DS4_T66, 0xffffffffu };
    ds4_str               s = { 0 };

    (void)state;
    one(&s, 8, 0, DS4_F32, 0, 32);
    s.data[24 + 9] = 0;                                 /* n_dims */
    refuse(&s, "0 dimensions, expected 1..4");
    one(&s, 8, 0, DS4_F32, 0, 32);
    s.data[24 + 9] = 5;
    refuse(&s, "5 dimensions, expected 1..4");
    one(&s, 0, 0, DS4_F32, 0, 32);
    refuse(&s, "dimension 0 is 0");
    one(&s, ((uint64_t)1 << 40) + 1, 0, DS4_F32, 0, 32);
    refuse(&s, "dimension 0 is 1099511627777");
    one(&s, (uint64_t)1 << 40, (uint64_t)1 << 40, DS4_F32, 0, 32);
    refuse(&s, "dimension 1 is 1099511627776");
    one(&s, 48, 2, DS4_Q8_0, 0, 512);                   /* whole blocks in total, not in a row */
    refuse(&s, "rows of 48 elements, expected a multiple of 32 for Q8_0");
    for (size_t i = 0; i < sizeof bad_types / sizeof bad_types[0]; i++) {
        one(&s, 256, 0, bad_types[i], 0, 4096);
        refuse_as(&s, DS4_E_UNSUPPORTED, "tensor \"t\": element type");
    }
}

static void test_tensor_place_rules(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    one(&s, 8, 0, DS4_F32, 8, 64);
    refuse(&s, "offset 8, expected a multiple of 32");
    one(&s, 8, 0, DS4_F32, 64, 32);
    refuse(&s, "tensor \"t\": offset 64 + 32 bytes, but the data section has 32 bytes");
    one(&s, 8, 0, DS4_F32, UINT64_MAX - 31, 32);        /* offset + size wraps to 0 */
    refuse(&s, "but the data section has 32 bytes");
    one(&s, 9, 0, DS4_F32, 0, 35);
    refuse(&s, "offset 0 + 36 bytes, but the data section has 35 bytes");
    one(&s, (uint64_t)1 << 40, 256, DS4_F32, 0, 64);    /* 2^50 bytes */
    refuse(&s, "1125899906842624 bytes");
    gguf_head(&s, 1, 0);
    gguf_entry(&s, "t", 8, 0, DS4_F32, 0);                   /* ends before the padding does */
    refuse(&s, "the padding before the data");
}

static void test_overlap_is_refused(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    gguf_head(&s, 2, 0);
    gguf_entry(&s, "late", 8, 0, DS4_F32, 32);
    gguf_entry(&s, "long", 9, 0, DS4_F32, 0);
    gguf_data(&s, 32, 64);
    refuse(&s, "tensors \"long\" and \"late\" overlap");
    gguf_head(&s, 2, 0);
    gguf_entry(&s, "a", 8, 0, DS4_F32, 0);
    gguf_entry(&s, "b", 8, 0, DS4_F32, 0);
    gguf_data(&s, 32, 64);
    refuse(&s, "overlap");
}

static void test_names_in_messages_are_printable(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    gguf_head(&s, 1, 0);
    gguf_entry(&s, "bad\x1b[2J\nname", 8, 0, DS4_F32, 8);
    gguf_data(&s, 32, 64);
    refuse(&s, "tensor \"bad?[2J?name\"");
}

/* ---- what must be accepted ---------------------------------------------------------------------- */

static void test_odd_but_legal_files_open(void **state)
{
    ds4_str   s = { 0 };
    ds4_gguf *g = NULL;

    (void)state;
    gguf_head(&s, 0, 0);
    g = accept(&s);                                     /* nothing at all */
    assert_null(ds4_gguf_tensor_find(g, "x"));
    assert_null(ds4_gguf_key_find(g, "x"));
    ds4_gguf_close(g);
    ds4_str_clear(&s);

    gguf_head(&s, 2, 1);                                     /* data not in the order of entries */
    gguf_entry(&s, "dummy", 1, 0, 0, 0);
    ds4_str_truncate(&s, 24);
    gguf_key(&s, "general.alignment", 4);
    gguf_u32(&s, 8);
    gguf_entry(&s, "second", 2, 2, DS4_F32, 8);
    gguf_entry(&s, "first", 1, 0, DS4_F32, 0);
    gguf_data(&s, 8, 24);
    g = accept(&s);
    assert_int_equal(ds4_gguf_alignment(g), 8);
    assert_int_equal(ds4_gguf_tensor_find(g, "second")->data - ds4_gguf_tensor_find(g, "first")->data, 8);
    assert_int_equal(ds4_gguf_data_offset(g) % 8, 0);
    assert_int_equal(ds4_gguf_file_bytes(g), s.n_bytes);
    ds4_gguf_close(g);
    ds4_str_clear(&s);
}

static void test_sizes_of_all_types(void **state)
{
    static const struct { uint32_t id, elems, bytes; } types[] = {
        { 0, 1, 4 }, { 1, 1, 2 }, { 2, 32, 18 }, { 3, 32, 20 }, { 6, 32, 22 }, { 7, 32, 24 }, { 8, 32, 34 },
        { 9, 32, 36 }, { 10, 256, 84 }, { 11, 256, 110 }, { 12, 256, 144 }, { 13, 256, 176 },
        { 14, 256, 210 }, { 16, 256, 66 }, { 17, 256, 74 }, { 18, 256, 98 }, { 19, 256, 50 }, { 20, 32, 18 },
        { 21, 256, 110 }, { 22, 256, 82 }, { 23, 256, 136 }, { 24, 1, 1 }, { 25, 1, 2 }, { 26, 1, 4 },
        { 27, 1, 8 }, { 28, 1, 8 }, { 29, 256, 56 }, { 30, 1, 2 }, { 34, 256, 54 }, { 35, 256, 66 },
        { 39, 32, 17 }, { 40, 64, 36 }, { 41, 128, 18 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_int_equal(ds4_row_bytes(types[i].id, types[i].elems * 3), types[i].bytes * 3);
        if (types[i].elems > 1) assert_int_equal(ds4_row_bytes(types[i].id, types[i].elems + 1), 0);
    }
    assert_int_equal(ds4_row_bytes(15, 256), 0);
    assert_int_equal(ds4_row_bytes(DS4_F32, UINT64_MAX), 0);
    assert_null(ds4_dtype_get(42));
}

/* ---- getters ------------------------------------------------------------------------------------ */

static ds4_gguf *getter_file(ds4_str *s)
{
    gguf_head(s, 0, 8);
    gguf_key(s, "i8", 1);
    ds4_str_add_char(s, (char)0xff);
    gguf_key(s, "i64", 11);
    gguf_u64(s, 1000);
    gguf_key(s, "u16", 2);
    ds4_str_add(s, "\1\2", 2);
    gguf_key(s, "nan", 6);
    gguf_u32(s, 0x7fc00000);
    gguf_key_f64(s, "huge", 1e300);
    gguf_key_f64(s, "half", 0.5);
    gguf_key(s, "text", 8);
    gguf_text(s, "abc");
    gguf_array(s, 1, 2);
    ds4_str_add(s, "\1\xfe", 2);
    return accept(s);
}

static void test_integer_getters(void **state)
{
    ds4_str   s = { 0 };
    ds4_gguf *g = getter_file(&s);
    uint64_t  u = 77;
    ds4_err   err = { 0 };

    (void)state;
    assert_int_equal(ds4_gguf_get_u64(g, "u16", 0, 1000, &u, &err), DS4_OK);
    assert_int_equal(u, 0x201);
    assert_int_equal(ds4_gguf_get_u64(g, "i64", 1000, 1000, &u, &err), DS4_OK);
    assert_int_equal(u, 1000);
    assert_int_equal(ds4_gguf_get_u64(g, "i8", 0, 1000, &u, &err), DS4_E_FORMAT);
    assert_string_equal(err.text, "good.gguf: key \"i8\": found -1, expected 0..1000");
    assert_int_equal(ds4_gguf_get_u64(g, "i64", 1, 999, &u, &err), DS4_E_FORMAT);
    assert_string_equal(err.text, "good.gguf: key \"i64\": found 1000, expected 1..999");
    assert_int_equal(ds4_gguf_get_u64(g, "text", 1, 999, &u, &err), DS4_E_FORMAT);
    assert_string_equal(err.text, "good.gguf: key \"text\": found string, expected an integer");
    assert_int_equal(ds4_gguf_get_u64(g, "gone", 1, 999, &u, &err), DS4_E_FORMAT);
    assert_string_equal(err.text, "good.gguf: key \"gone\" is missing");
    assert_int_equal(u, 1000);                          /* untouched by failures */
    assert_int_equal(ds4_gguf_opt_u64(g, "gone", 1, 999, 5, &u, &err), DS4_OK);
    assert_int_equal(u, 5);
    assert_int_equal(ds4_gguf_opt_u64(g, "i64", 1, 999, 5, &u, &err), DS4_E_FORMAT);
    ds4_gguf_close(g);
    ds4_str_clear(&s);
}

static void test_other_getters(void **state)
{
    ds4_str    s = { 0 };
    ds4_gguf  *g = getter_file(&s);
    float      f = 0;
    bool       b = false;
    ds4_slice  t = { 0 }, *texts = NULL;
    int64_t   *ints = NULL;
    uint64_t   n = 0;
    ds4_err    err = { 0 };

    (void)state;
    assert_int_equal(ds4_gguf_get_f32(g, "half", &f, &err), DS4_OK);
    assert_true(f == 0.5f);
    assert_int_equal(ds4_gguf_get_f32(g, "i8", &f, &err), DS4_OK);
    assert_true(f == -1.0f);
    assert_int_equal(ds4_gguf_get_f32(g, "nan", &f, &err), DS4_E_FORMAT);
    assert_int_equal(ds4_gguf_get_f32(g, "huge", &f, &err), DS4_E_FORMAT);
    assert_int_equal(ds4_gguf_opt_f32(g, "gone", 2.0f, &f, &err), DS4_OK);
    assert_true(f == 2.0f);
    assert_int_equal(ds4_gguf_opt_bool(g, "i8", false, &b, &err), DS4_E_FORMAT);
    assert_int_equal(ds4_gguf_opt_bool(g, "gone", true, &b, &err), DS4_OK);
    assert_true(b);
    assert_int_equal(ds4_gguf_opt_string(g, "gone", DS4_SLICE("x"), &t, &err), DS4_OK);
    assert_true(ds4_slice_eq(t, DS4_SLICE("x")));
    assert_int_equal(ds4_gguf_get_string(g, "a", &t, &err), DS4_E_FORMAT);
    assert_string_equal(err.text, "good.gguf: key \"a\": found an array of i8, expected string");
    assert_int_equal(ds4_gguf_copy_strings(g, "a", &texts, &n, &err), DS4_E_FORMAT);
    assert_int_equal(ds4_gguf_copy_i64s(g, "a", -1, 1, &ints, &n, &err), DS4_E_FORMAT);
    assert_string_equal(err.text, "good.gguf: key \"a\": element 1 is -2, expected -1..1");
    assert_int_equal(ds4_gguf_copy_i64s(g, "text", -1, 1, &ints, &n, &err), DS4_E_FORMAT);
    assert_null(ints);
    ds4_gguf_close(g);
    ds4_str_clear(&s);
}

/* ---- properties ----------------------------------------------------------------------------------- */

/* A file of about 400 bytes that uses every feature, without padding at its end. */
static void small_file(ds4_str *s)
{
    static const uint32_t  ratios[2] = { 0, 4 };
    static const ds4_slice tokens[2] = { DS4_SLICE("ab"), DS4_SLICE("c") };
    static const uint64_t  dim[2] = { 32, 2 };
    ds4_gguf_writer       *w = NULL;
    ds4_err                err;

    assert_int_equal(ds4_gguf_writer_create(&w, 16, &err), DS4_OK);
    ds4_gguf_put_string(w, "name", DS4_SLICE("x"));
    ds4_gguf_put_bool(w, "flag", true);
    ds4_gguf_put_u32s(w, "ratios", ratios, 2);
    ds4_gguf_put_strings(w, "tokens", tokens, 2);
    ds4_gguf_declare(w, "norm", DS4_F32, 1, dim);
    ds4_gguf_declare(w, "blocks", DS4_Q8_0, 2, dim);
    assert_int_equal(ds4_gguf_writer_header(w, s, &err), DS4_OK);
    gguf_data(s, 16, 128 + 68);
    ds4_gguf_writer_free(w);
}

/* Touch everything that an opened file promises. */
static unsigned walk(const ds4_gguf *g)
{
    unsigned sum = 0;
    char     name[128];

    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(g, i);
        for (uint64_t k = 0; k < t->n_bytes; k++) sum += t->data[k];
        memcpy(name, t->name.data, t->name.n_bytes);
        name[t->name.n_bytes] = 0;
        assert_ptr_equal(ds4_gguf_tensor_find(g, name), t);
    }
    for (uint32_t i = 0; i < ds4_gguf_n_keys(g); i++) {
        const ds4_gguf_key *kv = ds4_gguf_key_at(g, i);
        for (uint64_t k = 0; k < kv->value.n_bytes; k++) sum += kv->value.data[k];
    }
    ds4_slice *texts = NULL;
    uint64_t   n = 0;
    if (ds4_gguf_copy_strings(g, "tokens", &texts, &n, NULL) == DS4_OK) {
        for (uint64_t i = 0; i < n; i++) sum += texts[i].n_bytes ? (uint8_t)texts[i].data[0] : 0;
        free(texts);
    }
    return sum;
}

static void test_every_truncation_is_refused(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    small_file(&s);
    for (size_t n = 0; n < s.n_bytes; n++) {
        ds4_gguf *g = NULL;
        uint8_t  *copy = NULL;
        ds4_err   err = { 0 };
        assert_int_equal(open_copy(s.data, n, &g, &copy, &err), DS4_E_FORMAT);
        assert_true(err.text[0] != 0);
        free(copy);
    }
    ds4_str_clear(&s);
}

static void test_flipped_bits_do_no_harm(void **state)
{
    ds4_str  s = { 0 };
    ds4_rng  rng;
    unsigned n_opened = 0;

    (void)state;
    small_file(&s);
    ds4_rng_seed(&rng, 20240521);
    for (size_t round = 0; round < s.n_bytes * 8 + 20000; round++) {
        /* Every single bit once, then one to four random bytes. */
        uint8_t  *copy = malloc(s.n_bytes);
        ds4_gguf *g = NULL;
        ds4_err   err = { 0 };
        assert_non_null(copy);
        memcpy(copy, s.data, s.n_bytes);
        if (round < s.n_bytes * 8) {
            copy[round / 8] ^= (uint8_t)(1u << (round % 8));
        } else {
            for (uint64_t k = ds4_rng_next(&rng) % 4 + 1; k > 0; k--) {
                copy[ds4_rng_next(&rng) % s.n_bytes] = (uint8_t)ds4_rng_next(&rng);
            }
        }
        if (ds4_gguf_open_bytes("flip", copy, s.n_bytes, &g, &err) == DS4_OK) {
            n_opened += walk(g) > 0;
            ds4_gguf_close(g);
        }
        free(copy);
    }
    assert_true(n_opened > 1000);           /* flips in data and names leave a legal file */
    ds4_str_clear(&s);
}

static void open_golden(const char *path, uint32_t n_layers)
{
    ds4_gguf *g = NULL;
    uint64_t  n = 0;
    ds4_err   err = { 0 };

    if (ds4_gguf_open(path, &g, &err) != DS4_OK) fail_msg("%s", err.text);
    assert_int_equal(ds4_gguf_get_u64(g, "deepseek4.block_count", 1, 1000, &n, &err), DS4_OK);
    assert_int_equal(n, n_layers);
    assert_non_null(ds4_gguf_tensor_find(g, "output.weight"));
    assert_non_null(ds4_gguf_tensor_find(g, "blk.6.attn_norm.weight"));
    ds4_gguf_close(g);
}

static void test_golden_models_open(void **state)
{
    (void)state;
    open_golden("tests/golden/flashlike.gguf", 7);
}

static void test_missing_file_is_an_io_error(void **state)
{
    ds4_gguf *g = NULL;
    ds4_err   err = { 0 };

    (void)state;
    assert_int_equal(ds4_gguf_open("/nonexistent/x.gguf", &g, &err), DS4_E_IO);
    assert_int_equal(ds4_gguf_open("/", &g, &err), DS4_E_IO);
    assert_int_equal(ds4_gguf_open("/dev/null", &g, NULL), DS4_E_IO);
    ds4_gguf_close(NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_header_rules),
    cmocka_unit_test(test_count_rules),
    cmocka_unit_test(test_key_rules),
    cmocka_unit_test(test_array_rules),
    cmocka_unit_test(test_string_value_is_capped),
    cmocka_unit_test(test_alignment_rules),
    cmocka_unit_test(test_tensor_name_rules),
    cmocka_unit_test(test_tensor_shape_rules),
    cmocka_unit_test(test_tensor_place_rules),
    cmocka_unit_test(test_overlap_is_refused),
    cmocka_unit_test(test_names_in_messages_are_printable),
    cmocka_unit_test(test_odd_but_legal_files_open),
    cmocka_unit_test(test_sizes_of_all_types),
    cmocka_unit_test(test_integer_getters),
    cmocka_unit_test(test_other_getters),
    cmocka_unit_test(test_every_truncation_is_refused),
    cmocka_unit_test(test_flipped_bits_do_no_harm),
    cmocka_unit_test(test_golden_models_open),
    cmocka_unit_test(test_missing_file_is_an_io_error),
};

TEST_MAIN(tests)
