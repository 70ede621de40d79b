/* print_config.h - ready configurations of programs that use the server. */
#ifndef DS4_APP_SERVER_PRINT_CONFIG_H
#define DS4_APP_SERVER_PRINT_CONFIG_H

#include "app/server/server.h"

/* Print the configuration of a client to standard output, with the server's address, key,
 * model name and context; to standard error where it belongs, if it cannot say so itself.
 * False for a client that is not known. */
bool ds4_print_config(const char *client, const ds4_server_options *opt);

#define DS4_PRINT_CONFIG_CLIENTS \
    "claude, codex, opencode, kilo, pi, continue, qwen, copilot or cline"

#define DS4_PRINT_CONFIG_NAMES "claude|codex|opencode|kilo|pi|continue|qwen|copilot|cline"

#endif
