/* gguf_write.h - writing GGUF version 3 files: first all keys and tensor entries, then the
 * tensors' bytes as one stream. The file gets its name only when it is complete.
 *
 * Order of calls: create, put_* and declare in any order, begin, append until every
 * declared byte is there, finish; free at any time. put_* and declare cannot fail at the
 * call: what goes wrong in them is reported by begin.                                  */
#ifndef DS4_FORMAT_GGUF_WRITE_H
#define DS4_FORMAT_GGUF_WRITE_H

#include "base/err.h"
#include "base/str.h"
#include "format/gguf.h"

typedef struct ds4_gguf_writer ds4_gguf_writer;

/*   alignment   a power of two in 8 .. 1 << 20; 0 for the default 32. Another value than
 *               32 is recorded in the key general.alignment.
 *
 * Returns DS4_OK; DS4_E_ARG; DS4_E_NOMEM.                                               */
DS4_MUST_CHECK ds4_status ds4_gguf_writer_create(ds4_gguf_writer **out, uint32_t alignment, ds4_err *err);
void                      ds4_gguf_writer_free(ds4_gguf_writer *w);     /* drops an unfinished file */

/* Keys, each at most once. Keys and values are copied. */
void ds4_gguf_put_u32(ds4_gguf_writer *w, const char *key, uint32_t value);
void ds4_gguf_put_f32(ds4_gguf_writer *w, const char *key, float value);
void ds4_gguf_put_bool(ds4_gguf_writer *w, const char *key, bool value);
void ds4_gguf_put_string(ds4_gguf_writer *w, const char *key, ds4_slice value);
void ds4_gguf_put_u32s(ds4_gguf_writer *w, const char *key, const uint32_t *values, uint64_t n);
void ds4_gguf_put_i32s(ds4_gguf_writer *w, const char *key, const int32_t *values, uint64_t n);
void ds4_gguf_put_f32s(ds4_gguf_writer *w, const char *key, const float *values, uint64_t n);
void ds4_gguf_put_strings(ds4_gguf_writer *w, const char *key, const ds4_slice *values, uint64_t n);
/* As another file has it; DS4_T66_KEY is left to declare. */
void ds4_gguf_put_key(ds4_gguf_writer *w, const ds4_gguf_key *entry);

/* Declare the next tensor; the data section holds the tensors in this order.
 *
 *   name     1..127 bytes
 *   dtype    an id that ds4_dtype_get() knows; dim[0] in whole blocks of it
 *   dim      [n_dims], dim[0] runs fastest                                             */
void ds4_gguf_declare(ds4_gguf_writer *w, const char *name, uint32_t dtype, uint32_t n_dims,
                      const uint64_t *dim);

/* Everything before the data section, padding included, appended to *out. For files that
 * are put together in memory; the tensors' bytes follow, each padded to the alignment. */
DS4_MUST_CHECK ds4_status ds4_gguf_writer_header(const ds4_gguf_writer *w, ds4_str *out, ds4_err *err);

/* Open the output (see base/output.h) and write the header into it.
 * Returns DS4_OK; DS4_E_ARG for a bad key or tensor given before; DS4_E_IO; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_gguf_writer_begin(ds4_gguf_writer *w, const char *path, ds4_err *err);

/* Write to an output that outlives its program, see base/output.h. Parts that an earlier run wrote
 * are told by ds4_gguf_writer_has().
 *
 *   from     [n_from] what the tensors' bytes depend on beside keys and entries, e.g. names, sizes and
 *            times of the sources
 *   resume   false: begin anew
 *
 * Returns as ds4_gguf_writer_begin(); as ds4_output_open_partial().                     */
DS4_MUST_CHECK ds4_status ds4_gguf_writer_begin_partial(ds4_gguf_writer *w, const char *path,
                                                        const void *from, size_t n_from, bool resume,
                                                        ds4_err *err);

/* Are the next bytes of the current tensor there from an earlier run? Then they count as appended. Asked
 * with the same sizes in the same order as in that run, since marks lie between such parts. */
bool ds4_gguf_writer_has(ds4_gguf_writer *w, uint64_t n_bytes);

/* Make the bytes so far outlive a loss of power, if `most` bytes came since that was done.
 * Returns DS4_OK; DS4_E_IO.                                                            */
DS4_MUST_CHECK ds4_status ds4_gguf_writer_mark(ds4_gguf_writer *w, uint64_t most, ds4_err *err);

/* Append bytes of the current tensor, in pieces of any size that do not cross its end.
 * Padding is added behind each tensor. Returns DS4_OK; DS4_E_ARG; DS4_E_IO.             */
DS4_MUST_CHECK ds4_status ds4_gguf_writer_append(ds4_gguf_writer *w, const void *data, uint64_t n_bytes,
                                                 ds4_err *err);

/* Sync the file and give it its name.
 * Returns DS4_OK; DS4_E_ARG while bytes of a tensor are missing; DS4_E_IO.              */
DS4_MUST_CHECK ds4_status ds4_gguf_writer_finish(ds4_gguf_writer *w, ds4_err *err);

uint64_t ds4_gguf_writer_bytes(const ds4_gguf_writer *w);       /* of the whole file, from begin on */

#endif
