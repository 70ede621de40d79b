/* steering.h - a direction for each layer, of which the outputs of its halves lose or gain a share.
 *
 * y <- y - F v dot(v, y): F = 1 removes what lies along v, -1 doubles it. A file is n_layers * n_embd
 * float32, little endian, without a header. Source: docs/STEERING.md. */
#ifndef DS4_MODEL_STEERING_H
#define DS4_MODEL_STEERING_H

#include "backend/backend.h"
#include "model/shape.h"

/* The places on the device that the operations read. */
typedef struct ds4_steer_places {
    ds4_buf *buf;                       /* NULL: nothing is steered */
    uint64_t factor[2], v;              /* offsets: of attention's and experts' factor, of the directions */
    uint64_t stride;                    /* bytes from one direction to the next */
} ds4_steer_places;

/* Make floats of a file's bytes; a function of its own for tests by a fuzzer. Each direction has length 1
 * (to a hundredth), or is zero: then its layer is left alone.
 *
 *   name   of the file, for messages
 *   v      receives [n_layers][n_embd], which the caller frees; untouched on failure
 *
 * Returns DS4_OK; DS4_E_FORMAT; DS4_E_NOMEM.                                                 */
DS4_MUST_CHECK ds4_status ds4_steering_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes,
                                             uint32_t n_layers, uint32_t n_embd, float **v, ds4_err *err);

/* Lay the places out, and return how many bytes they take. */
uint64_t ds4_steering_lay_out(const ds4_shape *s, ds4_steer_places *out);

/* Read a file, take memory for it and write it there; the factors are 0.
 *
 *   places   cleared and filled; its buffer is the caller's to free, also after a failure
 *   v        receives the directions [n_layers][n_embd], which the caller frees; untouched on failure
 *
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT; DS4_E_NOMEM; DS4_E_DEVICE.                         */
DS4_MUST_CHECK ds4_status ds4_steering_load(const char *path, const ds4_shape *s, const ds4_backend *backend,
                                            ds4_dev *dev, ds4_steer_places *places, float **v,
                                            ds4_err *err);

#endif
