/* iq2xxs_table.h - the codebook of IQ2_XXS: 256 vectors of eight magnitudes. */
#ifndef DS4_FORMAT_IQ2XXS_TABLE_H
#define DS4_FORMAT_IQ2XXS_TABLE_H

#include <stdint.h>

/* Ascending. Two bits for each element, element j = (code >> 2j) & 3, never 3. The digits
 * stand for the magnitudes 8, 25 and 43. The set was fitted to data; no rule makes it. */
extern const uint16_t ds4_iq2xxs_codes[256];

/* Write the vectors as bytes.
 *
 *   grid   [256][8] magnitudes 8, 25 or 43                                          */
void ds4_iq2xxs_grid(uint8_t grid[256][8]);

#endif
