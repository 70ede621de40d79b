/* ui_complete.h - what the Tab key offers: commands, and files of the project. */
#ifndef DS4_AGENT_UI_COMPLETE_H
#define DS4_AGENT_UI_COMPLETE_H

#include "agent/front.h"
#include "app/agent/ui_line.h"

/* Complete the word before the cursor as far as it is certain.
 *
 *   root     where names of files begin
 *   words    [n_words] the commands; for a first word with a slash
 *   offers   receives what is possible when it is several, in one line of at most `most` names; cleared first
 *
 * Returns whether the text changed.                                                          */
bool ui_complete(ui_line *l, const char *root, const ds4_agent_word *words, uint32_t n_words, uint32_t most,
                 ds4_str *offers);

#endif
