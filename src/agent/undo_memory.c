/* undo_memory.c - the changes and marks of undo in memory, and the newest change of each name.
 *
 * The newest change of a name is found through an open hash table: a command that changes a file of a large
 * tree asks for each of its names, and a session may have a hundred thousand changes behind it. */
#include "agent/undo_local.h"

#include <stdlib.h>
#include <string.h>

/* The slot of a name: that of its newest record, or the free one where it belongs. */
static size_t *slot_of(const ds4_undo *u, const char *name)
{
    /* FNV-1a; the tree limits how many names there are, so equal hashes on purpose gain little. */
    uint64_t hash = 14695981039346656037u;

    for (const char *c = name; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    for (;; hash++) {
        size_t *slot = &u->newest[hash & (u->n_newest - 1)];
        if (*slot == 0 || strcmp(u->record[*slot - 1].name, name) == 0) return slot;
    }
}

/* Index the records anew, with room for twice as many as there are. */
static bool index_records(ds4_undo *u)
{
    size_t n = 128;

    while (n < 4 * (u->n_records + 1)) n *= 2;
    size_t *newest = calloc(n, sizeof *newest);
    if (!newest) return false;
    free(u->newest);
    u->newest = newest;
    u->n_newest = n;
    for (size_t i = 0; i < u->n_records; i++) *slot_of(u, u->record[i].name) = i + 1;
    return true;
}

bool undo_remember(ds4_undo *u, const char *name, const undo_state *was, const undo_state *now)
{
    if (u->n_records == u->records_capacity) {
        const size_t n = u->records_capacity ? 2 * u->records_capacity : 64;
        undo_record *more = realloc(u->record, n * sizeof *more);
        if (!more) return false;
        u->record = more;
        u->records_capacity = n;
    }
    /* Each record takes at most one slot, so half of them stay free. */
    if (2 * (u->n_records + 1) > u->n_newest && !index_records(u)) return false;
    char *copy = strdup(name);
    if (!copy) return false;
    u->record[u->n_records++] = (undo_record){ copy, *was, *now };
    *slot_of(u, copy) = u->n_records;
    return true;
}

void undo_forget_records(ds4_undo *u, size_t n_kept)
{
    if (u->n_records == n_kept) return;
    memset(u->newest, 0, u->n_newest * sizeof *u->newest);
    while (u->n_records > n_kept) free(u->record[--u->n_records].name);
    for (size_t i = 0; i < u->n_records; i++) *slot_of(u, u->record[i].name) = i + 1;
}

const undo_record *undo_newest(const ds4_undo *u, const char *name)
{
    const size_t at = u->n_newest ? *slot_of(u, name) : 0;
    return at ? &u->record[at - 1] : NULL;
}

bool undo_remember_mark(ds4_undo *u, uint64_t mark)
{
    if (u->n_marks == u->marks_capacity) {
        const size_t n = u->marks_capacity ? 2 * u->marks_capacity : 64;
        uint64_t    *marks = realloc(u->mark, n * sizeof *marks);
        if (!marks) return false;
        u->mark = marks;
        size_t *at = realloc(u->mark_at, n * sizeof *at);
        if (!at) return false;
        u->mark_at = at;
        u->marks_capacity = n;
    }
    u->mark[u->n_marks] = mark;
    u->mark_at[u->n_marks++] = u->n_records;
    if (mark >= u->next_mark) u->next_mark = mark + 1;
    return true;
}

void undo_forget_marks(ds4_undo *u, uint64_t after)
{
    while (u->n_marks > 0 && u->mark[u->n_marks - 1] > after) u->n_marks--;
}

void undo_memory_clear(ds4_undo *u)
{
    for (size_t i = 0; i < u->n_records; i++) free(u->record[i].name);
    free(u->record);
    free(u->newest);
    free(u->mark);
    free(u->mark_at);
}
