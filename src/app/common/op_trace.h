/* op_trace.h - when each operation of a step ran, as a file for a trace viewer (--trace).
 *
 * The file has Chrome's trace-event format, the JSON array form: chrome://tracing and ui.perfetto.dev show
 * it. Operations of the engine are one line of time; what lies between them no operation took. */
#ifndef DS4_APP_COMMON_OP_TRACE_H
#define DS4_APP_COMMON_OP_TRACE_H

#include "base/err.h"

typedef struct ds4_op_trace ds4_op_trace;

#define DS4_APP_TRACE_OPTION(to) \
    DS4_OPT_TEXT(0, "trace", "FILE", (to), \
                 "write when each operation ran, for a trace viewer\n" \
                 "(chrome://tracing, ui.perfetto.dev); some 100 KB a token")

/* Open the file. Returns DS4_OK; DS4_E_IO; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_op_trace_open(ds4_op_trace **out, const char *path, ds4_err *err);

/* Add an operation that ends now. Fits ds4_engine_time(), with the trace as its context. */
void ds4_op_trace_add(void *trace, const char *name, uint64_t ns, uint64_t weight_bytes);

/* End the file; the trace is gone in any case. NULL is fine.
 * Returns DS4_OK; DS4_E_IO, also for a failure before, and then there is no file. */
DS4_MUST_CHECK ds4_status ds4_op_trace_close(ds4_op_trace *t, ds4_err *err);

#endif
