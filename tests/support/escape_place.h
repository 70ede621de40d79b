/* escape_place.h - a root with a folder beside it that must not change, and tools that try to get there. */
#ifndef DS4_TESTS_ESCAPE_PLACE_H
#define DS4_TESTS_ESCAPE_PLACE_H

#include "agent/sandbox.h"
#include "agent/tools.h"
#include "support/agent_dir.h"

extern agent_dir  escape_dir;           /* of the place that is made */
extern ds4_tools *escape_tools;         /* open on it; whatever is asked is denied */

/* A repository of git in the root, secrets and sockets outside, links to them, and tests/tools/escape_helper
 * as "helper". without as in ds4_tools_options. Needs git. */
void escape_make(unsigned without);
void escape_leave(void);

/* Run a tool. In its arguments, %O is the outside, %S the state folder, %R the root, %A our process, %B
 * another one of the user and %H the helper; number tells the helper of 1 our process, 2 a TCP port, 3 a UDP
 * port. Of bash, arguments is the command. */
void escape_run(const char *tool, const char *arguments, int number, ds4_tool_result *result);
void escape_bash(const char *command);                  /* fails the test when it is refused */
void escape_shell(const char *fmt, ...);                /* without any sandbox */
bool escape_anybody_came(void);                         /* to one of our sockets */
bool escape_bystander_lives(void);                      /* %B */

/* What confines commands on this system when the means of `without` are left unused. */
ds4_sandbox_kind escape_kind(unsigned without);

#endif
