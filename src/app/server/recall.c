/* recall.c - see recall.h. */
#include "app/server/recall.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BEFORE = 10000, MOST_LISTED = 100, LISTED = 20 };
#define MOST_BYTES (UINT64_C(64) << 20)         /* of the items of a conversation */

/* ---- all items of a conversation -------------------------------------------------------------- */

/* A response on the way to the first. */
typedef struct link {
    struct link *later;
    ds4_slice    before, input, output;
} link;

typedef struct copying {
    ds4_arena *arena;
    link      *made;
} copying;

static void copy_items(void *ctx, const ds4_text_response *r)
{
    copying *c = ctx;

    c->made = ds4_arena_alloc(c->arena, 1, sizeof *c->made);
    if (!c->made) return;
    c->made->before = ds4_arena_copy(c->arena, r->before);
    c->made->input = ds4_arena_copy(c->arena, r->input);
    c->made->output = ds4_arena_copy(c->arena, r->output);
}

/* The first response, each leading to the later one; NULL when one is not known. */
static link *walk_back(const ds4_recall *r, ds4_slice id, ds4_arena *arena)
{
    link    *later = NULL;
    uint64_t n_bytes = 0;

    for (uint32_t i = 0; i < MAX_BEFORE; i++) {
        copying c = { .arena = arena };
        if (!ds4_texts_get_response(r->texts, &r->owner, id, false, copy_items, &c) || !c.made) return NULL;
        c.made->later = later;
        n_bytes += c.made->input.n_bytes + c.made->output.n_bytes;
        if (arena->failed || n_bytes > MOST_BYTES) return NULL;
        if (c.made->before.n_bytes == 0) return c.made;
        later = c.made;
        id = c.made->before;
    }
    return NULL;                        /* a circle, or as good as one */
}

static void add_items(ds4_str *out, ds4_slice items)
{
    if (items.n_bytes == 0) return;
    if (out->n_bytes) ds4_str_add_char(out, ',');
    ds4_str_add(out, items.data, items.n_bytes);
}

bool ds4_recall_find(void *recall, ds4_slice id, ds4_arena *arena, ds4_slice *items)
{
    ds4_str all = { 0 };

    if (id.n_bytes == 0) return false;
    const link *first = walk_back(recall, id, arena);
    for (const link *l = first; l; l = l->later) {
        add_items(&all, l->input);
        add_items(&all, l->output);
    }
    const bool ok = first && !all.failed;
    if (ok) *items = ds4_arena_take(arena, &all);
    ds4_str_clear(&all);
    return ok;
}

/* ---- one response ----------------------------------------------------------------------------- */

static void put_together(void *ctx, const ds4_text_response *r)
{
    ds4_str *out = ctx;

    ds4_str_add(out, r->head.data, r->head.n_bytes);
    ds4_str_add(out, r->output.data, r->output.n_bytes);
    ds4_str_add(out, r->rest.data, r->rest.n_bytes);
}

bool ds4_recall_show(const ds4_recall *r, ds4_slice id, ds4_str *out)
{
    return id.n_bytes > 0 && ds4_texts_get_response(r->texts, &r->owner, id, true, put_together, out);
}

/* ---- its input items -------------------------------------------------------------------------- */

static void take_input(void *ctx, const ds4_text_response *r)
{
    ds4_str *out = ctx;

    ds4_str_add_char(out, '[');
    ds4_str_add(out, r->input.data, r->input.n_bytes);
    ds4_str_add_char(out, ']');
}

