/* stdlib.h - for make check-apple: what the Metal device uses of C's library, which has no SDK here. */
#ifndef DS4_TESTS_APPLE_STDLIB_H
#define DS4_TESTS_APPLE_STDLIB_H

#include <stddef.h>

void *calloc(size_t n, size_t n_bytes);
void *realloc(void *p, size_t n_bytes);
void  free(void *p);
void  qsort(void *base, size_t n, size_t n_bytes, int (*compare)(const void *, const void *));

#endif
