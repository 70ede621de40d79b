/* kv.h - the commands of ds4 kv and what they share. */
#ifndef DS4_APP_CLI_KV_H
#define DS4_APP_CLI_KV_H

#include "app/cli/cli.h"

#define DS4_KV_NAME "ds4 kv"

#define DS4_KV_DIR_OPTION(to) DS4_OPT_TEXT(0, "kv-disk-dir", "DIR", (to), "the folder; required")

/* Each returns an exit code after saying what went wrong. */
int ds4_kv_ls(int argc, char **argv);
int ds4_kv_show(int argc, char **argv);
int ds4_kv_verify(int argc, char **argv);
int ds4_kv_prune(int argc, char **argv);

/* Open a folder without a model. Returns an exit code. */
int ds4_kv_open(const char *dir, ds4_store **out);

#endif
