/* checkpoint.c - see checkpoint.h. */
#include "format/checkpoint.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { MAX_INDEX_BYTES = 100000000, MAX_SHARDS = 4096 };

typedef struct shard {
    char            *name;
    ds4_safetensors *file;
} shard;

struct ds4_checkpoint {
    char                 *dir;
    uint32_t              n_shards, n_tensors;
    shard                *shards;       /* [MAX_SHARDS] */
    const ds4_st_tensor **tensors;      /* [n_tensors] sorted by name, lent by the shards */
};

static char *join(const char *dir, const char *name)
{
    ds4_str s = { 0 };

    ds4_str_addf(&s, "%s/%s", dir, name);
    char *path = ds4_str_take(&s);
    ds4_str_clear(&s);
    return path;
}

static ds4_status no_memory(const ds4_checkpoint *c, ds4_err *err)
{
    return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for the checkpoint", c->dir);
}

static int compare_tensors(const void *a, const void *b)
{
    return strcmp((*(const ds4_st_tensor *const *)a)->name, (*(const ds4_st_tensor *const *)b)->name);
}

static ds4_status open_shard(ds4_checkpoint *c, const char *name, ds4_safetensors **out, ds4_err *err)
{
    for (uint32_t i = 0; i < c->n_shards; i++) {
        if (strcmp(c->shards[i].name, name) == 0) {
            *out = c->shards[i].file;
            return DS4_OK;
        }
    }
    if (c->n_shards == MAX_SHARDS) {
        return ds4_fail(err, DS4_E_LIMIT, "%s: more than %d shards", c->dir, MAX_SHARDS);
    }
    shard *s = &c->shards[c->n_shards];
    s->name = strdup(name);
    char *path = join(c->dir, name);
    ds4_status st = s->name && path ? ds4_safetensors_open(path, &s->file, err) : no_memory(c, err);
    free(path);
    if (st != DS4_OK) {
        free(s->name);
        return st;
    }
    c->n_shards++;
    *out = s->file;
    return DS4_OK;
}

/* A shard must lie in the folder itself. */
static bool is_plain_name(const char *name)
{
    return name[0] != 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strpbrk(name, "/\\");
}

static ds4_status add_listed(ds4_checkpoint *c, const char *name, const json_t *where, ds4_err *err)
{
    ds4_safetensors *file = NULL;
    const char      *shard_name = json_string_value(where);

    if (!shard_name || !is_plain_name(shard_name)) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s/model.safetensors.index.json: tensor \"%.100s\": shard \"%.100s\", "
                        "expected the name of a file beside the index",
                        c->dir, name, shard_name ? shard_name : "");
    }
    DS4_TRY(open_shard(c, shard_name, &file, err));
    c->tensors[c->n_tensors] = ds4_safetensors_find(file, name);
    if (!c->tensors[c->n_tensors]) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s/%s: tensor \"%.100s\", which the index expects here, is missing", c->dir,
                        shard_name, name);
    }
    c->n_tensors++;
    return DS4_OK;
}

static ds4_status read_index(ds4_checkpoint *c, const char *path, const char *text, size_t n_bytes,
                             ds4_err *err)
{
    json_error_t why;
    json_t      *root = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES, &why), *map, *where;
    const char  *name;
    ds4_status   st = DS4_OK;

    if (!root) return ds4_fail(err, DS4_E_FORMAT, "%s: line %d: %s", path, why.line, why.text);
    map = json_object_get(root, "weight_map");
    if (!json_is_object(map)) {
        st = ds4_fail(err, DS4_E_FORMAT, "%s: \"weight_map\" is missing or no object", path);
        goto done;
    }
    c->tensors = calloc(json_object_size(map) + 1, sizeof *c->tensors);
    if (!c->tensors) {
        st = no_memory(c, err);
        goto done;
    }
    json_object_foreach(map, name, where) {
        st = add_listed(c, name, where, err);
        if (st != DS4_OK) goto done;
    }
    qsort(c->tensors, c->n_tensors, sizeof *c->tensors, compare_tensors);
