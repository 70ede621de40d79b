/* file_test.c - files are mapped, read and replaced whole, or refused with a reason. */
#include "testing.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/output.h"

/* A folder of this test alone, below the folder of everything that was built. */
static char folder[512];

static int make_folder(void **state)
{
    const char *out = getenv("OUT");

    (void)state;
    snprintf(folder, sizeof folder, "%s/file_test.XXXXXX", out ? out : "build");
    return mkdtemp(folder) ? 0 : -1;
}

static unsigned count_files(bool remove_them)
{
    unsigned       n = 0;
    DIR           *dir = opendir(folder);
    struct dirent *entry;
    char           path[2048];

    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.') continue;
        n++;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (remove_them) assert_int_equal(remove(path), 0);
    }
    closedir(dir);
    return n;
}

static int remove_folder(void **state)
{
    (void)state;
    count_files(true);
    return rmdir(folder);
}

static const char *path_of(const char *name)
{
    static char path[2048];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void assert_content(const char *path, const char *text)
{
    ds4_str s = { 0 };
    ds4_err err;

    assert_int_equal(ds4_file_read(path, 1 << 20, &s, &err), DS4_OK);
    assert_string_equal(ds4_str_text(&s), text);
    ds4_str_clear(&s);
}

static void test_replace_creates_and_replaces(void **state)
{
    const char *path = path_of("a");
    ds4_err     err;

    (void)state;
    assert_false(ds4_file_exists(path));
    assert_int_equal(ds4_output_put(path, "one", 3, &err), DS4_OK);
    assert_true(ds4_file_exists(path));
    assert_content(path, "one");
    assert_int_equal(ds4_output_put(path, "twotwo", 6, &err), DS4_OK);
    assert_content(path, "twotwo");
    assert_int_equal(ds4_output_put(path, "", 0, &err), DS4_OK);
    assert_content(path, "");
    assert_int_equal(count_files(true), 1);         /* no temporary name is left */
}

/* Whoever opened the file before the replacement goes on reading the old bytes. */
static void test_replace_leaves_old_readers_alone(void **state)
{
    const char *path = path_of("b");
    ds4_map     map;
    ds4_err     err;

    (void)state;
    assert_int_equal(ds4_output_put(path, "old bytes", 9, &err), DS4_OK);
    assert_int_equal(ds4_map_open(&map, path, &err), DS4_OK);
    assert_int_equal(ds4_output_put(path, "new", 3, &err), DS4_OK);
    assert_int_equal(map.n_bytes, 9);
    assert_memory_equal(map.data, "old bytes", 9);
    ds4_map_close(&map);
    assert_null(map.data);
    assert_content(path, "new");
    count_files(true);
}

static void test_failed_replace_changes_nothing(void **state)
{
    ds4_err err = { 0 };
    char    long_name[600];

    (void)state;
    assert_int_equal(mkdir(path_of("d"), 0755), 0);
    assert_int_equal(ds4_output_put(path_of("d"), "x", 1, &err), DS4_E_IO);
    assert_non_null(strstr(err.text, "/d: "));
    assert_int_equal(count_files(false), 1);        /* the folder; no temporary name */
    assert_int_equal(ds4_output_put(path_of("none/x"), "x", 1, &err), DS4_E_IO);
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(ds4_output_put(path_of(long_name), "x", 1, NULL), DS4_E_IO);
    assert_int_equal(count_files(true), 1);
}

static void test_map_refuses_what_is_no_file(void **state)
{
    ds4_map map = { .data = (const uint8_t *)"kept", .n_bytes = 4 };
    ds4_err err = { 0 };

    (void)state;
    assert_int_equal(ds4_map_open(&map, path_of("none"), &err), DS4_E_IO);
    assert_non_null(strstr(err.text, strerror(ENOENT)));
    assert_int_equal(ds4_map_open(&map, folder, &err), DS4_E_IO);
    assert_non_null(strstr(err.text, folder));
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_memory_equal(map.data, "kept", 4);       /* out is untouched on failure */
    assert_int_equal(map.n_bytes, 4);
    assert_false(ds4_file_exists(folder));
}

static void test_map_of_an_empty_file_is_empty(void **state)
{
    ds4_map map = { .data = (const uint8_t *)"x", .n_bytes = 1 };
    ds4_err err;

    (void)state;
    assert_int_equal(ds4_output_put(path_of("e"), "", 0, &err), DS4_OK);
    assert_int_equal(ds4_map_open(&map, path_of("e"), &err), DS4_OK);
    assert_null(map.data);
    assert_int_equal(map.n_bytes, 0);
    ds4_map_close(&map);
    count_files(true);
}

static void test_read_obeys_its_limit(void **state)
{
    enum { N = 200001 };            /* several buffers long */
    const char *path = path_of("l");
    ds4_str     s = { 0 };
    ds4_err     err = { 0 };
    char       *data = malloc(N);

    (void)state;
    assert_non_null(data);
    for (int i = 0; i < N; i++) data[i] = (char)(i * 7);
    assert_int_equal(ds4_output_put(path, data, N, &err), DS4_OK);

    ds4_str_add_text(&s, "head");
    assert_int_equal(ds4_file_read(path, N, &s, &err), DS4_OK);     /* exactly the limit */
    assert_int_equal(s.n_bytes, 4 + N);
    assert_memory_equal(s.data, "head", 4);
    assert_memory_equal(s.data + 4, data, N);
    ds4_str_clear(&s);

    assert_int_equal(ds4_file_read(path, N - 1, &s, &err), DS4_E_LIMIT);
    assert_non_null(strstr(err.text, "200000"));
    ds4_str_clear(&s);
    assert_int_equal(ds4_file_read(path, 0, &s, &err), DS4_E_LIMIT);
    ds4_str_clear(&s);
    free(data);
    count_files(true);
}

static void test_read_refuses_folders_and_what_is_missing(void **state)
{
    ds4_str s = { 0 };
    ds4_err err = { 0 };

    (void)state;
    assert_int_equal(ds4_file_read(folder, 100, &s, &err), DS4_E_IO);
    assert_non_null(strstr(err.text, folder));
    assert_int_equal(ds4_file_read(path_of("none"), 100, &s, NULL), DS4_E_IO);
    assert_int_equal(s.n_bytes, 0);
    ds4_str_clear(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_replace_creates_and_replaces),
    cmocka_unit_test(test_replace_leaves_old_readers_alone),
    cmocka_unit_test(test_failed_replace_changes_nothing),
    cmocka_unit_test(test_map_refuses_what_is_no_file),
    cmocka_unit_test(test_map_of_an_empty_file_is_empty),
    cmocka_unit_test(test_read_obeys_its_limit),
    cmocka_unit_test(test_read_refuses_folders_and_what_is_missing),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
