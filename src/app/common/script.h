/* script.h - prescribed answers, for tests of whole programs with a small model.
 *
 * A build with DS4_SCRIPTED_SAMPLING reads them from a file: JSON lines of
 * {"if": TEXT, "say": TEXT} or a bare TEXT. The first line whose `if` occurs in the prompt
 * behind the beginning of the last turn, or that has none,
 * gives the tokens that are sampled; special tokens are recognised in `say`, and the turn
 * ends after it. Other builds have no scripts. */
#ifndef DS4_APP_SCRIPT_H
#define DS4_APP_SCRIPT_H

#include "text/segments.h"

typedef struct ds4_script ds4_script;

/* Returns DS4_OK; DS4_E_UNSUPPORTED in ordinary builds; as ds4_file_read(); DS4_E_FORMAT
 * naming the line.                                                                   */
DS4_MUST_CHECK ds4_status ds4_script_open(const char *path, ds4_script **out, ds4_err *err);
void                      ds4_script_free(ds4_script *s);       /* NULL is fine */

/* Append the tokens for a prompt; none when no line fits. */
DS4_MUST_CHECK ds4_status ds4_script_tokens(ds4_script *s, const ds4_vocab *v, ds4_slice prompt,
                                            ds4_tokens *out, ds4_err *err);

#endif
