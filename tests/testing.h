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

/* Path of a file of tests/golden/data in a buffer that lives until the next call. */
static inline const char *test_data_path(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "tests/golden/data/%s", name);
    return path;
}

/* The folder of golden models that are too large for the project (make test-reference), or NULL. */
static inline const char *test_reference_dir(void)
{
    return getenv("DS4_REFERENCE");
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
