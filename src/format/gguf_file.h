/* gguf_file.h - the inside of an opened GGUF file, shared by its reader, its opener and its getters. */
#ifndef DS4_FORMAT_GGUF_FILE_H
#define DS4_FORMAT_GGUF_FILE_H

#include "base/file.h"
#include "format/gguf.h"

struct ds4_gguf {
    char                   *path;
    ds4_map                 map;            /* owned; zero when the bytes belong to the caller */
    const uint8_t          *data;           /* [n_bytes] the whole file */
    uint64_t                n_bytes;
    uint64_t                data_offset;
    uint32_t                alignment;
    uint32_t                n_keys, n_tensors;
    ds4_gguf_key            *keys;             /* [n_keys] in file order */
    ds4_gguf_tensor        *tensors;        /* [n_tensors] in file order */
    /* Sorted by name: found by bisection, which no choice of names can slow down. */
    const ds4_gguf_key     **keys_by_name;     /* [n_keys] */
    const ds4_gguf_tensor **by_name;        /* [n_tensors] */
    ds4_gguf              **more;           /* [n_more] the other pieces of a split model, owned */
    uint32_t                n_more;
    const char            **paths;          /* [1 + n_more] */
};

/* Fill by_name; two tensors of one name are an error. */
ds4_status ds4_gguf_index_tensors(ds4_gguf *g, ds4_err *err);

enum { DS4_GGUF_SHOWN_BYTES = 100 };        /* most bytes of a name in a message */

/* A name from the file, fit for a message: cut, and unprintable bytes replaced by '?'.
 * Returns buf. */
const char *ds4_gguf_shown(ds4_slice name, char buf[DS4_GGUF_SHOWN_BYTES + 4]);

uint32_t ds4_gguf_type_bytes(ds4_gguf_type type);   /* of one element; 0 for string and array */
uint32_t ds4_load_u32(const uint8_t *p);            /* little endian, any alignment */
uint64_t ds4_load_u64(const uint8_t *p);

#endif
