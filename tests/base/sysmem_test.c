/* sysmem_test.c - the memory that control groups leave, both versions, groups within groups. */
#include "testing.h"

#include <sys/stat.h>

#include "base/sysmem.h"

static char root[512];

static int make_root(void **state)
{
    const char *out = getenv("OUT");

    (void)state;
    snprintf(root, sizeof root, "%s/sysmem_test.XXXXXX", out ? out : "build");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    char command[600];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static const char *put(const char *name, const char *text)
{
    static char path[1024];
    FILE       *file;

    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *c = path + strlen(root) + 1; *c; c++) {
        if (*c != '/') continue;
        *c = '\0';
        mkdir(path, 0755);
        *c = '/';
    }
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

static const uint64_t GB = 1000000000;

static ds4_sysmem limit(const char *groups)
{
    ds4_sysmem mem = { .total_bytes = 64 * GB, .free_bytes = 50 * GB };
    char       path[1024];

    snprintf(path, sizeof path, "%s", put("groups", groups));
    ds4_sysmem_limit(&mem, path, root);
    return mem;
}

static void test_no_group_changes_nothing(void **state)
{
    (void)state;
    ds4_sysmem mem = limit("0::/user.slice\n");
    assert_true(mem.total_bytes == 64 * GB && mem.free_bytes == 50 * GB);
    put("user.slice/memory.max", "max\n");
    put("user.slice/memory.current", "7000000000\n");
    mem = limit("0::/user.slice\n");
    assert_true(mem.total_bytes == 64 * GB && mem.free_bytes == 50 * GB);
}

static void test_page_cache_of_a_group_is_free(void **state)
{
    (void)state;
    put("a/memory.max", "20000000000\n");
    put("a/memory.current", "19000000000\n");
    put("a/memory.stat", "anon 4000000000\ninactive_file 9000000000\nactive_file 5000000000\n"
                         "slab_reclaimable 1000000000\n");
    const ds4_sysmem mem = limit("0::/a\n");
    assert_true(mem.total_bytes == 20 * GB);
    assert_true(mem.free_bytes == 16 * GB);
}

static void test_the_tightest_group_counts(void **state)
{
    (void)state;
    put("outer/memory.max", "10000000000\n");
    put("outer/memory.current", "6000000000\n");
    put("outer/inner/memory.max", "30000000000\n");
    put("outer/inner/memory.current", "1000000000\n");
    const ds4_sysmem mem = limit("0::/outer/inner\n");
    assert_true(mem.total_bytes == 10 * GB);
    assert_true(mem.free_bytes == 4 * GB);
}

/* A container sees its own group as the root, under a path that does not exist in it. */
static void test_the_root_of_a_container_counts(void **state)
{
    (void)state;
    put("memory.max", "8000000000\n");
    put("memory.current", "1000000000\n");
    const ds4_sysmem mem = limit("0::/system.slice/docker-1234.scope\n");
    assert_true(mem.total_bytes == 8 * GB);
    assert_true(mem.free_bytes == 7 * GB);
    put("memory.max", "max\n");
}

static void test_version_1_is_read_too(void **state)
{
    (void)state;
    put("memory/box/memory.limit_in_bytes", "12000000000\n");
    put("memory/box/memory.usage_in_bytes", "9000000000\n");
    put("memory/box/memory.stat", "inactive_file 1\ntotal_inactive_file 3000000000\n"
                                  "total_active_file 2000000000\n");
    const ds4_sysmem mem = limit("5:devices:/\n4:memory:/box\n1:cpu:/\n0::/\n");
    assert_true(mem.total_bytes == 12 * GB);
    assert_true(mem.free_bytes == 8 * GB);
}

/* 0 means unknown: nothing left must not read as such. */
static void test_a_full_group_leaves_nothing(void **state)
{
    (void)state;
    put("full/memory.max", "1000000000\n");
    put("full/memory.current", "2000000000\n");
    assert_true(limit("0::/full\n").free_bytes == 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_no_group_changes_nothing),
    cmocka_unit_test(test_page_cache_of_a_group_is_free),
    cmocka_unit_test(test_the_tightest_group_counts),
    cmocka_unit_test(test_the_root_of_a_container_counts),
    cmocka_unit_test(test_version_1_is_read_too),
    cmocka_unit_test(test_a_full_group_leaves_nothing),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
