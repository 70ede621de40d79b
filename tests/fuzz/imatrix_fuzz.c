/* imatrix_fuzz.c - the input is a file of importance. What is read is asked for rows, added to itself, and
 * is never NaN, infinite or negative. */
#include "format/imatrix.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void ask(const ds4_imatrix *m, const ds4_imatrix_entry *e)
{
    ds4_err    err = { .code = DS4_OK };
    ds4_status st = DS4_OK;
    float     *row = malloc(e->n_columns * sizeof *row);

    if (!row) return;
    for (uint64_t mat = 0; mat < e->n_mats && mat < 4; mat++) {
        if (!ds4_imatrix_row(m, e->name, mat, e->n_mats, e->n_columns, row, &st, &err)) continue;
        for (uint64_t i = 0; i < e->n_columns; i++) {
            if (!(row[i] > 0)) abort();
        }
    }
    free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    ds4_imatrix m, sum;
    ds4_err     err = { .code = DS4_OK };

    if (ds4_imatrix_read_bytes(&m, "fuzz", data, n_bytes, &err) != DS4_OK) {
        if (err.code == DS4_OK || err.text[0] == 0) abort();
        ds4_imatrix_clear(&m);
        return 0;
    }
    for (uint32_t i = 0; i < m.n; i++) ask(&m, &m.entries[i]);
    sum = (ds4_imatrix){ .has_counts = true };
    if (ds4_imatrix_merge(&sum, &m, &err) == DS4_OK && sum.n != m.n) abort();
    ds4_imatrix_clear(&sum);
    ds4_imatrix_clear(&m);
    return 0;
}
