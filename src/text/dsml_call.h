/* dsml_call.h - one call that is being read: its parameters become the text of a JSON object. */
#ifndef DS4_TEXT_DSML_CALL_H
#define DS4_TEXT_DSML_CALL_H

#include "text/dsml_scan.h"
#include "text/utf8.h"

/* The value of the open parameter becomes JSON in one of these ways. */
typedef enum ds4_value_kind {
    DS4_VALUE_STRING,           /* escaped while it arrives */
    DS4_VALUE_JSON,             /* checked at its end; a string if it is no JSON */
    DS4_VALUE_WRAPPED,          /* may hold all arguments: kept until the next tag tells */
} ds4_value_kind;

typedef struct ds4_dsml_build {
    ds4_str         name;       /* valid UTF-8 */
    ds4_str         stream;     /* see ds4_dsml_call */
    ds4_str         arguments;
    ds4_str         wrapped;    /* an object that may be all arguments; empty: none */
    ds4_str         plain;      /* the same as the value of an ordinary parameter */
    ds4_str         key;        /* of the open parameter, as JSON */
    ds4_slice       properties; /* JSON text of the tool's parameters; empty when not known */
    ds4_value_kind  kind;       /* of the open parameter, as the next */
    ds4_string_attr said;
    ds4_utf8_stream utf8;
    uint32_t        n_parameters, n_values;     /* opened, and of these ended */
    bool            known;      /* one of the tools, or there are none to compare with */
    bool            complete;
    unsigned        oddities;
} ds4_dsml_build;

/* tools: [n_tools] JSON text of bare function objects. */
void ds4_dsml_build_open(ds4_dsml_build *b, ds4_slice name, const ds4_slice *tools,
                         uint32_t n_tools);
void ds4_dsml_build_parameter(ds4_dsml_build *b, const ds4_dsml_tag *tag);
/* As the value arrives, and then all of it at its end. */
void ds4_dsml_build_value(ds4_dsml_build *b, const char *data, size_t n_bytes);
void ds4_dsml_build_value_end(ds4_dsml_build *b, ds4_slice whole);
void ds4_dsml_build_close(ds4_dsml_build *b);
bool ds4_dsml_build_failed(const ds4_dsml_build *b);            /* memory was short */
void ds4_dsml_build_clear(ds4_dsml_build *b);

#endif
