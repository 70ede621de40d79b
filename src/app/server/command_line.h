/* command_line.h - the options of ds4-server. */
#ifndef DS4_APP_SERVER_COMMAND_LINE_H
#define DS4_APP_SERVER_COMMAND_LINE_H

#include "app/common/app.h"
#include "app/common/kv_options.h"
#include "app/common/options.h"
#include "app/server/server.h"

typedef struct ds4_command_line {
    ds4_app_model      model;
    ds4_server_options server;
    ds4_option_texts   origins, hosts;
    ds4_app_kv         kv;
    ds4_keys           keys;
    const char        *api_key, *api_key_file, *dir;
    int                log_format, log_level;       /* a ds4_say_format, a ds4_log_level */
    const char        *print_config;    /* NULL: serve */
    bool               warm;            /* read the model once before serving */
} ds4_command_line;

/* Read and check it; *c stays where it is, and its keys are to be cleared. Returns false, with
 * the exit code, when there is nothing more to do: wrong, or help was asked for. */
bool ds4_command_line_read(ds4_command_line *c, int argc, char **argv, int *code);

#endif
