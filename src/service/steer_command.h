/* steer_command.h - the word /steer of programs that talk with a person. */
#ifndef DS4_SERVICE_STEER_COMMAND_H
#define DS4_SERVICE_STEER_COMMAND_H

#include "ds4.h"

/* "F" steers the experts' outputs by F, "F A" attention's by A as well, "" only shows.
 *
 *   said   [n_bytes] receives one sentence about how it is now; untouched on failure
 *
 * Returns DS4_OK; DS4_E_ARG; as ds4_engine_steer().                                          */
DS4_MUST_CHECK ds4_status ds4_steer_command(ds4_engine *e, const char *arg, char *said, size_t n_bytes,
                                            ds4_err *err);

#endif
