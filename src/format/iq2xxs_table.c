/* iq2xxs_table.c - see iq2xxs_table.h. */
#include "format/iq2xxs_table.h"

const uint16_t ds4_iq2xxs_codes[256] = {
#include "format/iq2xxs_codes_table.h"
};

void ds4_iq2xxs_grid(uint8_t grid[256][8])
{
    static const uint8_t magnitude[4] = { 8, 25, 43, 0 };

    for (int i = 0; i < 256; i++) {
        for (int j = 0; j < 8; j++) grid[i][j] = magnitude[(ds4_iq2xxs_codes[i] >> (2 * j)) & 3];
    }
}
