/* output.h - a file that a program writes for its user, under whatever name the user gave.
 *
 * A regular file, or a name that is new, gets its content at once: the bytes go to a temporary
 * neighbour, which takes the name when it is complete, so that a reader sees the old file or the
 * new one, also after a crash. A link stays and the file behind it is replaced. Devices, pipes
 * and the program's own standard output are written as they are. */
#ifndef DS4_BASE_OUTPUT_H
#define DS4_BASE_OUTPUT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct ds4_output ds4_output;

/* Open an output. "-" is standard output. Opening a pipe waits for its reader.
 *
 *   out   to be committed or dropped by the caller
 *
 * Returns DS4_OK; DS4_E_IO with the path and the reason (also for a folder); DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_output_open(ds4_output **out, const char *path, ds4_err *err);

/* Open an output that outlives its program. Its bytes lie under PATH.partial until it is complete, and
 * PATH.partial.mark says how many of them are safe: another run goes on behind them. Devices and
 * pipes are opened as ds4_output_open() does; nothing of them is kept.
 *
 *   id       of everything that the bytes depend on: a partial file of another id is not continued
 *   resume   false: begin anew
 *   n_kept   receives the bytes that are there; the next write comes behind them
 *
 * Returns DS4_OK; DS4_E_ARG when resume finds a partial file of another id; DS4_E_IO, also while
 * another program writes it; DS4_E_NOMEM.                                              */
DS4_MUST_CHECK ds4_status ds4_output_open_partial(ds4_output **out, const char *path, const uint8_t id[32],
                                                  bool resume, uint64_t *n_kept, ds4_err *err);

/* Let what was written so far outlive a loss of power. Does nothing for other outputs.
 * Returns DS4_OK; DS4_E_IO.                                                            */
DS4_MUST_CHECK ds4_status ds4_output_mark(ds4_output *o, ds4_err *err);

/* Append bytes. Returns DS4_OK; DS4_E_IO.                                              */
DS4_MUST_CHECK ds4_status ds4_output_write(ds4_output *o, const void *data, size_t n_bytes, ds4_err *err);

/* The descriptor, for writing at places of one's own; the output keeps it. *replaces says whether
 * it is an ordinary file of this program alone, which can be sized and written anywhere. */
int ds4_output_fd(const ds4_output *o, bool *replaces);

/* Sync, close and give the file its name; the output is gone, also on failure, and then nothing
 * is left of a temporary file. Returns DS4_OK; DS4_E_IO.                               */
DS4_MUST_CHECK ds4_status ds4_output_commit(ds4_output *o, ds4_err *err);

/* Close, and remove what was not committed; of a partial file what was marked stays. NULL is fine. */
void ds4_output_drop(ds4_output *o);

/* All of an output in one call. Returns DS4_OK; DS4_E_IO; DS4_E_NOMEM.                 */
DS4_MUST_CHECK ds4_status ds4_output_put(const char *path, const void *data, size_t n_bytes, ds4_err *err);

#endif
