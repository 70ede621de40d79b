/* sandbox_local.h - what the files of the sandbox share. */
#ifndef DS4_AGENT_SANDBOX_LOCAL_H
#define DS4_AGENT_SANDBOX_LOCAL_H

#include "agent/sandbox.h"

enum { MOST_READABLE = 96 };

struct ds4_sandbox {
    const ds4_root  *root;
    ds4_sandbox_kind kind;
    char            *temp, *home;
    ds4_root        *temp_root;
    char            *readable[MOST_READABLE + 1];   /* absolute paths that exist; ends in NULL */
    int              n_readable;
    int              abi;               /* of Landlock; 0 without */
    char             sentence[256];
};

/* Texts that grow and end in NULL. */
typedef struct text_list {
    char **text;
    size_t n, capacity;
    bool   failed;
} text_list;

void text_list_add(text_list *l, const char *text);
void text_list_addf(text_list *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- sandbox_landlock.c ---- */

int sandbox_landlock_abi(void);         /* 0: this kernel has no Landlock, or it is switched off */

/* The rules for one command. Returns a file descriptor, or -1 with errno. */
int sandbox_landlock_rules(const ds4_sandbox *s, const ds4_confine_options *opt);

/* ---- sandbox_seccomp.c ---- */

typedef struct seccomp_wants {
    bool internet, unix_sockets;
    int  abi;                           /* what Landlock does not do below 3 is done here */
    bool landlock;
    bool asks;                          /* permissions and times are handed to us, see sandbox_notify.c */
    int  spared_pid;                    /* no signals to this process; 0: none */
} seccomp_wants;

/* A filter on the heap (struct sock_fprog with its instructions behind it), or NULL where there is none. */
void *sandbox_seccomp_filter(const seccomp_wants *w);
int   sandbox_seccomp_file(const void *filter);     /* as bwrap reads it; -1 on failure */
int   sandbox_seccomp_enter(const void *filter);    /* 0, or -1 with errno */

/* ---- sandbox_notify.c ---- */

int  sandbox_seccomp_listen(const void *filter);    /* as enter, and returns the listener */
bool sandbox_send_fd(int socket_fd, int fd);

/* ---- sandbox_wrap.c: programs that confine others ---- */

void sandbox_bwrap_args(const ds4_sandbox *s, const ds4_confine_options *opt, int filter_fd, text_list *argv);
void sandbox_seatbelt_profile(const ds4_sandbox *s, const ds4_confine_options *opt, ds4_str *out);

#endif
