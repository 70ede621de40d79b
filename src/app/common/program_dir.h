/* program_dir.h - the folder that the running program lies in. */
#ifndef DS4_APP_PROGRAM_DIR_H
#define DS4_APP_PROGRAM_DIR_H

#include "base/str.h"

/* Append the folder, with links resolved; nothing when it cannot be found out. */
void ds4_program_dir(const char *argv0, ds4_str *dir);

#endif
