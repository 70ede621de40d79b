/* safetensors_test.c - shards and checkpoints, sound and hostile. */
#include "testing.h"

#include "base/file.h"
#include "base/output.h"
#include "base/rng.h"
#include "format/checkpoint.h"

/* A file of this JSON and n bytes of data. */
static void make(ds4_str *s, const char *json, size_t n)
{
    const size_t n_json = strlen(json);

    for (int i = 0; i < 8; i++) ds4_str_add_char(s, (char)(uint8_t)((uint64_t)n_json >> (8 * i)));
    ds4_str_add_text(s, json);
    for (size_t i = 0; i < n; i++) ds4_str_add_char(s, (char)(uint8_t)i);
}

static ds4_status open_exact(const void *bytes, size_t n, ds4_safetensors **out, uint8_t **copy, ds4_err *err)
{
    *copy = malloc(n ? n : 1);
    assert_non_null(*copy);
    if (n) memcpy(*copy, bytes, n);
    return ds4_safetensors_open_bytes("evil", *copy, n, out, err);
}

static void refuse_as(ds4_str *s, ds4_status code, const char *words)
{
    ds4_safetensors *f = NULL;
    uint8_t         *copy = NULL;
    ds4_err          err = { 0 };

    assert_int_equal(open_exact(s->data, s->n_bytes, &f, &copy, &err), code);
    if (!strstr(err.text, words)) fail_msg("\"%s\" lacks \"%s\"", err.text, words);
    assert_non_null(strstr(err.text, "evil: "));
    free(copy);
    ds4_str_clear(s);
}

static void refuse(const char *json, size_t n, const char *words)
{
    ds4_str s = { 0 };

    make(&s, json, n);
    refuse_as(&s, DS4_E_FORMAT, words);
}

static const char sound[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"b.weight\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
    "\"none\":{\"dtype\":\"I64\",\"shape\":[0,5],\"data_offsets\":[16,16]}}   ";

static void test_tensors_are_found(void **state)
{
    ds4_str          s = { 0 };
    ds4_safetensors *f = NULL;
    ds4_err          err = { 0 };

    (void)state;
    make(&s, sound, 16);
    assert_int_equal(ds4_safetensors_open_bytes("x", s.data, s.n_bytes, &f, &err), DS4_OK);
    assert_int_equal(ds4_safetensors_count(f), 3);
    const ds4_st_tensor *t = ds4_safetensors_find(f, "b.weight");
    assert_non_null(t);
    assert_int_equal(t->dtype, DS4_ST_BF16);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dim[0], 2);
    assert_int_equal(t->dim[1], 3);
    assert_int_equal(t->n_elems, 6);
    assert_int_equal(t->data[0], 4);
    assert_int_equal(ds4_safetensors_find(f, "a")->n_elems, 1);
    assert_int_equal(ds4_safetensors_find(f, "none")->n_elems, 0);
    assert_null(ds4_safetensors_find(f, "c"));
    assert_string_equal(ds4_safetensors_at(f, 0)->name, "a");
    ds4_safetensors_close(f);
    ds4_str_clear(&s);
}

static void test_frame_rules(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    ds4_str_add(&s, "\2\0\0\0\0\0\0", 7);
    refuse_as(&s, DS4_E_FORMAT, "shorter than 8 bytes");
    make(&s, "{}", 0);
    s.data[0] = 3;
    refuse_as(&s, DS4_E_FORMAT, "a header of 3 bytes in a file of 10");
    make(&s, "{}", 0);
    s.data[7] = (char)0x80;
    refuse_as(&s, DS4_E_FORMAT, "a header of");
    refuse(" {}", 0, "does not begin with {");
    refuse("{\"a\":1,\"a\":2}", 0, "duplicate");
    refuse("{\"a\\u0000\":1}", 0, "header:");
    refuse("{]", 0, "header:");
}

static void test_entry_rules(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    refuse("{\"a\":1}", 0, "tensor \"a\": its entry is no object");
    refuse("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "\"dtype\" is missing");
    refuse("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "\"shape\" is missing");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "a dimension");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "a dimension");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[9007199254740992],\"data_offsets\":[0,4]}}", 4,
           "a dimension");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
           "2^53 elements");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
           "8 dimensions");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "\"data_offsets\"");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "\"data_offsets\"");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "bytes 4..0");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "but the data has 7");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
           "8 bytes, but its shape takes 4");
    refuse("{\"a\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]},"
           "\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[3,7]}}", 8, "\"a\" and \"b\" overlap");
    make(&s, "{\"a\":{\"dtype\":\"F4\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    refuse_as(&s, DS4_E_UNSUPPORTED, "element type \"F4\"");
}

