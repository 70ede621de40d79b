/* testing.h - what every cmocka test includes: the system headers in the order that
 * cmocka wants, a TAP main, and the way to the reference data. */
#ifndef DS4_TESTS_TESTING_H
#define DS4_TESTS_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* The folder of reference data that the project may read but does not contain, or NULL.
 * Tests that need it call skip() without it. */
static inline const char *test_shared_dir(void)
{
    const char *dir = getenv("DS4_SHARED");
    if (!dir) dir = "../shared";
    return access(dir, R_OK) == 0 ? dir : NULL;
}

/* Path of a reference file in a buffer that lives until the next call; skips without it. */
static inline const char *test_shared_path(const char *name)
{
    static char path[4096];
    const char *dir = test_shared_dir();
    if (!dir) skip();
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (access(path, R_OK) != 0) skip();
    return path;
}

/* A name for a temporary file of this process, below the build folder. */
static inline void test_temp_path(char path[256], const char *name)
{
    const char *out = getenv("OUT");
    snprintf(path, 256, "%.160s/%ld.%.60s", out && access(out, W_OK) == 0 ? out : "build",
             (long)getpid(), name);
}

#define TEST_MAIN(tests)                                          \
    int main(void)                                                \
    {                                                             \
        cmocka_set_message_output(CM_OUTPUT_TAP);                 \
        return cmocka_run_group_tests(tests, NULL, NULL);       \
    }

#endif
