/* notes.h - the head of a skill's file. */
#ifndef DS4_AGENT_NOTES_H
#define DS4_AGENT_NOTES_H

#include "base/str.h"

/* Read name and description from the lines between two "---" at the beginning of a text: appended to the
 * two strings, which are empty before. False when there is no such head, or it lacks one of them. For
 * tests and the fuzzer too. */
bool ds4_front_matter(ds4_slice text, ds4_str *name, ds4_str *description);

#endif
