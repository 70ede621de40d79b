/* ignore_fuzz.c - any bytes as a .gitignore and names to ask of it: it ends, and answers the same twice.
 *
 * The names come first, one a line, up to an empty line; the rest is the file. */
#include "agent/ignore.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void require(bool holds)
{
    if (!holds) abort();
}

static void ask(ds4_ignore *top, ds4_ignore *nested, const char *name, const char *pattern)
{
    for (int folder = 0; folder < 2; folder++) {
        const bool is = ds4_ignore_matches(top, name, folder != 0);
        require(is == ds4_ignore_matches(top, name, folder != 0));
        /* Patterns of a folder say nothing of names outside of it. */
        if (strncmp(name, "sub/", 4) != 0) require(!ds4_ignore_matches(nested, name, folder != 0));
        else if (name[4]) require(ds4_ignore_matches(nested, name, folder != 0) ==
                                  ds4_ignore_matches(top, name + 4, folder != 0));
    }
    (void)ds4_glob_matches(pattern, name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    ds4_ignore *top = ds4_ignore_create(), *nested = ds4_ignore_create();
    char       *names = malloc(n_bytes + 1);

    if (!top || !nested || !names) abort();
    memcpy(names, data, n_bytes);
    names[n_bytes] = '\0';
    const char  *gap = strstr(names, "\n\n");
    const size_t n_names = gap ? (size_t)(gap - names) : 0, skip = gap ? n_names + 2 : 0;
    const ds4_slice text = { (const char *)data + skip, n_bytes - skip };
    require(ds4_ignore_add(top, "", text, NULL) == DS4_OK ||
            ds4_ignore_count(top) == DS4_IGNORE_MAX_PATTERNS);
    require(ds4_ignore_add(nested, "sub", text, NULL) == DS4_OK ||
            ds4_ignore_count(nested) == DS4_IGNORE_MAX_PATTERNS);
    char *pattern = strndup((const char *)text.data, text.n_bytes);
    names[n_names] = '\0';
    for (char *at = strtok(names, "\n"); at && pattern; at = strtok(NULL, "\n"))
        ask(top, nested, at, pattern);
    ds4_ignore_drop(top, ds4_ignore_count(top) / 2);
    ds4_ignore_free(top);
    ds4_ignore_free(nested);
    free(pattern);
    free(names);
    return 0;
}
