/* dtype.h - the tensor element types of GGUF files: ids, names, block sizes.
 * Source: docs/MODEL.md section 9; the numbers are those of GGUF version 3. */
#ifndef DS4_FORMAT_DTYPE_H
#define DS4_FORMAT_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum ds4_dtype {
    DS4_F32     = 0,
    DS4_F16     = 1,
    DS4_Q8_0    = 8,
    DS4_Q2_K    = 10,
    DS4_Q4_K    = 12,
    DS4_Q6_K    = 14,
    DS4_IQ2_XXS = 16,
    DS4_I32     = 26,
    DS4_BF16    = 30,
    DS4_MXFP4   = 39,
    DS4_T66     = 63,           /* ours; files call it DS4_T66_IN_FILES */
    DS4_N_DTYPE = 64
} ds4_dtype;

/* GGUF numbers its types from 0 and goes on; ours has a number that no other program can take for
 * one of its own ("DT66"), and a file that uses it says so in the key, whose value is the version. */
enum { DS4_T66_IN_FILES = 0x36365444, DS4_T66_VERSION = 1 };
#define DS4_T66_KEY "ds4.t66.version"

typedef struct ds4_dtype_info {
    const char *name;           /* as GGUF tools spell it; NULL for an id that is not in use */
    uint32_t    block_elems;    /* elements in one block; rows are whole blocks */
    uint32_t    block_bytes;
    bool        is_matrix;      /* has a decoder and a product: may hold a weight matrix */
} ds4_dtype_info;

/* Every id GGUF defines has a name and a size, also those no kernel exists for.
 * Returns NULL for ids that were removed or never defined.                          */
const ds4_dtype_info *ds4_dtype_get(uint32_t id);

/* The id of a type as files have it, and back; an id that is not defined stays undefined. */
uint32_t ds4_dtype_to_file(uint32_t id);
uint32_t ds4_dtype_from_file(uint32_t id);

/* Bytes of a row of n elements; 0 if the type is unknown or n is not whole blocks.   */
uint64_t ds4_row_bytes(uint32_t id, uint64_t n_elems);

#endif
