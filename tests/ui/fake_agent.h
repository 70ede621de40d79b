/* fake_agent.h - front.h without a model: requests are answered by a script.
 *
 * A script has blocks, "on TEXT" and the steps below it; a request is answered by the first block whose TEXT
 * it contains, or by "on" alone. Steps, one a line, with \n and \e (escape), \t, \r in texts:
 *
 *     think TEXT      say TEXT      in pieces of `piece N` bytes, `pause N` milliseconds apart
 *     note TEXT       error TEXT    read DONE TOTAL    user TEXT
 *     call NAME JSON  the call is written in pieces; then  run  output TEXT  change PATH DIFF
 *     ended TEXT      failed TEXT   its result
 *     ask WHAT        a question about the call; says what was answered as a note
 *     sleep MS        quit          past: what follows is of the past */
#ifndef DS4_TESTS_FAKE_AGENT_H
#define DS4_TESTS_FAKE_AGENT_H

#include "agent/front.h"

ds4_agent *fake_agent_new(const char *script);
void       fake_agent_free(ds4_agent *a);
void       fake_agent_run(ds4_agent *a, const ds4_front *front);    /* until ds4_agent_quit() */

#endif
