/* fields.h - the members of a JSON object, read once and then asked for by name.
 *
 * null counts as absent everywhere. A refusal names the member. */
#ifndef DS4_APP_SERVER_FIELDS_H
#define DS4_APP_SERVER_FIELDS_H

#include "app/server/arena.h"
#include "text/pyjson.h"

typedef struct ds4_fields {
    ds4_arena *arena;
    ds4_slice *name, *value;    /* [n] names decoded, values as in the source */
    uint32_t   n;
    char       where[64];       /* what refusals put before a name, e.g. "messages[2]." */
} ds4_fields;

/* The member that a request was refused for. Zeroed: none. */
typedef struct ds4_refusal {
    char param[96];
} ds4_refusal;

/* Returns DS4_OK; as ds4_pyjson_open(); DS4_E_FORMAT when it is no object. */
DS4_MUST_CHECK ds4_status ds4_fields_open(ds4_fields *f, ds4_arena *arena, ds4_slice object,
                                          const char *where, ds4_err *err);

bool ds4_fields_get(const ds4_fields *f, const char *name, ds4_slice *value);

/* Each leaves its output alone when the member is absent. Returns DS4_OK; DS4_E_FORMAT for
 * another type or a value out of range, with the name in *why; DS4_E_NOMEM.             */
DS4_MUST_CHECK ds4_status ds4_fields_text(const ds4_fields *f, const char *name, ds4_slice *out,
                                          ds4_refusal *why, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_fields_bool(const ds4_fields *f, const char *name, bool *out,
                                          ds4_refusal *why, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_fields_number(const ds4_fields *f, const char *name, double least,
                                            double most, double *out, ds4_refusal *why,
                                            ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_fields_u32(const ds4_fields *f, const char *name, uint32_t least,
                                         uint32_t most, uint32_t *out, ds4_refusal *why,
                                         ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_fields_object(const ds4_fields *f, const char *name, ds4_fields *out,
                                            bool *given, ds4_refusal *why, ds4_err *err);

/* Refuse a member: `what` completes a sentence that begins with its quoted name. */
ds4_status ds4_refuse(ds4_refusal *why, ds4_err *err, ds4_status code, const char *where,
                      const char *name, const char *what);

bool ds4_slice_is(ds4_slice s, const char *text);
bool ds4_json_text_is(ds4_slice json, const char *text);        /* a string with this content */

#endif
