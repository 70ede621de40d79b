/* kv_open.c - the folder that ds4 kv looks after. */
#include "app/cli/kv.h"

#include <unistd.h>

int ds4_kv_open(const char *dir, ds4_store **out)
{
    const ds4_store_options opt = { .dir = dir };
    ds4_err                 err = { .code = DS4_OK };

    if (!dir) {
        ds4_app_say(DS4_KV_NAME, "name the folder with --kv-disk-dir");
        return DS4_EXIT_WRONG;
    }
    /* Looking at a folder does not make it. */
    if (access(dir, F_OK) != 0) {
        ds4_app_say(DS4_KV_NAME, "%s: there is no such folder", dir);
        return DS4_EXIT_FAILURE;
    }
    if (ds4_store_open(out, &opt, &err) == DS4_OK) return DS4_EXIT_OK;
    return ds4_app_failed(DS4_KV_NAME, &err);
}
