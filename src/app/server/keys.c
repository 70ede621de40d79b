/* keys.c - see keys.h. */
#include "app/server/keys.h"

#include "base/file.h"
#include "base/knob.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_FILE_BYTES = 64 << 10 };

bool ds4_key_is_plain(const char *key)
{
    return *key && key[strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                   "0123456789._~+/=:-")] == '\0';
}

ds4_status ds4_keys_add(ds4_keys *keys, const char *key, ds4_err *err)
{
    if (!ds4_key_is_plain(key)) {
        return ds4_fail(err, DS4_E_ARG, "a key is made of letters, digits and ._~+/=:-");
    }
    if (keys->n == DS4_MAX_KEYS)
        return ds4_fail(err, DS4_E_LIMIT, "more than %d keys", DS4_MAX_KEYS);
    keys->item[keys->n++] = key;
    return DS4_OK;
}

/* ---- a file ----------------------------------------------------------------------------------- */

/* Below the folder that systemd hands over, access lists say who may read, and modes do not. */
static bool is_credential(const char *path)
{
    const char  *dir = ds4_knob_text(DS4_KNOB_CREDENTIALS);
    const size_t n = dir ? strlen(dir) : 0;

    return n > 0 && !strncmp(path, dir, n) && path[n] == '/';
}

static ds4_status check_file(const char *path, ds4_err *err)
{
    struct stat st;

    if (stat(path, &st) != 0) return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
    if (S_ISFIFO(st.st_mode)) return DS4_OK;
    if (!S_ISREG(st.st_mode))
        return ds4_fail(err, DS4_E_ARG, "%s is neither a file nor a pipe", path);
    if (st.st_mode & 022) {
        return ds4_fail(err, DS4_E_ARG, "%s may be written by others (mode %03o): chmod 600 it",
                        path, (unsigned)st.st_mode & 0777);
    }
    if ((st.st_mode & 044) && !is_credential(path)) {
        ds4_log(DS4_LOG_WARN, "keys",
                "%s may be read by others (mode %03o): chmod 600 it, unless they are trusted", path,
                (unsigned)st.st_mode & 0777);
    }
    return DS4_OK;
}

static void blank_comments(char *text)
{
    for (char *at = text; (at = strchr(at, '#'));) {
        while (*at && *at != '\n') *at++ = ' ';
    }
}

ds4_status ds4_keys_read(ds4_keys *keys, const char *path, ds4_err *err)
{
    static const char blanks[] = " \t\r\n";
    const uint32_t    before = keys->n;
    ds4_err           why = { .code = DS4_OK };
    char             *save = NULL;

    DS4_TRY(check_file(path, err));
    if (keys->text.n_bytes) return ds4_fail(err, DS4_E_ARG, "a file of keys was read already");
    DS4_TRY(ds4_file_read(path, MAX_FILE_BYTES, &keys->text, err));
    if (keys->text.n_bytes == 0) return ds4_fail(err, DS4_E_ARG, "%s has no keys", path);
    if (memchr(keys->text.data, 0, keys->text.n_bytes)) {
        return ds4_fail(err, DS4_E_ARG, "%s is not text", path);
    }
    blank_comments(keys->text.data);
    for (char *key = strtok_r(keys->text.data, blanks, &save); key;
         key = strtok_r(NULL, blanks, &save)) {
        if (ds4_keys_add(keys, key, &why) != DS4_OK) {
            return ds4_fail(err, why.code, "%s: %s", path, why.text);
        }
    }
    return keys->n > before ? DS4_OK : ds4_fail(err, DS4_E_ARG, "%s has no keys", path);
}

/* ---- asking ------------------------------------------------------------------------------------- */

static bool same_key(const char *given, size_t n_given, const char *key)
{
    const size_t  n_key = strlen(key);
    unsigned char different = n_given != n_key;

    for (size_t i = 0; i < n_given; i++)
        different |= (unsigned char)given[i] ^ (unsigned char)key[i % n_key];
    return !different;
}

bool ds4_keys_have(const ds4_keys *keys, const char *given)
{
    const size_t n_given = strlen(given);
    bool         found = false;

    for (uint32_t i = 0; i < keys->n; i++) found |= same_key(given, n_given, keys->item[i]);
    return found;
}

void ds4_keys_clear(ds4_keys *keys)
{
    ds4_str_clear(&keys->text);
    *keys = (ds4_keys){ 0 };
}