/* Clients may leave out what the API always shows: a type, parts, a status, an id. */
static void complete(json_t *item, ds4_slice id, size_t i)
{
    const char *type = json_string_value(json_object_get(item, "type"));
    const char *role = json_string_value(json_object_get(item, "role"));
    json_t     *content = json_object_get(item, "content");
    char        made[96];

    if (!type) json_object_set_new(item, "type", json_string(type = "message"));
    if (strcmp(type, "message") == 0 && json_is_string(content)) {
        const bool own = role && strcmp(role, "assistant") == 0;
        json_object_set_new(
            item, "content",
            json_pack("[{s:s,s:O}]", "type", own ? "output_text" : "input_text", "text", content));
    }
    if (!json_object_get(item, "status")) json_object_set_new(item, "status", json_string("completed"));
    if (json_object_get(item, "id")) return;
    const size_t n = id.n_bytes > 5 ? id.n_bytes - 5 : 0;       /* behind "resp_" */
    snprintf(made, sizeof made, "%s_%.*s_%zu", strcmp(type, "message") == 0 ? "msg" : "item",
             (int)(n < 48 ? n : 48), n ? id.data + 5 : "", i);
    json_object_set_new(item, "id", json_string(made));
}

static const char *id_of(const json_t *item)
{
    const char *id = json_string_value(json_object_get(item, "id"));
    return id ? id : "";
}

typedef struct page {
    size_t limit;
    bool   ascending;
} page;

static ds4_status read_page(const char *limit, const char *order, page *out, ds4_err *err)
{
    char      *end = NULL;
    const long n = limit ? strtol(limit, &end, 10) : LISTED;

    if (limit && (end == limit || *end || n < 1 || n > MOST_LISTED)) {
        return ds4_fail(err, DS4_E_ARG, "'limit' must be a number from 1 to %d", MOST_LISTED);
    }
    if (order && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0) {
        return ds4_fail(err, DS4_E_ARG, "'order' must be asc or desc");
    }
    *out = (page){ (size_t)n, order && strcmp(order, "asc") == 0 };
    return DS4_OK;
}

/* The items of the page, behind `after`. */
static void list(const json_t *all, const page *p, const char *after, ds4_str *out)
{
    const size_t n = json_array_size(all);
    const char  *first = NULL, *last = NULL;
    size_t       n_listed = 0, i = 0;

    while (after && i < n &&
           strcmp(id_of(json_array_get(all, p->ascending ? i : n - 1 - i)), after) != 0)
        i++;
    if (after) i++;
    ds4_str_add_text(out, "{\"object\":\"list\",\"data\":[");
    for (; i < n && n_listed < p->limit; i++, n_listed++) {
        const json_t *item = json_array_get(all, p->ascending ? i : n - 1 - i);
        char         *text = json_dumps(item, JSON_COMPACT | JSON_ENCODE_ANY);
        if (n_listed) ds4_str_add_char(out, ',');
        ds4_str_add_text(out, text ? text : "null");
        free(text);
        last = id_of(item);
        if (!first) first = last;
    }
    json_t *ids = json_pack("{s:s?,s:s?,s:b}", "first_id", first, "last_id", last, "has_more", i < n);
    char   *text = ids ? json_dumps(ids, JSON_COMPACT) : NULL;
    ds4_str_addf(out, "],%s", text ? text + 1 : "}");
    free(text);
    json_decref(ids);
}

ds4_status ds4_recall_list(const ds4_recall *r, ds4_slice id, const char *limit, const char *order,
                           const char *after, ds4_str *out, ds4_err *err)
{
    ds4_str    input = { 0 };
    page       p = { 0 };
    ds4_status st = DS4_OK;

    DS4_TRY(read_page(limit, order, &p, err));
    if (id.n_bytes == 0 || !ds4_texts_get_response(r->texts, &r->owner, id, false, take_input, &input)) {
        ds4_str_clear(&input);
        return ds4_fail(err, DS4_E_IO, "this response is not known here");
    }
    json_t *all = input.failed ? NULL : json_loadb(input.data, input.n_bytes, JSON_ALLOW_NUL, NULL);
    if (!all) st = ds4_fail(err, DS4_E_NOMEM, "no memory for the items of a response");
    for (size_t i = 0; i < json_array_size(all); i++) complete(json_array_get(all, i), id, i);
    if (st == DS4_OK) list(all, &p, after, out);
    json_decref(all);
    ds4_str_clear(&input);
    return st;
}
