/* pretok.h - cuts text into the pieces inside which tokens are merged.
 *
 * The three splits of the DeepSeek V3/V4 tokenizer: groups of up to three digits, runs of
 * Chinese and Japanese characters, then words, punctuation and white space. Every byte
 * of the text is in exactly one piece.
 * Source: docs/TOKENIZER.md section 3.                                               */
#ifndef DS4_TEXT_PRETOK_H
#define DS4_TEXT_PRETOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The splits tell characters apart by these; from the Unicode general category and White_Space. */
typedef enum ds4_char_class {
    DS4_CHAR_OTHER,             /* control, format, private, unassigned; a byte that is no UTF-8 */
    DS4_CHAR_LETTER,
    DS4_CHAR_MARK,
    DS4_CHAR_NUMBER,
    DS4_CHAR_PUNCT,             /* punctuation or symbol */
    DS4_CHAR_SPACE,
} ds4_char_class;

/* Classes of all characters, made once and read by any thread. */
typedef struct ds4_char_map ds4_char_map;
ds4_char_map  *ds4_char_map_create(void);                       /* NULL when memory is short */
void           ds4_char_map_free(ds4_char_map *map);            /* NULL is fine */
ds4_char_class ds4_char_map_get(const ds4_char_map *map, uint32_t code);    /* tests compare all with PCRE2 */

/* Walks over the pieces of one text. */
typedef struct ds4_pretok {
    const ds4_char_map *map;
    const char         *text;
    size_t              n_bytes, pos;
    size_t              limit;          /* the third split ends here; == pos: not known */
} ds4_pretok;

void ds4_pretok_begin(ds4_pretok *p, const ds4_char_map *map, const char *text, size_t n_bytes);

/* The next piece is text[*begin .. *begin + *n_bytes), at least one byte. False at the end. */
bool ds4_pretok_next(ds4_pretok *p, size_t *begin, size_t *n_bytes);

#endif
