/* safetensors.h - reading the files that checkpoints are published in.
 *
 * A file is u64 N, N bytes of JSON, then data. As with GGUF, everything is checked when
 * the file is opened: afterwards every tensor lies inside the mapping, has exactly the
 * bytes of its shape, and shares none with another. Tensors are views into the mapping.
 *
 * Source: docs/MODEL.md section 9 (files).                                            */
#ifndef DS4_FORMAT_SAFETENSORS_H
#define DS4_FORMAT_SAFETENSORS_H

#include "base/err.h"
#include "base/file.h"

typedef enum ds4_st_dtype {
    DS4_ST_F32, DS4_ST_F16, DS4_ST_BF16, DS4_ST_F8_E4M3, DS4_ST_F8_E8M0,
    DS4_ST_I8, DS4_ST_U8, DS4_ST_I32, DS4_ST_I64,
    DS4_ST_N_DTYPES
} ds4_st_dtype;

const char *ds4_st_dtype_name(ds4_st_dtype dtype);      /* "BF16" */
uint32_t    ds4_st_dtype_bytes(ds4_st_dtype dtype);

enum { DS4_ST_MAX_DIMS = 8 };

typedef struct ds4_st_tensor {
    const char    *name;
    ds4_st_dtype   dtype;
    uint32_t       n_dims;                  /* 0 for a scalar */
    uint64_t       dim[DS4_ST_MAX_DIMS];    /* the last one runs fastest */
    uint64_t       n_elems;                 /* may be 0 */
    const uint8_t *data;                    /* [n_elems] of dtype, any alignment */
} ds4_st_tensor;

typedef struct ds4_safetensors ds4_safetensors;

/* Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT, DS4_E_UNSUPPORTED (an element type) or
 * DS4_E_LIMIT (a header over 100 MB) with a sentence; DS4_E_NOMEM.                      */
DS4_MUST_CHECK ds4_status ds4_safetensors_open(const char *path, ds4_safetensors **out, ds4_err *err);

/* Open bytes in memory, which the caller keeps unchanged until the close: for tests and the
 * fuzzer, which have no files. */
DS4_MUST_CHECK ds4_status ds4_safetensors_open_bytes(const char *name, const void *data, uint64_t n_bytes,
                                                     ds4_safetensors **out, ds4_err *err);
void                 ds4_safetensors_close(ds4_safetensors *s);        /* NULL is fine */

/* The file as it was when it was mapped; zeros for bytes in memory. */
const ds4_file_facts *ds4_safetensors_facts(const ds4_safetensors *s);

/* As ds4_gguf_check(). */
DS4_MUST_CHECK ds4_status ds4_safetensors_check(const ds4_safetensors *s, ds4_err *err);
uint32_t             ds4_safetensors_count(const ds4_safetensors *s);
const ds4_st_tensor *ds4_safetensors_at(const ds4_safetensors *s, uint32_t i);     /* sorted by name */
const ds4_st_tensor *ds4_safetensors_find(const ds4_safetensors *s, const char *name);     /* or NULL */

#endif
