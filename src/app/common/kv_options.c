/* kv_options.c - see kv_options.h. */
#include "app/common/kv_options.h"

void ds4_app_kv_model(const ds4_app_kv *kv, ds4_app_model *want)
{
    want->kv_dir = kv->dir;
    want->kv_mem_bytes = kv->mem_bytes / 4 * 3;
}

int ds4_app_kv_open(const char *program, const ds4_app_kv *kv, ds4_engine *engine, ds4_resume **out)
{
    /* Rows of the sessions themselves take the larger part of a limit. */
    const ds4_resume_options opt = { .engine = engine, .mem_bytes = kv->mem_bytes / 4, .dir = kv->dir,
                                     .dir_bytes = (uint64_t)kv->space_mb << 20,
                                     .min_tokens = kv->min_tokens };
    ds4_err                  err = { .code = DS4_OK };

    if (ds4_resume_create(&opt, out, &err) == DS4_OK) return DS4_EXIT_OK;
    return ds4_app_failed(program, &err);
}
