/* store_names.c - under which names the rows of a model are kept and found.
 *
 * Kept under one: by the content of the model's files when that is known, else by the facts about them.
 * Found under all that were seen to be this model's, so that nothing is lost while it was hashed. Where
 * the keys of a server are kept apart, each has names of its own. */
#include "service/store/store_local.h"

#include <string.h>

static ds4_kv_key for_reader(const ds4_store *s, const ds4_kv_key *identity)
{
    static const ds4_kv_key all;
    return ds4_kv_key_eq(&s->reader, &all)
               ? *identity
               : ds4_kv_hash_on(identity, s->reader.b, sizeof s->reader.b);
}

static store_view view_of(const ds4_store *s, const ds4_kv_key *identity)
{
    store_view v = { .owner = { .identity = *identity, .form = s->form } };

    v.root = ds4_kv_root(&v.owner);
    return v;
}

static bool add_other(void *ctx, const ds4_index_model *m)
{
    ds4_store       *s = ctx;
    const store_view v = view_of(s, &m->identity);

    /* A row that lies about its root leads nowhere. */
    if (m->id == s->view[0].model || !ds4_kv_key_eq(&v.root, &m->root)) return true;
    s->view[s->n_views] = v;
    s->view[s->n_views++].model = m->id;
    return s->n_views < STORE_VIEWS;
}

ds4_status store_learn_names(ds4_store *s, bool *usable, ds4_err *err)
{
    const ds4_identity_names names = ds4_identity_get(s->identity);
    const ds4_kv_key         identity = for_reader(s, names.is_known ? &names.by_content : &names.by_facts);

    *usable = !names.is_changed;
    s->view[0] = view_of(s, &identity);
    s->n_views = 1;
    s->by_facts = for_reader(s, &names.by_facts);
    s->is_known = names.is_known;
    DS4_TRY(ds4_index_find_model(s->index, &s->view[0].root, &s->view[0].model, err));
    if (s->view[0].model == 0) s->view[0].model = -1;           /* of no rows */
    return s->is_known ? ds4_index_models_of(s->index, &identity, add_other, s, err) : DS4_OK;
}

ds4_status store_enter_names(ds4_store *s, ds4_err *err)
{
    const ds4_model_info *info = ds4_engine_info(s->engine);
    store_view           *v = &s->view[0];

    DS4_TRY(ds4_index_model_id(s->index, &v->root, &v->owner.identity, info->name, info->path,
                               &v->model, err));
    if (!s->is_known) return DS4_OK;
    const store_view facts = view_of(s, &s->by_facts);
    DS4_TRY(ds4_index_set_content(s->index, &facts.root, &v->owner.identity, err));
    return ds4_identity_write(s->identity, s->index, err);
}

const store_view *store_view_of(const ds4_store *s, const ds4_kv_key *identity)
{
    for (uint32_t i = 0; i < s->n_views; i++) {
        if (ds4_kv_key_eq(&s->view[i].owner.identity, identity)) return &s->view[i];
    }
    return NULL;
}

void ds4_store_set_reader(ds4_store *s, const ds4_kv_key *reader)
{
    s->reader = *reader;
}
