/* tool_schemas.h - our tools as the model sees them, in their order. */
#ifndef DS4_AGENT_TOOL_SCHEMAS_H
#define DS4_AGENT_TOOL_SCHEMAS_H

#include "agent/tools_local.h"

typedef struct tool_entry {
    const char *name, *schema;
    void      (*run)(tool_run *r);
} tool_entry;

enum { TOOLS_OURS = 9 };
extern const tool_entry tool_entries[TOOLS_OURS];

#endif
