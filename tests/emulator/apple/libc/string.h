/* string.h - for make check-apple, see stdlib.h. */
#ifndef DS4_TESTS_APPLE_STRING_H
#define DS4_TESTS_APPLE_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);

#endif
