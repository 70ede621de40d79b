/* recipe_find.h - recipes as files: the user's own, and those that come with the program. */
#ifndef DS4_APP_RECIPE_FIND_H
#define DS4_APP_RECIPE_FIND_H

#include "format/recipe.h"

/* Read a file, or a recipe that comes with the program: NAME without "/" and ".txt" is looked for
 * in the folder of recipes.
 *
 *   argv0   of the program
 *
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT.                                              */
DS4_MUST_CHECK ds4_status recipe_find(ds4_recipe *out, const char *name, const char *argv0, ds4_err *err);

#endif
