/* rewrite.h - a model file becomes another: other element types, some tensors of a second file,
 * in pieces or in one. Tensors whose type stays are copied byte for byte. */
#ifndef DS4_APP_REWRITE_H
#define DS4_APP_REWRITE_H

#include "app/quantize/importance.h"
#include "format/encode.h"
#include "format/recipe.h"
#include "base/wait.h"
#include "ds4.h"
#include "format/gguf.h"

typedef struct rewrite_options {
    const ds4_gguf   *from;
    const ds4_gguf   *other;            /* NULL: none */
    ds4_recipe           *take; /* rules of the tensors taken from `other`; their types mean nothing */
    ds4_recipe           *types;            /* NULL: types stay */
    importance       *weights;          /* of columns; a zeroed one: all are alike */
    ds4_encode_effort effort;
    const char       *out;              /* file; in pieces: the part of their names before -00001-of-0000N */
    uint64_t          piece_bytes;      /* most bytes of a piece; 0: one file */
    uint32_t          n_threads;        /* 1..256 */
    bool                  resume; /* go on where an earlier run of the same options ended; not in pieces */
    uint64_t          save_every;       /* bytes of the file that a killed run may lose */
    const ds4_cancel *cancel;           /* NULL: never */
    void (*progress)(void *ctx, uint64_t n_done, uint64_t n_total, const char *name); /* bytes read */
    void             *ctx;
} rewrite_options;

typedef struct rewrite_result {
    uint32_t n_tensors, n_changed, n_files;     /* changed: taken from the other file or of another type */
    uint64_t file_bytes;                        /* of all files */
} rewrite_result;

/* Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT when the files do not fit together or the recipe does not;
 * DS4_E_UNSUPPORTED for a type that cannot be decoded; DS4_E_LIMIT for a piece smaller than a tensor;
 * DS4_E_NOMEM; DS4_E_CANCELLED. On failure whole pieces stay, and of a single file what was
 * written, for a run with resume.                                                       */
DS4_MUST_CHECK ds4_status rewrite_model(const rewrite_options *opt, rewrite_result *out, ds4_err *err);

#endif
