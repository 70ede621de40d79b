/* recipe_find.c - see recipe_find.h. */
#include "app/quantize/recipe_find.h"
#include "app/quantize/file_commands.h"

#include <string.h>

#include "app/common/program_dir.h"
#include "base/file.h"

const char *const quantize_encoder_names[] = { "standard", "best", NULL };

enum { MAX_TEXT = 64 << 10 };

/* Recipes lie beside a program here: in the tree, and where make install puts them. */
static bool find_among(const char *name, const char *argv0, ds4_str *path)
{
    static const char *const places[] = { "recipes", "../recipes", "../../recipes", "../share/ds4/recipes" };
    ds4_str                  dir = { 0 };
    bool                     found = false;

    ds4_program_dir(argv0, &dir);
    for (size_t i = 0; i < sizeof places / sizeof places[0] && dir.n_bytes > 0 && !found; i++) {
        ds4_str_truncate(path, 0);
        ds4_str_addf(path, "%s/%s/%s.txt", ds4_str_text(&dir), places[i], name);
        found = ds4_file_exists(ds4_str_text(path));
    }
    ds4_str_clear(&dir);
    return found;
}

ds4_status recipe_find(ds4_recipe *out, const char *name, const char *argv0, ds4_err *err)
{
    ds4_str    path = { 0 }, text = { 0 };
    ds4_status st = DS4_OK;

    if (strchr(name, '/') || (strlen(name) > 4 && strcmp(name + strlen(name) - 4, ".txt") == 0)) {
        ds4_str_addf(&path, "%s", name);
    } else if (!find_among(name, argv0, &path)) {
        st = ds4_fail(err, DS4_E_ARG, "no recipe \"%.40s\"; expected one of recipes/, or a file NAME.txt",
                      name);
    }
    if (st == DS4_OK) st = ds4_file_read(ds4_str_text(&path), MAX_TEXT, &text, err);
    if (st == DS4_OK) st = ds4_recipe_parse(out, name, (ds4_slice){ text.data, text.n_bytes }, err);
    ds4_str_clear(&path);
    ds4_str_clear(&text);
    return st;
}
