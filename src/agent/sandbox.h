/* sandbox.h - how commands of a model are confined by the operating system.
 *
 * Linux: Landlock and a seccomp filter, both without any helper, also in containers; or bwrap where a try
 * shows that it works, which also gives a network, processes and a /tmp of their own. macOS: sandbox-exec.
 * Confined, a command writes below the root and in a temporary folder only, reads programs, libraries and the
 * root and not the user's home, has no network, gains no privileges and touches no other process. */
#ifndef DS4_AGENT_SANDBOX_H
#define DS4_AGENT_SANDBOX_H

#include "agent/root.h"

typedef enum ds4_sandbox_kind {
    DS4_SANDBOX_NONE,
    DS4_SANDBOX_LANDLOCK,
    DS4_SANDBOX_BWRAP,
    DS4_SANDBOX_SEATBELT,       /* sandbox-exec */
} ds4_sandbox_kind;

typedef struct ds4_sandbox ds4_sandbox;

/* Means that are left unused though they are there; tests run with each. */
enum { DS4_SANDBOX_WITHOUT_BWRAP = 1, DS4_SANDBOX_WITHOUT_LANDLOCK = 2, DS4_SANDBOX_WITHOUT_SEATBELT = 4 };

/* Find out what works here; takes some ten milliseconds.
 *
 *   root   lent, as long as the sandbox
 *   temp   an absolute path: a folder of the agent's own outside of the root, for temporary files
 *   home   the user's, of which only tool chains may be read; NULL: none
 *
 * Returns DS4_OK, also when nothing works (DS4_SANDBOX_NONE); DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_sandbox_open(ds4_sandbox **out, const ds4_root *root, const char *temp,
                                           const char *home, unsigned without, ds4_err *err);
void                      ds4_sandbox_close(ds4_sandbox *s);        /* NULL is fine */

ds4_sandbox_kind ds4_sandbox_get_kind(const ds4_sandbox *s);
const char      *ds4_sandbox_sentence(const ds4_sandbox *s);        /* one sentence; lent */

typedef struct ds4_confine_options {
    bool unconfined;            /* no sandbox at all: the user wants it so */
    bool read_only;             /* the root may not be written */
    bool network;               /* the user allowed the network */
} ds4_confine_options;

/* Everything that a child needs, made before fork(): afterwards only system calls are left. */
typedef struct ds4_confine {
    char **argv, **envp;        /* end in NULL */
    int    ruleset;             /* of Landlock, or -1 */
    int    filter_fd;           /* the seccomp filter as bwrap reads it, or -1 */
    void  *filter;              /* of struct sock_fprog, or NULL */
    void  *filter_alone;        /* the same where nobody can be asked; with a filter that asks */
    int    notify[2];           /* the way of the listener from the child to us, or -1 */
    int    root_fd;
    bool   drop_capabilities;
    bool   no_new_privileges;
} ds4_confine;

/* Prepare `sh -c command` in the root. token goes into its environment, by which what it leaves is found.
 * Returns DS4_OK; DS4_E_UNSUPPORTED without a sandbox, unless unconfined; DS4_E_IO; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_confine_make(ds4_sandbox *s, const char *command, const char *token,
                                           const ds4_confine_options *opt, ds4_confine *out, ds4_err *err);
void                      ds4_confine_clear(ds4_confine *c);

/* After fork(): wait for what the child asks through (see ds4_confine_answer). Returns a file descriptor, or
   -1
 * when it does not ask. */
int ds4_confine_listener(ds4_confine *c);

/* The listener is readable: a process of the command wants to change permissions or times of a file, which
 * happens where the file lies beneath the root or the temporary folder; or it wants to send a signal, which
 * may go to processes below `leader`, the command's first one. All else is refused. */
void ds4_confine_answer(const ds4_sandbox *s, bool read_only, int listener, int leader);

/* In the child: confine this process, go to the root and run the command. Returns only when that failed,
 * with errno. Makes system calls only. */
void ds4_confine_run(const ds4_confine *c);

#endif
