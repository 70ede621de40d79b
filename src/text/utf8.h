/* utf8.h - UTF-8 as it comes out of a model: in pieces that may end inside a character.
 *
 * Valid means Unicode's table 3-7: no overlong forms, no surrogates, nothing above
 * U+10FFFF. A damaged sequence becomes one U+FFFD for each maximal valid beginning and
 * one for each byte that begins nothing, as browsers do it.                         */
#ifndef DS4_TEXT_UTF8_H
#define DS4_TEXT_UTF8_H

#include "base/str.h"

#include <stdint.h>

/* Read the character at data[0].
 *
 *   n_bytes  bytes that may be read
 *   code     receives the code point; untouched unless the result is positive
 *
 * Returns the bytes it takes, 1..4; 0 when the bytes begin a character that needs more
 * of them (also for n_bytes 0); minus the bytes to skip, 1..3, when they are invalid.   */
int ds4_utf8_read(const char *data, size_t n_bytes, uint32_t *code);

/* Write a character into out[4]; returns its bytes, 1..4. What is no scalar value
 * (surrogates, above U+10FFFF) is written as U+FFFD.                                    */
int ds4_utf8_write(uint32_t code, char out[4]);

bool ds4_utf8_valid(const char *data, size_t n_bytes);

/* The bytes that may be shown now: all but the beginning of a character at the end.    */
size_t ds4_utf8_safe_bytes(const char *data, size_t n_bytes);

/* Append data to out with every damaged sequence replaced by U+FFFD.                    */
void ds4_utf8_repair(const char *data, size_t n_bytes, ds4_str *out);

/* Turns a stream of byte pieces into a stream of whole characters. Zeroed is ready.
 * Its output over all calls equals ds4_utf8_repair() of all bytes at once.       */
typedef struct ds4_utf8_stream {
    char    held[4];            /* [n_held] beginning of a character */
    uint8_t n_held;             /* 0..3 */
} ds4_utf8_stream;

void ds4_utf8_stream_add(ds4_utf8_stream *s, const char *data, size_t n_bytes, ds4_str *out);
void ds4_utf8_stream_flush(ds4_utf8_stream *s, ds4_str *out);   /* what is held becomes U+FFFD */

#endif
