/* store_identity.h - which model computes: all bytes of its files, hashed once.
 *
 * Rows of one model are nonsense to another, so their names begin with the model's identity. It is the
 * XXH3-128 of every byte. A small file is hashed when it is opened; a large one by a thread that has
 * patience, and the hash is remembered in the index by device, inode, size, mtime and ctime. Until it
 * is known rows go by these facts: they are kept apart from all others, and join them when the hash
 * is there.
 *
 * A file that is changed while it is used makes rows that belong to no model: from then on nothing is
 * stored and nothing found. Facts are looked at whenever somebody asks.
 *
 * Rows of a steered model (docs/STEERING.md) are rows of another one. A change of steering mixes both in one
 * session: from then on nothing is stored and nothing found either.
 *
 * Any thread may call everything here. */
#ifndef DS4_SERVICE_STORE_IDENTITY_H
#define DS4_SERVICE_STORE_IDENTITY_H

#include "engine/snapshot.h"
#include "service/store/store_index.h"

typedef struct ds4_identity ds4_identity;

typedef struct ds4_identity_options {
    const ds4_engine *engine;           /* lent until the identity is closed */
    uint64_t          at_once_bytes;    /* files of so many bytes in all are hashed at once; 0: 64 MiB */
    uint32_t          wait_ms;          /* before the thread begins; 0: 10 s, when models have been read */
} ds4_identity_options;

typedef struct ds4_identity_names {
    ds4_kv_key by_facts, by_content;    /* the second only if is_known */
    bool       is_known;
    bool       is_changed;              /* none of both may be used */
} ds4_identity_names;

/* Returns DS4_OK, also for files that cannot be read any more: they count as changed; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_identity_open(ds4_identity **out, const ds4_identity_options *opt,
                                            ds4_err *err);
void ds4_identity_close(ds4_identity *id); /* NULL is fine; the thread ends soon */

/* The names of what the engine computes now. */
ds4_identity_names ds4_identity_get(ds4_identity *id);

/* Hash in the background what the index did not know. Once is enough; failing leaves it unknown. */
void ds4_identity_start(ds4_identity *id);

/* Take hashes from an index; and, inside a transaction, write those that it lacks. */
DS4_MUST_CHECK ds4_status ds4_identity_read(ds4_identity *id, ds4_index *ix, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_identity_write(ds4_identity *id, ds4_index *ix, ds4_err *err);

/* Wait until it is known or changed: for tests. */
void ds4_identity_settle(ds4_identity *id);

#endif
