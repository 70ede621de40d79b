/* imatrix.h - files of importance: how much each input channel of a weight matrix matters.
 *
 * The importance of channel c of a matrix is the mean over tokens of the square of its
 * input c; of routed experts, over the tokens that chose the expert. Two forms of file are
 * read, told apart by their first bytes:
 *
 *   GGUF  (general.type "imatrix")  tensors NAME.in_sum2 [matrices][columns] and NAME.counts
 *         [matrices]: sums and counts, so that files can be added up. This is what is written.
 *   .dat  (the older form)  i32 n_entries, then for each i32 n, n bytes of name, i32 n_calls,
 *         i32 n_values and the values as float32, to be divided by n_calls; perhaps i32
 *         last_chunk, i32 n, n bytes of the data's name. One file for experts: their rows
 *         one behind the other.
 *
 * NAME is a tensor's name in a model file, "blk.3.ffn_down_exps.weight". Everything in a
 * file is hostile until it was read: lengths are checked against what is left of it, values
 * are finite and not negative. Source: docs/FILES.md (importance).                      */
#ifndef DS4_FORMAT_IMATRIX_H
#define DS4_FORMAT_IMATRIX_H

#include "base/err.h"
#include "base/str.h"

enum { DS4_IMATRIX_MAX_ENTRIES = 65536, DS4_IMATRIX_MAX_NAME = 127 };

typedef struct ds4_imatrix_entry {
    char     name[DS4_IMATRIX_MAX_NAME + 1];
    uint64_t n_columns, n_mats;     /* of a .dat file: n_mats 1, and n_columns may be several rows */
    float   *sum;                   /* [n_mats][n_columns] sums of squares; means in a .dat file */
    float   *count;                 /* [n_mats] tokens; 1 in a .dat file */
} ds4_imatrix_entry;

typedef struct ds4_imatrix {
    uint32_t           n, capacity;
    ds4_imatrix_entry *entries;     /* [n], owned */
    uint32_t           n_chunks;    /* texts that were read */
    ds4_str            dataset;     /* what they were, for people; may be empty */
    ds4_str            source;      /* a digest of the texts and how they were cut; empty: not known */
    bool               has_counts;  /* false: means without counts, which cannot be added to others */
} ds4_imatrix;

/* Read a file. *out is cleared first; ds4_imatrix_clear() after a failure too.
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT with what was found; DS4_E_NOMEM.              */
DS4_MUST_CHECK ds4_status ds4_imatrix_read(ds4_imatrix *out, const char *path, ds4_err *err);
/* Read a file that lies in memory, as ds4_imatrix_read() does; name stands for the path in messages. */
DS4_MUST_CHECK ds4_status ds4_imatrix_read_bytes(ds4_imatrix *out, const char *name, const void *data,
                                                 uint64_t n_bytes, ds4_err *err);
void                      ds4_imatrix_clear(ds4_imatrix *m);    /* frees; usable again */

/* Append an entry of zeros.
 *
 *   name   at most DS4_IMATRIX_MAX_NAME bytes, and none of this name is there
 *
 * Returns it, lent until the next one is added; NULL when memory or the place is short.   */
ds4_imatrix_entry *ds4_imatrix_add(ds4_imatrix *m, const char *name, uint64_t n_columns, uint64_t n_mats);
ds4_imatrix_entry *ds4_imatrix_find(const ds4_imatrix *m, const char *name);     /* or NULL */

/* Add another file's sums and counts, and its entries that *to lacks.
 * Returns DS4_OK; DS4_E_FORMAT when one has no counts or an entry has another shape (*to is
 * then part of a sum); DS4_E_NOMEM.                                                     */
DS4_MUST_CHECK ds4_status ds4_imatrix_merge(ds4_imatrix *to, const ds4_imatrix *from, ds4_err *err);

/* Write a GGUF file, which gets its name when it is complete. Needs counts.
 * Returns DS4_OK; DS4_E_IO; DS4_E_ARG; DS4_E_NOMEM.                                     */
DS4_MUST_CHECK ds4_status ds4_imatrix_write(const ds4_imatrix *m, const char *path, ds4_err *err);

/* The importance of the columns of one matrix, scaled to a mean of 1. Channels that were
 * hardly seen get a little, so that no weight counts for nothing.
 *
 *   tensor   the name of the tensor in the model file
 *   mat      which of its n_mats matrices
 *   out      [n_columns]
 *
 * Returns false when nothing is known: no such entry, or an expert that no token chose.
 * DS4_E_FORMAT in *st when the entry has another shape.                                 */
bool ds4_imatrix_row(const ds4_imatrix *m, const char *tensor, uint64_t mat, uint64_t n_mats,
                     uint64_t n_columns, float *out, ds4_status *st, ds4_err *err);

#endif
