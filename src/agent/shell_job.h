/* shell_job.h - a command that runs: its output while it comes, its end, and the end of all that it started.
 *
 * A thread of each job reads its output. Of long outputs the beginning and the end are kept. When the command
 * itself has ended, what it left running is ended too; a job that shall last is one that does not end. */
#ifndef DS4_AGENT_SHELL_JOB_H
#define DS4_AGENT_SHELL_JOB_H

#include "agent/sandbox.h"

enum { DS4_SHELL_HEAD_BYTES = 256 << 10, DS4_SHELL_TAIL_BYTES = 768 << 10 };

typedef struct ds4_shell_job ds4_shell_job;

typedef struct ds4_shell_job_state {
    bool     running;
    int      exit_code;         /* when it has ended by itself, else -1 */
    int      signal;            /* that ended it, else 0 */
    bool     killed;            /* by ds4_shell_job_kill() or its time limit */
    bool     timed_out;
    /* processes that it left, that did not end by themselves within a moment and were ended; 0 under bwrap,
     * which ends them */
    unsigned n_left;
    uint64_t n_bytes;           /* of output so far */
    uint64_t run_ns;
} ds4_shell_job_state;

/* Start a command in the root of the sandbox.
 *
 *   limit_ns   after this long it is ended; 0: never
 *
 * Returns DS4_OK; what ds4_confine_make() returns; DS4_E_IO when it cannot be started. */
DS4_MUST_CHECK ds4_status ds4_shell_job_start(ds4_shell_job **out, ds4_sandbox *s, const char *command,
                                        const ds4_confine_options *opt, uint64_t limit_ns, ds4_err *err);

/* Wait until it has ended or until a time of ds4_now_ns(); output that was not handed out is given to sink.
   */
ds4_shell_job_state ds4_shell_job_wait(ds4_shell_job *j, uint64_t until_ns, const volatile int *cancelled,
                           void (*sink)(void *ctx, ds4_slice bytes), void *ctx);

/* End it and all that it started; returns when they are gone, within about two seconds. */
void ds4_shell_job_kill(ds4_shell_job *j);

/* Kills it when it runs. NULL is fine. */
void ds4_shell_job_free(ds4_shell_job *j);

/* The output that is kept; a line between beginning and end says how much is missing. */
void ds4_shell_job_output(ds4_shell_job *j, ds4_str *out);

const char *ds4_shell_job_command(const ds4_shell_job *j);

#endif
