/* run_options.h - options of all commands that write a model file for a long time. */
#ifndef DS4_APP_QUANTIZE_RUN_OPTIONS_H
#define DS4_APP_QUANTIZE_RUN_OPTIONS_H

#include "app/common/options.h"

enum { MAX_THREADS = 256, SAVE_EVERY = 256 << 20 };     /* as the texts say */

/* w has the fields resume, save_every, SAVE_EVERY at first, and n_threads. */
#define RESUME_OPTION(w) \
    DS4_OPT_FLAG(0, "resume", &(w)->resume, "go on where an earlier run of the same command ended")
#define SAVE_OPTION(w) \
    DS4_OPT_SIZE(0, "save-every", "SIZE", &(w)->save_every, "what a killed run may lose at most [256M]")
#define THREADS_OPTION(w) \
    DS4_OPT_U32('t', "threads", "N", &(w)->n_threads, 1, MAX_THREADS, "threads (default: all processors)")

#endif
