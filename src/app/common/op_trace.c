/* op_trace.c - see op_trace.h. */
#include "app/common/op_trace.h"

#include "base/clock.h"
#include "base/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_BYTES = 1 << 16, EVENT_BYTES = 256 };

struct ds4_op_trace {
    ds4_output *file;
    uint64_t    start_ns, end_ns;       /* of the trace; of the last operation */
    ds4_status  failed;                 /* the first failure, told at the end */
    ds4_err     err;
    size_t      n_bytes;
    char        buffer[BUFFER_BYTES];
};

static const char begin[] =
    "[\n{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": 1, \"args\": {\"name\": \"ds4\"}},\n"
    "{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": 1, \"tid\": 1, "
    "\"args\": {\"name\": \"operations\"}}";

static void flush(ds4_op_trace *t)
{
    if (t->failed == DS4_OK) t->failed = ds4_output_write(t->file, t->buffer, t->n_bytes, &t->err);
    t->n_bytes = 0;
}

static void put(ds4_op_trace *t, const char *text)
{
    const size_t n = strlen(text);

    if (t->n_bytes + n > BUFFER_BYTES) flush(t);
    memcpy(t->buffer + t->n_bytes, text, n);
    t->n_bytes += n;
}

ds4_status ds4_op_trace_open(ds4_op_trace **out, const char *path, ds4_err *err)
{
    ds4_op_trace *t = calloc(1, sizeof *t);

    if (!t) return ds4_fail(err, DS4_E_NOMEM, "no memory for a trace");
    const ds4_status st = ds4_output_open(&t->file, path, err);
    if (st != DS4_OK) {
        free(t);
        return st;
    }
    t->start_ns = t->end_ns = ds4_now_ns();
    put(t, begin);
    *out = t;
    return DS4_OK;
}

/* Times are microseconds; names are the engine's own and need no escapes. A device may tell of operations
 * after they ended: they are placed one behind the other then. */
void ds4_op_trace_add(void *trace, const char *name, uint64_t ns, uint64_t weight_bytes)
{
    ds4_op_trace *t = trace;
    char          event[EVENT_BYTES];
    uint64_t      from = ds4_now_ns() - ns;

    if (from < t->end_ns) from = t->end_ns;
    t->end_ns = from + ns;
    snprintf(event, sizeof event,
             ",\n{\"name\": \"%.80s\", \"ph\": \"X\", \"pid\": 1, \"tid\": 1, \"ts\": %.3f, \"dur\": %.3f, "
             "\"args\": {\"weight_bytes\": %" PRIu64 "}}",
             name, (double)(from - t->start_ns) * 1e-3, (double)ns * 1e-3, weight_bytes);
    put(t, event);
}

ds4_status ds4_op_trace_close(ds4_op_trace *t, ds4_err *err)
{
    if (!t) return DS4_OK;
    put(t, "\n]\n");
    flush(t);
    ds4_status st = t->failed;
    if (st == DS4_OK) {
        st = ds4_output_commit(t->file, err);
    } else {
        if (err) *err = t->err;
        ds4_output_drop(t->file);
    }
    free(t);
    return st;
}
