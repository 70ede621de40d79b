/* convert.h - a checkpoint folder becomes one model file, or a support file. */
#ifndef DS4_APP_CONVERT_H
#define DS4_APP_CONVERT_H

#include "app/quantize/file_plan.h"
#include "app/quantize/importance.h"
#include "format/encode.h"

typedef struct convert_progress {
    uint32_t    i_tensor, n_tensors;        /* i_tensor is being written */
    const char *name;
} convert_progress;

typedef struct convert_options {
    const char *from;           /* folder */
    const char *out;            /* file */
    const char *name;           /* general.name; NULL: the folder's last part, or that of support files */
    file_part   part;
    ds4_recipe     *types;          /* its rules are marked as they are used */
    importance *weights;        /* of columns; a zeroed one: all are alike */
    ds4_encode_effort effort;
    uint32_t    n_threads;      /* >= 1 */
    bool        resume;         /* go on where an earlier run of the same options ended */
    uint64_t    save_every;     /* bytes of the file that a killed run may lose */
    const ds4_cancel *cancel;   /* NULL: never */
    void      (*progress)(void *ctx, const convert_progress *p);   /* NULL: silent */
    void      (*note)(void *ctx, const char *text);                 /* one line worth knowing; NULL: none */
    void       *ctx;
} convert_options;

typedef struct convert_result {
    uint32_t n_tensors;
    uint64_t file_bytes;
} convert_result;

/* Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT or DS4_E_UNSUPPORTED for a bad checkpoint, naming
 * file or tensor; DS4_E_NOMEM; DS4_E_CANCELLED. On failure no file of that name was touched, and
 * what was written stays beside it for a run with resume.                                            */
DS4_MUST_CHECK ds4_status convert_checkpoint(const convert_options *opt, convert_result *out, ds4_err *err);

#endif
