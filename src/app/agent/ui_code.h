/* ui_code.h - colours for a line of source text, without knowing the language well. */
#ifndef DS4_AGENT_UI_CODE_H
#define DS4_AGENT_UI_CODE_H

#include "app/agent/ui_style.h"

typedef enum ui_code_family {
    UI_CODE_NONE,               /* no colours: not known what it is */
    UI_CODE_C,                  /* comments of two slashes: C, Java, JavaScript, Go, Rust, Swift, ... */
    UI_CODE_HASH,               /* comments of a hash: Python, shells, Ruby, YAML, TOML, Make */
    UI_CODE_DASH,               /* comments of two dashes: SQL, Lua, Haskell */
    UI_CODE_DIFF,
} ui_code_family;

ui_code_family ui_code_of(ds4_slice name);      /* "python", "py", "c++", "diff"; a file's ending */

/* Append a line with its colours.
 *
 *   inside   what the line begins in, 0 at the first: a block comment or a long string; receives what the
 *            next line begins in                                                             */
void ui_code_line(const ui_look *look, ui_code_family family, ds4_slice line, int *inside, ds4_str *out);

#endif
