/* stdio.h - for make check-apple, see stdlib.h. */
#ifndef DS4_TESTS_APPLE_STDIO_H
#define DS4_TESTS_APPLE_STDIO_H

#include <stddef.h>

int snprintf(char *to, size_t n, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
