/* stored.c - the pages of stored responses: shown, their input listed, deleted. */
#include "app/server/recall.h"
#include "app/server/server.h"
#include "service/turn_replay.h"

#include <stdio.h>
#include <string.h>

static void refuse(int status, const char *message, ds4_http_answer *a)
{
    const ds4_problem p = { .status = status, .message = message };
    ds4_refuse_with(DS4_API_RESPONSES, &p, a);
}

static void unknown(ds4_slice id, ds4_http_answer *a)
{
    char text[200];

    snprintf(text, sizeof text, "Response with id '%.*s' not found.",
             (int)(id.n_bytes < 64 ? id.n_bytes : 64), id.data);
    refuse(404, text, a);
}

static void show(const ds4_recall *r, const ds4_http_request *rq, ds4_slice id, ds4_http_answer *a)
{
    const char *stream = ds4_http_query(rq, "stream");

    if (stream && strcmp(stream, "false") != 0) {
        refuse(400, "a stored response cannot be streamed again: leave out 'stream'", a);
    } else if (!ds4_recall_show(r, id, &a->body)) {
        unknown(id, a);
    }
}

static void list(const ds4_recall *r, const ds4_http_request *rq, ds4_slice id, ds4_http_answer *a)
{
    ds4_err          err = { .code = DS4_OK };
    const ds4_status st = ds4_recall_list(r, id, ds4_http_query(rq, "limit"), ds4_http_query(rq, "order"),
                                          ds4_http_query(rq, "after"), &a->body, &err);

    if (st == DS4_E_IO) unknown(id, a);
    else if (st != DS4_OK) refuse(st == DS4_E_ARG ? 400 : 500, err.text, a);
}

static void delete(const ds4_recall *r, ds4_slice id, ds4_http_answer *a)
{
    const ds4_kv_key turn = ds4_replay_of_response(&r->owner, id);
    ds4_err          err = { .code = DS4_OK };
    bool             was_there = false;
    const ds4_status st = ds4_texts_drop_response(r->texts, &r->owner, id, &turn, &was_there, &err);

    if (st != DS4_OK) {
        ds4_http_add_header(a, "Retry-After", "10");
        refuse(503, err.text, a);
    } else if (!was_there) {
        unknown(id, a);
    } else {
        ds4_str_addf(&a->body, "{\"id\":\"%.*s\",\"object\":\"response\",\"deleted\":true}",
                     (int)id.n_bytes, id.data);
    }
}

/* An id as this server gives them: nothing that would have to be escaped. */
static bool is_id(ds4_slice id)
{
    return id.n_bytes > 0 && id.n_bytes < 64
        && strspn(id.data, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") >= id.n_bytes;
}

void ds4_page_stored(ds4_server *s, const ds4_http_request *rq, const char *path, ds4_http_answer *a)
{
    const ds4_recall r = { s->texts, ds4_owner_of(s, rq) };
    const char      *id = path + strlen("/responses/"), *what = strchr(id, '/');
    const ds4_slice  name = { id, what ? (size_t)(what - id) : strlen(id) };
    const bool       deletes = strcmp(rq->method, "DELETE") == 0;

    if (!is_id(name)) unknown(name, a);
    else if (what && (deletes || strcmp(what, "/input_items") != 0)) refuse(404, "unknown endpoint", a);
    else if (what) list(&r, rq, name, a);
    else if (deletes) delete(&r, name, a);
    else show(&r, rq, name, a);
}
