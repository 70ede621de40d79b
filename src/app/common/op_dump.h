/* op_dump.h - what one operation computes, for whoever looks for a fault (--dump-op). */
#ifndef DS4_APP_COMMON_OP_DUMP_H
#define DS4_APP_COMMON_OP_DUMP_H

#include "ds4.h"

typedef struct ds4_op_dump ds4_op_dump;

#define DS4_APP_DUMP_OP_OPTION(to) \
    DS4_OPT_TEXT(0, "dump-op", "NAME[:LAYER][=FILE]", (to), \
                 "diagnostic: print what this operation computes, a line\n" \
                 "for each token; FILE receives the values as float32.\n" \
                 "\"list\" names the operations. Steps are slower then")

/* Watch an engine's operation from now on.
 *
 *   what   "NAME", "NAME:LAYER", either with "=FILE" behind it, or "list"; read during the call
 *
 * Returns DS4_OK; DS4_E_ARG for a layer that is no number or is not there; DS4_E_IO; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_op_dump_open(ds4_op_dump **out, const char *what, ds4_engine *engine,
                                           ds4_err *err);

/* Stop watching, and say the names there are when they were asked for. The dump is gone in any case;
 * NULL is fine.
 * Returns DS4_OK; DS4_E_ARG when steps ran and no operation had the name, with those there are; DS4_E_IO. */
DS4_MUST_CHECK ds4_status ds4_op_dump_close(ds4_op_dump *d, ds4_err *err);

#endif