static void test_corrupted_files_do_no_harm(void **state)
{
    ds4_str  s = { 0 };
    ds4_rng  rng;
    unsigned n_opened = 0;

    (void)state;
    make(&s, sound, 16);
    ds4_rng_seed(&rng, 7);
    for (size_t round = 0; round < s.n_bytes + 20000; round++) {
        ds4_safetensors *f = NULL;
        uint8_t         *copy = NULL;
        ds4_err          err;
        const size_t     n = round < s.n_bytes ? round : s.n_bytes;
        char             old = 0;
        const size_t     at = (size_t)(ds4_rng_next(&rng) % s.n_bytes);
        old = s.data[at];
        if (round >= s.n_bytes) s.data[at] = (char)(uint8_t)ds4_rng_next(&rng);
        if (open_exact(s.data, n, &f, &copy, &err) == DS4_OK) n_opened++;
        s.data[at] = old;
        ds4_safetensors_close(f);
        free(copy);
    }
    assert_true(n_opened > 100);
    ds4_str_clear(&s);
}

/* ---- folders ------------------------------------------------------------------------------- */

/* A folder of this test alone, below the folder of everything that was built. */
static char folder[512];

static void put(const char *name, const void *data, size_t n)
{
    char    path[600];
    ds4_err err;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(ds4_output_put(path, data, n, &err), DS4_OK);
}

static void drop(const char *name)
{
    char path[600];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

static void put_shard(const char *name, const char *json, size_t n)
{
    ds4_str s = { 0 };

    make(&s, json, n);
    put(name, s.data, s.n_bytes);
    ds4_str_clear(&s);
}

static void refuse_index(const char *json, ds4_status code, const char *words)
{
    ds4_checkpoint *c = NULL;
    ds4_err         err = { 0 };

    put("model.safetensors.index.json", json, strlen(json));
    assert_int_equal(ds4_checkpoint_open(folder, &c, &err), code);
    if (!strstr(err.text, words)) fail_msg("\"%s\" lacks \"%s\"", err.text, words);
}

static void test_sharded_checkpoint(void **state)
{
    ds4_checkpoint *c = NULL;
    ds4_err         err = { 0 };
    const char      index[] = "{\"metadata\":{},\"weight_map\":{\"y\":\"two.st\",\"x\":\"one.st\"}}";

    (void)state;
    snprintf(folder, sizeof folder, "%s/safetensors_test.XXXXXX", getenv("OUT") ? getenv("OUT") : "build");
    assert_non_null(mkdtemp(folder));
    put_shard("one.st", "{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    put_shard("two.st", "{\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2);
    put("model.safetensors.index.json", index, strlen(index));
    if (ds4_checkpoint_open(folder, &c, &err) != DS4_OK) fail_msg("%s", err.text);
    assert_int_equal(ds4_checkpoint_count(c), 2);
    assert_string_equal(ds4_checkpoint_at(c, 0)->name, "x");
    assert_int_equal(ds4_checkpoint_find(c, "y")->n_elems, 2);
    assert_null(ds4_checkpoint_find(c, "z"));
    ds4_checkpoint_close(c);

    refuse_index("{\"weight_map\":{\"x\":\"../one.st\"}}", DS4_E_FORMAT, "beside the index");
    refuse_index("{\"weight_map\":{\"x\":\"..\"}}", DS4_E_FORMAT, "beside the index");
    refuse_index("{\"weight_map\":{\"x\":1}}", DS4_E_FORMAT, "beside the index");
    refuse_index("{\"weight_map\":{\"x\":\"two.st\"}}", DS4_E_FORMAT,
                 "\"x\", which the index expects here, is missing");
    refuse_index("{\"weight_map\":{\"x\":\"three.st\"}}", DS4_E_IO, "three.st");
    refuse_index("{\"weight_map\":[]}", DS4_E_FORMAT, "\"weight_map\"");
    refuse_index("nonsense", DS4_E_FORMAT, "line 1");
    drop("model.safetensors.index.json");

    put_shard("model.safetensors", sound, 16);          /* a checkpoint in one file */
    assert_int_equal(ds4_checkpoint_open(folder, &c, &err), DS4_OK);
    assert_int_equal(ds4_checkpoint_count(c), 3);
    ds4_checkpoint_close(c);
    drop("model.safetensors");
    assert_int_equal(ds4_checkpoint_open(folder, &c, &err), DS4_E_IO);
    drop("one.st");
    drop("two.st");
    assert_int_equal(rmdir(folder), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_tensors_are_found),
    cmocka_unit_test(test_frame_rules),
    cmocka_unit_test(test_entry_rules),
    cmocka_unit_test(test_corrupted_files_do_no_harm),
    cmocka_unit_test(test_sharded_checkpoint),
};

TEST_MAIN(tests)
