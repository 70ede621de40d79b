/* kv_options.h - the options of every program about keeping conversations. */
#ifndef DS4_APP_KV_OPTIONS_H
#define DS4_APP_KV_OPTIONS_H

#include "app/common/app.h"
#include "app/common/options.h"
#include "service/resume.h"

typedef struct ds4_app_kv {
    const char *dir;                /* NULL: nothing is kept on disk */
    uint32_t    space_mb;           /* MiB; 0: the store's own default */
    uint32_t    min_tokens;         /* the same */
    uint64_t    mem_bytes;          /* 0: no limit for sessions, the default for kept positions */
} ds4_app_kv;

/* Entries of an option table; kv is a ds4_app_kv *. */
#define DS4_APP_KV_OPTIONS(kv)                                                                 \
    DS4_OPT_TEXT(0, "kv-disk-dir", "DIR", &(kv)->dir,                                          \
                 "keep conversations in this folder, so that a prompt\n"                       \
                 "that begins like an earlier one is not read again\n[none]"),                 \
    DS4_OPT_U32(0, "kv-disk-space-mb", "N", &(kv)->space_mb, 1, 1 << 30,                       \
                "MiB that the folder may take [8192]"),                                        \
    DS4_OPT_U32(0, "kv-cache-min-tokens", "N", &(kv)->min_tokens, 1, 1048576,                  \
                "shorter conversations are not kept on disk [512]"),                           \
    DS4_OPT_SIZE(0, "kv-mem", "SIZE", &(kv)->mem_bytes,                                        \
                 "memory for conversations, as 4G or 500M: what is\n"                          \
                 "beyond it goes to disk or is computed again\n[as much as they need]")

/* Tell the engine's options about it, before the engine is opened. */
void ds4_app_kv_model(const ds4_app_kv *kv, ds4_app_model *want);

/* Open what keeps conversations. Returns DS4_EXIT_OK, or the exit code after saying what is
 * wrong. */
int ds4_app_kv_open(const char *program, const ds4_app_kv *kv, ds4_engine *engine, ds4_resume **out);

#endif
