/* model_edit.c - see model_edit.h. */
#include "support/model_edit.h"

#include "testing.h"

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

static edit_tensor *add(model_edit *m, const char *name)
{
    assert_true(m->n_tensors < EDIT_TENSORS);
    edit_tensor *t = &m->tensor[m->n_tensors++];
    *t = (edit_tensor){ .dtype = DS4_F32 };
    snprintf(t->name, sizeof t->name, "%s", name);
    return t;
}

void edit_open(model_edit *m, const char *path)
{
    ds4_err err = { 0 };

    *m = (model_edit){ 0 };
    check(ds4_gguf_open(path, &m->g, &err), &err);
    check(ds4_gguf_writer_create(&m->w, 0, &err), &err);
    for (uint32_t i = 0; i < ds4_gguf_n_tensors(m->g); i++) {
        const ds4_gguf_tensor *from = ds4_gguf_tensor_at(m->g, i);
        char                   name[96];
        snprintf(name, sizeof name, "%.*s", (int)from->name.n_bytes, from->name.data);
        edit_tensor *t = add(m, name);
        t->dtype = from->dtype;
        t->n_dims = from->n_dims;
        memcpy(t->dim, from->dim, sizeof t->dim);
        t->n_bytes = from->n_bytes;
        t->data = malloc(t->n_bytes);
        memcpy(t->data, from->data, t->n_bytes);
    }
}

void edit_drop(model_edit *m, const char *key)
{
    assert_true(m->n_dropped < EDIT_KEYS);
    m->dropped[m->n_dropped++] = key;
}

void edit_u32(model_edit *m, const char *key, uint32_t value)
{
    edit_drop(m, key);
    ds4_gguf_put_u32(m->w, key, value);
}

void edit_f32(model_edit *m, const char *key, float value)
{
    edit_drop(m, key);
    ds4_gguf_put_f32(m->w, key, value);
}

edit_tensor *edit_find(model_edit *m, const char *fmt, ...)
{
    char    name[96];
    va_list args;

    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        if (strcmp(m->tensor[i].name, name) == 0) return &m->tensor[i];
    }
    fail_msg("there is no tensor %s", name);
    return NULL;
}

edit_tensor *edit_add(model_edit *m, uint64_t n_in, uint64_t n_out, const char *fmt, ...)
{
    char    name[96];
    va_list args;

    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    edit_tensor *t = add(m, name);
    t->n_dims = n_out > 1 ? 2 : 1;
    t->dim[0] = n_in;
    t->dim[1] = n_out;
    t->dim[2] = t->dim[3] = 1;
    t->n_bytes = n_in * n_out * sizeof(float);
    t->data = calloc(1, t->n_bytes);
    return t;
}

void edit_keep(edit_tensor *t, const uint32_t *slice, uint32_t n)
{
    const uint64_t one = t->n_bytes / t->dim[t->n_dims - 1];

    for (uint32_t i = 0; i < n; i++) memmove(t->data + i * one, t->data + slice[i] * one, one);
    t->dim[t->n_dims - 1] = n;
    t->n_bytes = n * one;
}

static bool is_dropped(const model_edit *m, ds4_slice key)
{
    for (uint32_t i = 0; i < m->n_dropped; i++) {
        if (ds4_slice_eq(key, (ds4_slice){ m->dropped[i], strlen(m->dropped[i]) })) return true;
    }
    return false;
}

void edit_write(model_edit *m, const char *path)
{
    ds4_err err = { 0 };

    for (uint32_t i = 0; i < ds4_gguf_n_keys(m->g); i++) {
        const ds4_gguf_key *key = ds4_gguf_key_at(m->g, i);
        if (!is_dropped(m, key->key)) ds4_gguf_put_key(m->w, key);
    }
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        const edit_tensor *t = &m->tensor[i];
        if (*t->name) ds4_gguf_declare(m->w, t->name, t->dtype, t->n_dims, t->dim);
    }
    check(ds4_gguf_writer_begin(m->w, path, &err), &err);
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        edit_tensor *t = &m->tensor[i];
        if (*t->name) check(ds4_gguf_writer_append(m->w, t->data, t->n_bytes, &err), &err);
        free(t->data);
    }
    check(ds4_gguf_writer_finish(m->w, &err), &err);
    ds4_gguf_writer_free(m->w);
    ds4_gguf_close(m->g);
}
