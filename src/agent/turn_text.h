/* turn_text.h - the tokens that the agent itself puts into a context: its instructions and the tools,
 * messages of the user, results of calls, and now and then a reminder of how calls are written.
 *
 * Instructions and tools depend on neither the project nor the day, so that their state is computed once for
 * all sessions. What a project says about itself stands in front of the first message. */
#ifndef DS4_AGENT_TURN_TEXT_H
#define DS4_AGENT_TURN_TEXT_H

#include "agent/talk.h"
#include "text/chat.h"

enum {
    DS4_TURN_REMIND = 8192,     /* tokens; a prompt that crosses a multiple of it reminds of the protocol */
    DS4_TURN_BASE_MOST = 2500,  /* tokens that instructions and our tools may take */
};

typedef struct ds4_turn_text {
    const ds4_vocab *vocab;
    ds4_protocol     protocol;
    ds4_effort       effort;
    bool             thinking;
    const ds4_slice *tools;     /* [n_tools] as ds4_tools_schemas() */
    uint32_t         n_tools;
    const char      *more;      /* instructions of the user, behind ours; NULL: none */
} ds4_turn_text;

/* Instructions and tools. Returns DS4_OK; as ds4_chat_render(), ds4_segments_encode(). */
DS4_MUST_CHECK ds4_status ds4_turn_base(const ds4_turn_text *how, ds4_tokens *out, ds4_err *err);

/* The prompt that comes next in a talk, behind its tokens: in DS4_TALK_PROMPTING the last message, with
 * results of calls that were not told; in DS4_TALK_CALLING, when all are done, the results.
 *
 *   notes    of the project, before the first message; empty: none
 *   remind   in any case, because the context was made anew
 *   out      appended
 *
 * Returns DS4_OK; as ds4_segments_encode().                                               */
DS4_MUST_CHECK ds4_status ds4_turn_prompt(const ds4_turn_text *how, const ds4_talk *talk, ds4_slice notes,
                                          bool remind, ds4_tokens *out, ds4_err *err);

/* A message of ours: what the model is asked to do about its context. thinking false answers at once. */
DS4_MUST_CHECK ds4_status ds4_turn_request(const ds4_turn_text *how, const ds4_talk *talk, const char *text,
                                           bool thinking, ds4_tokens *out, ds4_err *err);

/* The first message of a context that was made anew: what happened before, in the model's own words. */
DS4_MUST_CHECK ds4_status ds4_turn_summary(const ds4_turn_text *how, ds4_slice summary, ds4_tokens *out,
                                           ds4_err *err);

#endif
