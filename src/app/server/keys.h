/* keys.h - the keys that clients may show: from the command line and from a file. */
#ifndef DS4_APP_SERVER_KEYS_H
#define DS4_APP_SERVER_KEYS_H

#include "base/err.h"
#include "base/str.h"

enum { DS4_MAX_KEYS = 256 };

/* Zeroed: none, so nobody is asked for one. */
typedef struct ds4_keys {
    const char *item[DS4_MAX_KEYS];     /* [n] */
    uint32_t    n;
    ds4_str     text;                   /* of the file; the keys point into it */
} ds4_keys;

/* A key of letters, digits and ._~+/=:- stands in a header, a shell command, JSON and YAML as
 * it is. */
bool ds4_key_is_plain(const char *key);

/* Add a key that outlives *keys. Returns DS4_OK; DS4_E_ARG saying what a key may be. */
DS4_MUST_CHECK ds4_status ds4_keys_add(ds4_keys *keys, const char *key, ds4_err *err);

/* Add the keys of a file: words, with comments from # to the end of the line. Nobody but its owner
 * may be able to write it. One that others may read gives a warning: a secret of a container or
 * of a service manager looks like that and is the program's own. A pipe is fine.
 *
 * Returns DS4_OK; DS4_E_ARG for such a file, for one without keys and for what is no key;
 * DS4_E_IO; DS4_E_LIMIT; DS4_E_NOMEM.                                                  */
DS4_MUST_CHECK ds4_status ds4_keys_read(ds4_keys *keys, const char *path, ds4_err *err);

/* Is it one of the keys? Takes the same time wherever it differs. */
bool ds4_keys_have(const ds4_keys *keys, const char *given);

void ds4_keys_clear(ds4_keys *keys);

#endif
