/* json_tree.c - see json_tree.h. The text is checked first, so that reading it needs no checks. */
#include "text/json_tree.h"

#include <stdlib.h>
#include <string.h>

typedef struct reader {
    ds4_slice      json;
    size_t         pos;
    uint32_t       most;
    ds4_json_tree *t;
    ds4_err       *err;
} reader;

void ds4_json_tree_clear(ds4_json_tree *t)
{
    free(t->node);
    ds4_str_clear(&t->decoded);
    *t = (ds4_json_tree){ 0 };
}

static char peek(const reader *r)
{
    return r->json.data[r->pos];
}

static void skip_space(reader *r)
{
    while (r->pos < r->json.n_bytes && strchr(" \t\r\n", peek(r))) r->pos++;
}

/* A string is decoded in place, unless it has escapes: then it goes into a store that has room
 * for the whole text and never moves. */
static ds4_status read_string(reader *r, ds4_slice *decoded)
{
    const size_t begin = r->pos++;
    bool         escapes = false;

    for (; peek(r) != '"'; r->pos++) {
        if (peek(r) != '\\') continue;
        escapes = true;
        r->pos++;
    }
    r->pos++;
    *decoded = (ds4_slice){ r->json.data + begin + 1, r->pos - begin - 2 };
    if (!escapes) return DS4_OK;
    ds4_str *all = &r->t->decoded;
    if (!all->data) {
        all->data = malloc(r->json.n_bytes + 1);
        if (!all->data) return ds4_fail(r->err, DS4_E_NOMEM, "no memory for a schema");
        all->capacity = r->json.n_bytes + 1;
    }
    const size_t at = all->n_bytes;
    DS4_TRY(
        ds4_pyjson_decode_string((ds4_slice){ r->json.data + begin, r->pos - begin }, all, r->err));
    *decoded = (ds4_slice){ all->data + at, all->n_bytes - at };
    return DS4_OK;
}

static ds4_status new_node(reader *r, uint32_t *out)
{
    ds4_json_tree *t = r->t;

    if (t->n > r->most) {
        return ds4_fail(r->err, DS4_E_LIMIT,
                        "the schema has more than %u values, which is the bound", r->most);
    }
    if (t->n == t->capacity) {
        const uint32_t more = t->capacity ? 2 * t->capacity : 64;
        void          *node = realloc(t->node, more * sizeof *t->node);
        if (!node) return ds4_fail(r->err, DS4_E_NOMEM, "no memory for a schema");
        t->node = node;
        t->capacity = more;
    }
    t->node[t->n] = (ds4_json_node){ 0 };
    *out = t->n++;
    return DS4_OK;
}

static ds4_status read_value(reader *r, uint32_t *out);

static ds4_status read_children(reader *r, uint32_t parent, char close)
{
    uint32_t  child, last = 0;
    ds4_slice name = { 0 };

    r->pos++;
    for (skip_space(r); peek(r) != close; skip_space(r)) {
        if (peek(r) == ',') r->pos++;
        skip_space(r);
        if (close == '}') {
            DS4_TRY(read_string(r, &name));
            skip_space(r);
            r->pos++; /* the colon */
        }
        DS4_TRY(read_value(r, &child));
        ds4_json_node *node = r->t->node;
        node[child].name = name;
        if (last)
            node[last].next = child;
        else
            node[parent].first = child;
        node[parent].n++;
        last = child;
    }
    r->pos++;
    return DS4_OK;
}

static ds4_status read_value(reader *r, uint32_t *out)
{
    ds4_slice string = { 0 };

    DS4_TRY(new_node(r, out));
    skip_space(r);
    const size_t        begin = r->pos;
    const ds4_json_kind kind = ds4_pyjson_kind((ds4_slice){ r->json.data + begin, 1 });
    if (kind == DS4_JSON_OBJECT) {
        DS4_TRY(read_children(r, *out, '}'));
    } else if (kind == DS4_JSON_ARRAY) {
        DS4_TRY(read_children(r, *out, ']'));
    } else if (kind == DS4_JSON_STRING) {
        DS4_TRY(read_string(r, &string));
    } else {
        while (r->pos < r->json.n_bytes && !strchr(" \t\r\n,]}", peek(r))) r->pos++;
    }
    ds4_json_node *node = &r->t->node[*out];
    node->kind = kind;
    node->string = string;
    node->text = (ds4_slice){ r->json.data + begin, r->pos - begin };
    return DS4_OK;
}

ds4_status ds4_json_tree_read(ds4_slice json, uint32_t most, ds4_json_tree *out, ds4_err *err)
{
    reader   r = { .json = json, .most = most, .t = out, .err = err };
    uint32_t none, whole;

    *out = (ds4_json_tree){ 0 };
    DS4_TRY(ds4_pyjson_check(json, err));
    DS4_TRY(new_node(&r, &none));
    return read_value(&r, &whole);
}

uint32_t ds4_json_tree_member(const ds4_json_tree *t, uint32_t object, ds4_slice name)
{
    uint32_t found = 0;

    if (t->node[object].kind != DS4_JSON_OBJECT) return 0;
    for (uint32_t i = t->node[object].first; i; i = t->node[i].next) {
        if (ds4_slice_eq(t->node[i].name, name)) found = i;
    }
    return found;
}
