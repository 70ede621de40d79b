/* model_open.h - find a model file and open it for conversations. */
#ifndef DS4_SERVICE_MODEL_OPEN_H
#define DS4_SERVICE_MODEL_OPEN_H

#include "base/str.h"
#include "text/chat.h"

/* Look for a model when the user names no file, in this order:
 * ds4flash.gguf in the current folder; the bundled models/ds4-mini.gguf in the current
 * folder, in the program's folder, in the folder above it, and ../share/ds4 from it.
 *
 *   program_dir  the folder of the running program, or "" when it is not known
 *   path         receives the first that exists (appended)
 *
 * Returns DS4_OK; DS4_E_IO naming what was looked for; DS4_E_NOMEM.                  */
DS4_MUST_CHECK ds4_status ds4_model_find(const char *program_dir, ds4_str *path, ds4_err *err);

typedef struct ds4_model {
    ds4_engine  *engine;
    ds4_protocol protocol;
} ds4_model;

/* Open an engine and tell which protocol the file speaks.
 *
 *   out   untouched on failure
 *
 * Returns as ds4_engine_open(). A file that cannot hold a conversation opens all the same;
 * see ds4_vocab_check_chat().                                                        */
DS4_MUST_CHECK ds4_status ds4_model_open(const ds4_engine_options *opt, ds4_model *out,
                                         ds4_err *err);
void                      ds4_model_close(ds4_model *m);        /* a zeroed one is fine */

/* Sampling as the file advises it, without a limit on candidates. */
ds4_sampling ds4_model_sampling(const ds4_model *m);

#endif
