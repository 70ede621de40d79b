/* knob.h - the one place that reads the environment. No knob changes a result. */
#ifndef DS4_BASE_KNOB_H
#define DS4_BASE_KNOB_H

#include <stdint.h>

typedef enum ds4_knob {
    DS4_KNOB_CPU_MASK,      /* DS4_CPU_MASK: bits of CPU features to leave unused; for bug reports */
    DS4_KNOB_HOME,          /* HOME: where the REPL keeps its history */
    DS4_KNOB_NO_COLOR,      /* NO_COLOR: no colours on a terminal, as no-color.org asks */
    DS4_KNOB_TERM,          /* TERM: unset, empty or "dumb" is a terminal without escape sequences */
    DS4_KNOB_API_KEY,       /* DS4_API_KEY: a key that the server asks clients for */
    DS4_KNOB_JOURNAL_STREAM,    /* JOURNAL_STREAM: systemd.exec(5), which stream is the journal */
    DS4_KNOB_NOTIFY_SOCKET, /* NOTIFY_SOCKET: sd_notify(3), who wants to know that the server is ready */
    DS4_KNOB_CREDENTIALS,   /* CREDENTIALS_DIRECTORY: systemd.exec(5), where keys are handed over */
    DS4_N_KNOBS
} ds4_knob;

const char *ds4_knob_text(ds4_knob knob);                       /* NULL when unset */
uint64_t    ds4_knob_u64(ds4_knob knob, uint64_t otherwise);    /* otherwise when unset or not a number */

/* A variable that a file of the user names, as ${NAME} in a configuration; NULL when unset. No knob. */
const char *ds4_environment(const char *name);

#endif
