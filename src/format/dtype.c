/* dtype.c - see dtype.h. */
#include "format/dtype.h"

#include <stddef.h>

/* Ids 4, 5, 31-33 and 36-38 were removed from the format; ids from 42 on are not stable.
 * 63 is ours and stands in no file. Q8_K (15) exists for activations only and is left out, so that
 * files holding it are refused. */
static const ds4_dtype_info dtypes[] = {
    [0]  = { "F32",     1,   4,   true  },
    [1]  = { "F16",     1,   2,   true  },
    [2]  = { "Q4_0",    32,  18,  false },
    [3]  = { "Q4_1",    32,  20,  false },
    [6]  = { "Q5_0",    32,  22,  false },
    [7]  = { "Q5_1",    32,  24,  false },
    [8]  = { "Q8_0",    32,  34,  true  },
    [9]  = { "Q8_1",    32,  36,  false },
    [10] = { "Q2_K",    256, 84,  true  },
    [11] = { "Q3_K",    256, 110, false },
    [12] = { "Q4_K",    256, 144, true  },
    [13] = { "Q5_K",    256, 176, false },
    [14] = { "Q6_K",    256, 210, true  },
    [16] = { "IQ2_XXS", 256, 66,  true  },
    [17] = { "IQ2_XS",  256, 74,  false },
    [18] = { "IQ3_XXS", 256, 98,  false },
    [19] = { "IQ1_S",   256, 50,  false },
    [20] = { "IQ4_NL",  32,  18,  false },
    [21] = { "IQ3_S",   256, 110, false },
    [22] = { "IQ2_S",   256, 82,  false },
    [23] = { "IQ4_XS",  256, 136, false },
    [24] = { "I8",      1,   1,   false },
    [25] = { "I16",     1,   2,   false },
    [26] = { "I32",     1,   4,   false },
    [27] = { "I64",     1,   8,   false },
    [28] = { "F64",     1,   8,   false },
    [29] = { "IQ1_M",   256, 56,  false },
    [30] = { "BF16",    1,   2,   true  },
    [34] = { "TQ1_0",   256, 54,  false },
    [35] = { "TQ2_0",   256, 66,  false },
    [39] = { "MXFP4",   32,  17,  true  },
    [40] = { "NVFP4",   64,  36,  false },
    [41] = { "Q1_0",    128, 18,  false },
    [63] = { "T66",     256, 66,  true  },
};

const ds4_dtype_info *ds4_dtype_get(uint32_t id)
{
    if (id >= sizeof dtypes / sizeof dtypes[0] || !dtypes[id].name) return NULL;
    return &dtypes[id];
}

uint32_t ds4_dtype_to_file(uint32_t id)
{
    return id == DS4_T66 ? DS4_T66_IN_FILES : id;
}

uint32_t ds4_dtype_from_file(uint32_t id)
{
    return id == DS4_T66_IN_FILES ? DS4_T66 : id == DS4_T66 ? UINT32_MAX : id;
}

uint64_t ds4_row_bytes(uint32_t id, uint64_t n_elems)
{
    const ds4_dtype_info *t = ds4_dtype_get(id);

    if (!t || n_elems % t->block_elems != 0) return 0;
    const uint64_t n_blocks = n_elems / t->block_elems;
    return n_blocks > UINT64_MAX / t->block_bytes ? 0 : n_blocks * t->block_bytes;
}
