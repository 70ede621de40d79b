/* char_table.h - runs of characters of the same class; see char_table.c. */
#ifndef DS4_TEXT_CHAR_TABLE_H
#define DS4_TEXT_CHAR_TABLE_H

#include <stdint.h>

extern const uint32_t ds4_char_runs[];          /* [ds4_n_char_runs] first character << 3 | class */
extern const uint32_t ds4_n_char_runs;

#endif
