/* gguf.h - reading GGUF version 3 model files.
 *
 * Everything in a file is hostile until ds4_gguf_open() has returned: it checks every
 * length, count, offset and type against the file's size, so that afterwards each tensor
 * lies inside the mapping, no two overlap, and every row is whole blocks. Nothing is
 * copied: keys, strings, arrays and tensors are views into the mapping and live as long
 * as the ds4_gguf. What the blocks hold is not looked at here.
 *
 * The file must not be shortened while it is open: touching lost pages is a SIGBUS.
 *
 * Source: docs/MODEL.md section 9 (files).                                            */
#ifndef DS4_FORMAT_GGUF_H
#define DS4_FORMAT_GGUF_H

#include "base/file.h"
#include "base/err.h"
#include "base/str.h"
#include "format/dtype.h"

typedef struct ds4_gguf        ds4_gguf;
typedef struct ds4_gguf_tensor ds4_gguf_tensor;

typedef enum ds4_gguf_type {
    DS4_GGUF_U8, DS4_GGUF_I8, DS4_GGUF_U16, DS4_GGUF_I16, DS4_GGUF_U32, DS4_GGUF_I32,
    DS4_GGUF_F32, DS4_GGUF_BOOL, DS4_GGUF_STRING, DS4_GGUF_ARRAY,
    DS4_GGUF_U64, DS4_GGUF_I64, DS4_GGUF_F64,
    DS4_GGUF_N_TYPES
} ds4_gguf_type;

enum {
    DS4_GGUF_MAX_TENSORS = 65536,
    DS4_GGUF_MAX_KEYS    = 65536,
    DS4_GGUF_MAX_DIMS    = 4,
    DS4_GGUF_ALIGNMENT   = 32,          /* unless the key general.alignment says otherwise */
};

const char *ds4_gguf_type_name(ds4_gguf_type type);     /* "u32"; "?" out of range */

/* ---- opening ------------------------------------------------------------------------ */

/* Map a file and check its whole structure. A model in pieces (split.count) is opened by the name
 * of any piece; all of them lie in one folder, NAME-00001-of-0000N.gguf and so on. The first has
 * the metadata; the tensors are those of all.
 *
 *   out   receives the file; untouched on failure
 *
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT or DS4_E_UNSUPPORTED with a sentence naming the
 * file, the field, what was found and what was expected; DS4_E_NOMEM.                    */
DS4_MUST_CHECK ds4_status ds4_gguf_open(const char *path, ds4_gguf **out, ds4_err *err);

/* Open bytes in memory like a file; the caller keeps them unchanged until the close.
 * name stands for the path in messages; it is copied.                                    */
DS4_MUST_CHECK ds4_status ds4_gguf_open_bytes(const char *name, const void *data, uint64_t n_bytes,
                                              ds4_gguf **out, ds4_err *err);
void        ds4_gguf_close(ds4_gguf *g);                /* NULL is fine */

/* Did everything read so far come from the file, and not from pages it has lost?
 * Returns DS4_OK; DS4_E_IO. */
DS4_MUST_CHECK ds4_status ds4_gguf_check(const ds4_gguf *g, ds4_err *err);

/* Pages of the mapping that this process need not hold for now: those of one tensor, or
 * with NULL all. They come back as they are read. Nothing for bytes in memory. */
void        ds4_gguf_forget(const ds4_gguf *g, const ds4_gguf_tensor *t);
const char *ds4_gguf_path(const ds4_gguf *g);           /* of the first piece */
uint64_t    ds4_gguf_file_bytes(const ds4_gguf *g);     /* of all pieces */

/* The files that it was read from, and what they were when they were mapped. */
uint32_t    ds4_gguf_n_files(const ds4_gguf *g);
const char *ds4_gguf_file(const ds4_gguf *g, uint32_t i, ds4_file_facts *facts);
const char *const *ds4_gguf_paths(const ds4_gguf *g, uint32_t *n_files);    /* lent; 1 or more */
uint64_t    ds4_gguf_data_offset(const ds4_gguf *g);    /* of the first file's tensors, for tests */

/* Look for parts that were never written: a hole of the file under a tensor, or large tensors of
 * which much is zeros, as a download leaves them that did not end. Looks at four pages of each.
 * Returns DS4_OK; DS4_E_FORMAT with the tensor. */
DS4_MUST_CHECK ds4_status ds4_gguf_check_filled(const ds4_gguf *g, ds4_err *err);
uint32_t    ds4_gguf_alignment(const ds4_gguf *g);    /* of tensors; for tests of the writer */