done:
    json_decref(root);
    return st;
}

static ds4_status take_single(ds4_checkpoint *c, ds4_err *err)
{
    ds4_safetensors *file = NULL;

    DS4_TRY(open_shard(c, "model.safetensors", &file, err));
    const uint32_t n = ds4_safetensors_count(file);
    c->tensors = calloc((size_t)n + 1, sizeof *c->tensors);
    if (!c->tensors) return no_memory(c, err);
    for (uint32_t i = 0; i < n; i++) c->tensors[i] = ds4_safetensors_at(file, i);
    c->n_tensors = n;
    return DS4_OK;
}

static ds4_status open_files(ds4_checkpoint *c, ds4_err *err)
{
    ds4_str    text = { 0 };
    char      *path = join(c->dir, "model.safetensors.index.json");
    ds4_status st = DS4_OK;

    if (!path) return no_memory(c, err);
    if (ds4_file_exists(path)) {
        st = ds4_file_read(path, MAX_INDEX_BYTES, &text, err);
        if (st == DS4_OK) st = read_index(c, path, ds4_str_text(&text), text.n_bytes, err);
    } else {
        st = take_single(c, err);
    }
    ds4_str_clear(&text);
    free(path);
    return st;
}

ds4_status ds4_checkpoint_open(const char *dir, ds4_checkpoint **out, ds4_err *err)
{
    ds4_status      st = DS4_OK;
    ds4_checkpoint *c = calloc(1, sizeof *c);

    if (!c) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for the checkpoint", dir);
    c->dir = strdup(dir);
    c->shards = calloc(MAX_SHARDS, sizeof *c->shards);
    if (!c->dir || !c->shards) {
        st = ds4_fail(err, DS4_E_NOMEM, "%s: no memory for the checkpoint", dir);
    } else {
        st = open_files(c, err);
    }
    if (st == DS4_OK) {
        *out = c;
    } else {
        ds4_checkpoint_close(c);
    }
    return st;
}

void ds4_checkpoint_close(ds4_checkpoint *c)
{
    if (!c) return;
    for (uint32_t i = 0; i < c->n_shards; i++) {
        ds4_safetensors_close(c->shards[i].file);
        free(c->shards[i].name);
    }
    free(c->shards);
    free((void *)c->tensors);
    free(c->dir);
    free(c);
}

ds4_status ds4_checkpoint_check(const ds4_checkpoint *c, ds4_err *err)
{
    for (uint32_t i = 0; i < c->n_shards; i++) DS4_TRY(ds4_safetensors_check(c->shards[i].file, err));
    return DS4_OK;
}

uint32_t ds4_checkpoint_count(const ds4_checkpoint *c)
{
    return c->n_tensors;
}

const ds4_st_tensor *ds4_checkpoint_at(const ds4_checkpoint *c, uint32_t i)
{
    return i < c->n_tensors ? c->tensors[i] : NULL;
}

const ds4_st_tensor *ds4_checkpoint_find(const ds4_checkpoint *c, const char *name)
{
    const ds4_st_tensor  wanted = { .name = name };
    const ds4_st_tensor *key = &wanted;

    if (c->n_tensors == 0) return NULL;
    const ds4_st_tensor **found =
        bsearch(&key, c->tensors, c->n_tensors, sizeof *c->tensors, compare_tensors);
    return found ? *found : NULL;
}

const char *ds4_checkpoint_dir(const ds4_checkpoint *c)
{
    return c->dir;
}

void ds4_checkpoint_describe(const ds4_checkpoint *c, ds4_str *out)
{
    for (uint32_t i = 0; i < c->n_shards; i++) {
        const ds4_file_facts *f = ds4_safetensors_facts(c->shards[i].file);
        ds4_str_addf(out, "%s %llu %lld\n", c->shards[i].name, (unsigned long long)f->n_bytes,
                     (long long)f->mtime_ns);
    }
}
