/* synth_write.h - a synthetic model as a file, written by many threads at once. */
#ifndef DS4_APP_SYNTH_WRITE_H
#define DS4_APP_SYNTH_WRITE_H

#include "app/quantize/synth_model.h"

typedef struct synth_job {
    const synth_model *model;
    const char        *path;
    uint64_t           seed;
    uint32_t           n_threads;       /* >= 1; the bytes do not depend on it */
    const ds4_cancel  *cancel;          /* NULL: never */
    /* Called by one thread only, from time to time; NULL: silent. */
    void             (*progress)(uint64_t n_done, uint64_t n_total);
} synth_job;

/* Bytes before the data section. */
DS4_MUST_CHECK ds4_status synth_header(const synth_model *m, ds4_str *out, ds4_err *err);

/* Write the file under a temporary name beside path, sync it and rename it.
 *
 * Returns DS4_OK; DS4_E_LIMIT before anything is written when the disk has too little free
 * room; DS4_E_IO; DS4_E_NOMEM; DS4_E_CANCELLED. On failure nothing is left behind and a
 * file that was at path is still there.                                                */
DS4_MUST_CHECK ds4_status synth_write(const synth_job *job, ds4_err *err);

#endif
