/* talk_apply.h - what a record of the journal does to a talk, when it is written and when it is read. */
#ifndef DS4_AGENT_TALK_APPLY_H
#define DS4_AGENT_TALK_APPLY_H

#include "agent/talk.h"

/* Returns DS4_OK; DS4_E_FORMAT for a record that cannot follow what came before, or of an unknown kind;
 * DS4_E_NOMEM, then the talk must be closed. */
DS4_MUST_CHECK ds4_status ds4_talk_apply(ds4_talk *t, const ds4_record *record, ds4_err *err);

uint64_t ds4_talk_u64(ds4_slice payload);       /* its first 8 bytes; UINT64_MAX if it has fewer */

#endif