/* ---- tensors ------------------------------------------------------------------------ */

struct ds4_gguf_tensor {
    ds4_slice      name;
    uint32_t       dtype;       /* a ds4_dtype, or another id that ds4_dtype_get() knows */
    uint32_t       n_dims;      /* 1..4 */
    uint64_t       dim[4];      /* dim[0] runs fastest; 1 from n_dims on */
    const uint8_t *data;        /* [n_bytes], aligned to the file's alignment only */
    uint64_t       n_bytes;
};

uint32_t               ds4_gguf_n_tensors(const ds4_gguf *g);
const ds4_gguf_tensor *ds4_gguf_tensor_at(const ds4_gguf *g, uint32_t i);   /* 0 <= i < n_tensors */
/* The file that holds it, an index of ds4_gguf_paths(), and its first byte's place there. */
uint32_t               ds4_gguf_tensor_file(const ds4_gguf *g, const ds4_gguf_tensor *t);
uint64_t               ds4_gguf_tensor_offset(const ds4_gguf *g, const ds4_gguf_tensor *t);
const ds4_gguf_tensor *ds4_gguf_tensor_find(const ds4_gguf *g, const char *name);  /* or NULL */

/* ---- metadata ----------------------------------------------------------------------- */

/* A value as it stands in the file: fixed-size elements little endian without gaps; each
 * string element as u64 length and bytes. */
typedef struct ds4_gguf_array {
    ds4_gguf_type  type;        /* of the elements; never DS4_GGUF_ARRAY */
    uint64_t       count;
    const uint8_t *data;
    uint64_t       n_bytes;
} ds4_gguf_array;

typedef struct ds4_gguf_key {
    ds4_slice      key;
    bool           is_array;
    ds4_gguf_array value;       /* count 1 unless is_array */
} ds4_gguf_key;

uint32_t           ds4_gguf_n_keys(const ds4_gguf *g);
const ds4_gguf_key *ds4_gguf_key_at(const ds4_gguf *g, uint32_t i);          /* 0 <= i < n_keys */
const ds4_gguf_key *ds4_gguf_key_find(const ds4_gguf *g, const char *key);   /* or NULL */
bool               ds4_gguf_has(const ds4_gguf *g, const char *key);

/* Typed reading. All return DS4_OK, or DS4_E_FORMAT with file, key, found and expected
 * when the key is missing, of another type or out of range; *out is written on success
 * only.
 *
 * Integers of any width and sign are accepted when the value lies in lo..hi. Floats
 * accept f32, f64 and integers and must be finite as f32.                                */
DS4_MUST_CHECK ds4_status ds4_gguf_get_u64(const ds4_gguf *g, const char *key, uint64_t lo, uint64_t hi,
                                           uint64_t *out, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_gguf_get_f32(const ds4_gguf *g, const char *key, float *out, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_gguf_get_string(const ds4_gguf *g, const char *key, ds4_slice *out,
                                              ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_gguf_get_array(const ds4_gguf *g, const char *key, ds4_gguf_array *out,
                                             ds4_err *err);

/* Read a key that may be missing: then *out is `otherwise`. A key that is there
 * with a wrong type or value is still an error. */
DS4_MUST_CHECK ds4_status ds4_gguf_opt_u64(const ds4_gguf *g, const char *key, uint64_t lo, uint64_t hi,
                                           uint64_t otherwise, uint64_t *out, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_gguf_opt_f32(const ds4_gguf *g, const char *key, float otherwise,
                                           float *out, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_gguf_opt_bool(const ds4_gguf *g, const char *key, bool otherwise,
                                            bool *out, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_gguf_opt_string(const ds4_gguf *g, const char *key, ds4_slice otherwise,
                                              ds4_slice *out, ds4_err *err);

/* Whole arrays in the wanted type. The caller frees *out, which is never NULL on success;
 * string views live as long as the file. *n receives the element count (may be 0).
 * Returns as above; DS4_E_NOMEM.                                                         */
DS4_MUST_CHECK ds4_status ds4_gguf_copy_i64s(const ds4_gguf *g, const char *key, int64_t lo, int64_t hi,
                                             int64_t **out, uint64_t *n, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_gguf_copy_f32s(const ds4_gguf *g, const char *key, float **out,
                                             uint64_t *n, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_gguf_copy_strings(const ds4_gguf *g, const char *key, ds4_slice **out,
                                                uint64_t *n, ds4_err *err);

#endif
