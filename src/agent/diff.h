/* diff.h - two texts compared by lines, as a unified diff. */
#ifndef DS4_AGENT_DIFF_H
#define DS4_AGENT_DIFF_H

#include "base/str.h"

/* Append the unified diff of two texts to *out; nothing when they are equal.
 *
 *   name       for both heads; an empty before or after with made or removed becomes /dev/null
 *   context    lines around each change
 *
 * The shortest diff where at most 1000 lines differ; else what differs as one piece. */
void ds4_diff(const char *name, ds4_slice before, ds4_slice after, bool made, bool removed, unsigned context,
              ds4_str *out);

#endif
