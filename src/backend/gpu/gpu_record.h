/* gpu_record.h - recordings of a program's launches, for steps that come again and again.
 *
 * A decoding step of a few tokens is a thousand short launches. Their structs and grids are the same
 * for all steps of the same sizes, since everything else is in tables; so they are recorded once and
 * made again at once. */
#ifndef DS4_BACKEND_GPU_RECORD_H
#define DS4_BACKEND_GPU_RECORD_H

#include "backend/gpu/gpu_local.h"

typedef struct gpu_records gpu_records;

/* All sizes that grids depend on, and the places that launches were given. */
typedef struct gpu_record_key {
    uint32_t n_tokens, n_spans, n_rows, max_span, max_rows;
    gpu_at   step, scratch;
} gpu_record_key;

/* Makes a program's launches, one by one. */
typedef ds4_status gpu_launches_fn(ds4_dev *dev, const void *program, ds4_err *err);

/* NULL: no memory. */
gpu_records *gpu_records_create(void);
void         gpu_records_free(ds4_dev *dev, gpu_records *r);

/* Make the launches of a step: recorded ones, if a step of these sizes was seen before and the device can
 * record. Errors are those of launches. */
DS4_MUST_CHECK ds4_status gpu_records_run(ds4_dev *dev, gpu_records *r, gpu_launches_fn *fn,
                                          const void *program, ds4_err *err);

#endif
