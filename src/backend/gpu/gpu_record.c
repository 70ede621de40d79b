/* gpu_record.c - see gpu_record.h. */
#include "backend/gpu/gpu_record.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_RECORDS = 32,
    MOST_TOKENS = 64, /* a step of more spends its time in kernels, not between them */
};

typedef struct entry {
    gpu_record_key key;
    gpu_recording *made; /* NULL: seen once */
    uint64_t       used; /* when it was last */
} entry;

struct gpu_records {
    entry    entry[MAX_RECORDS];
    uint32_t n;
    uint64_t now;
};

gpu_records *gpu_records_create(void)
{
    return calloc(1, sizeof(gpu_records));
}

void gpu_records_free(ds4_dev *dev, gpu_records *r)
{
    if (!r) return;
    for (uint32_t i = 0; i < r->n; i++) {
        if (r->entry[i].made) dev->api->forget(dev->gpu, r->entry[i].made);
    }
    free(r);
}

static gpu_record_key key_of(const ds4_dev *dev)
{
    const gpu_step *st = &dev->step;
    gpu_record_key  k;

    memset(&k, 0, sizeof k); /* compared as bytes */
    k.n_tokens = st->n_tokens;
    k.n_spans = st->n_spans;
    k.n_rows = st->n_rows;
    k.max_span = st->max_span;
    k.max_rows = st->max_rows;
    k.step = st->at;
    k.scratch = dev->scratch.at;
    return k;
}

/* The entry of a key; a new one takes the place of the one that was not used for longest. */
static entry *find(ds4_dev *dev, gpu_records *r, const gpu_record_key *key, bool *is_new)
{
    entry *oldest = &r->entry[0];

    *is_new = false;
    for (uint32_t i = 0; i < r->n; i++) {
        if (memcmp(&r->entry[i].key, key, sizeof *key) == 0) return &r->entry[i];
        if (r->entry[i].used < oldest->used) oldest = &r->entry[i];
    }
    if (r->n < MAX_RECORDS) oldest = &r->entry[r->n++];
    if (oldest->made) dev->api->forget(dev->gpu, oldest->made);
    *oldest = (entry){ .key = *key };
    *is_new = true;
    return oldest;
}

static ds4_status make(ds4_dev *dev, entry *e, gpu_launches_fn *fn, const void *program, ds4_err *err)
{
    ds4_err ignored;

    DS4_TRY(dev->api->record(dev->gpu, err));
    const ds4_status st = fn(dev, program, err);
    const ds4_status ended = dev->api->recorded(dev->gpu, &e->made, st == DS4_OK ? err : &ignored);
    return st != DS4_OK ? st : ended;
}

ds4_status gpu_records_run(ds4_dev *dev, gpu_records *r, gpu_launches_fn *fn, const void *program,
                           ds4_err *err)
{
    const gpu_record_key key = key_of(dev);
    bool                 is_new;

    /* Steps that only decode: other mixes seldom come again. */
    if (!dev->api->record || key.n_tokens > MOST_TOKENS || key.n_tokens != key.n_spans)
        return fn(dev, program, err);
    entry *e = find(dev, r, &key, &is_new);
    e->used = ++r->now;
    if (is_new) return fn(dev, program, err);
    if (!e->made) DS4_TRY(make(dev, e, fn, program, err));
    return dev->api->replay(dev->gpu, e->made, err);
}
