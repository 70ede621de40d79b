/* scripted_server.h - a ds4-server whose sampled tokens are prescribed, as a process of its
 * own, with a folder of kept conversations. What goes wrong fails the running test, but for
 * scripted_server_stop(), which is for the end of failed tests too. */
#ifndef DS4_TESTS_SCRIPTED_SERVER_H
#define DS4_TESTS_SCRIPTED_SERVER_H

#include "base/str.h"

#include <stdint.h>
#include <sys/types.h>

typedef struct scripted_server {
    char     dir[256];          /* script, log and kept conversations; removed at the end */
    pid_t    pid;
    unsigned port;
} scripted_server;

void scripted_server_start(scripted_server *s, const char *script);
void scripted_server_restart(scripted_server *s);      /* what is kept stays */
bool scripted_server_stop(scripted_server *s);         /* false: not with success */

/* Send a whole request and take the body of the answer; returns its status. */
int scripted_server_ask(const scripted_server *s, const ds4_str *request, bool is_head, ds4_str *body);

/* What the server's log says of the last prompt that left a known one: the tokens in front of that place;
 * 0 when nothing was said behind the first *n_read bytes, which are brought up to date. */
uint32_t scripted_server_parted(const scripted_server *s, long *n_read);

#endif
