/* request_members.c - see request_members.h. */
#include "app/server/request_members.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ds4_message *ds4_request_message(ds4_request *rq, ds4_role role)
{
    ds4_message *grown = ds4_arena_grow(&rq->arena, rq->messages, rq->n_messages, &rq->cap_messages,
                                        sizeof *grown);

    if (!grown) return NULL;
    rq->messages = grown;
    rq->messages[rq->n_messages].role = role;
    if (role == DS4_ROLE_TOOL || role == DS4_ROLE_ASSISTANT) rq->after_result = role == DS4_ROLE_TOOL;
    if (role != DS4_ROLE_SYSTEM && role != DS4_ROLE_DEVELOPER) rq->unread_where[0] = '\0';
    return &rq->messages[rq->n_messages++];
}

ds4_status ds4_read_elements(ds4_request *rq, ds4_slice list, const char *path, ds4_element_fn *take,
                             void *ctx, ds4_err *err)
{
    ds4_pyjson_iter it;
    ds4_slice       one;
    char            where[96];

    DS4_TRY(ds4_pyjson_open(&it, list, err));
    for (uint32_t i = 0; ds4_pyjson_next(&it, NULL, &one); i++) {
        snprintf(where, sizeof where, "%.80s[%u].", path, i);
        DS4_TRY(take(rq, one, where, ctx, err));
    }
    return DS4_OK;
}

ds4_status ds4_read_list(ds4_request *rq, const ds4_fields *f, const char *name, ds4_element_fn *take,
                         void *ctx, ds4_err *err)
{
    ds4_slice list;
    char      path[96];

    if (!ds4_fields_get(f, name, &list)) return DS4_OK;
    if (ds4_pyjson_kind(list) != DS4_JSON_ARRAY) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, f->where, name, "must be a list");
    }
    snprintf(path, sizeof path, "%.60s%s", f->where, name);
    return ds4_read_elements(rq, list, path, take, ctx, err);
}

/* Is a value neutral: the same JSON text, the same number, or both an empty list or object? */
static bool is_neutral(ds4_slice value, const char *neutral)
{
    const ds4_json_kind kind = ds4_pyjson_kind(value);
    ds4_pyjson_iter     it;
    char                text[32];

    if (ds4_slice_is(value, neutral)) return true;
    if (kind != ds4_pyjson_kind((ds4_slice){ neutral, strlen(neutral) })) return false;
    if (kind == DS4_JSON_ARRAY || kind == DS4_JSON_OBJECT) {
        return strlen(neutral) == 2 && ds4_pyjson_open(&it, value, NULL) == DS4_OK &&
               !ds4_pyjson_next(&it, NULL, &value);
    }
    if (kind != DS4_JSON_NUMBER || value.n_bytes >= sizeof text) return false;
    memcpy(text, value.data, value.n_bytes);
    text[value.n_bytes] = '\0';
    const double difference = strtod(text, NULL) - strtod(neutral, NULL);
    return difference <= 0 && difference >= 0;
}

ds4_status ds4_refuse_others(ds4_request *rq, const ds4_fields *f, const ds4_neutral *list,
                             ds4_err *err)
{
    ds4_slice value;

    for (; list->name; list++) {
        if (!ds4_fields_get(f, list->name, &value)) continue;
        if (list->value && is_neutral(value, list->value)) continue;
        return ds4_refuse(&rq->refusal, err, DS4_E_UNSUPPORTED, f->where, list->name,
                          "is not supported by this server");
    }
    return DS4_OK;
}

ds4_status ds4_read_limit(ds4_request *rq, const ds4_fields *f, const char *name, double least, uint32_t *out,
                          ds4_err *err)
{
    ds4_slice value;
    double    number = -1;

    if (!ds4_fields_get(f, name, &value)) return DS4_OK;
    if (is_neutral(value, "-1")) {
        *out = 0;
        return DS4_OK;
    }
    DS4_TRY(ds4_fields_number(f, name, least, INT32_MAX, &number, &rq->refusal, err));
    if (number != floor(number)) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, f->where, name, "must be a whole number");
    }
    *out = (uint32_t)number;
    return DS4_OK;
}
