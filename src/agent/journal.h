/* journal.h - a file of records that only grows: what happened in a session, written before it is acted on.
 *
 * A record is whole or it is not there: each has a checksum, and what a killed process left half written is
 * cut off when the file is opened again. One process at a time holds a journal.
 *
 *     16 bytes   "DS4 AGENT LOG 1\n"
 *     records    u32 kind, u32 n_bytes, u64 checksum of kind, n_bytes and payload, payload
 *
 * Numbers are little-endian. Belongs to one thread. */
#ifndef DS4_AGENT_JOURNAL_H
#define DS4_AGENT_JOURNAL_H

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

enum {
    DS4_JOURNAL_HEAD = 16,
    DS4_JOURNAL_RECORD_HEAD = 16,
    DS4_JOURNAL_MAX_RECORD = 64 << 20,      /* bytes of a payload */
};
#define DS4_JOURNAL_MAX_BYTES (UINT64_C(1) << 30)

typedef struct ds4_journal ds4_journal;

/* A record in memory; the payload is lent by whoever read it. */
typedef struct ds4_record {
    uint32_t  kind;
    ds4_slice payload;
    uint64_t  at, next;         /* where it and its successor begin in the file */
} ds4_record;

/* Open for writing, made if it is missing, and hold it alone.
 *
 *   content   receives the whole file up to the last whole record (appended)
 *
 * Returns DS4_OK; DS4_E_IO, also when another process holds it (the text says so); DS4_E_FORMAT for a file
 * that is no journal; DS4_E_LIMIT for one of more than DS4_JOURNAL_MAX_BYTES; DS4_E_NOMEM.   */
DS4_MUST_CHECK ds4_status ds4_journal_open(const char *path, ds4_journal **out, ds4_str *content,
                                           ds4_err *err);
void                      ds4_journal_close(ds4_journal *j);    /* NULL is fine */

/* Append a record. It survives the end of this process from now on, and that of the machine after
 * ds4_journal_sync(). After a failure the file is as before, or the journal stays failed.
 *
 * Returns DS4_OK; DS4_E_IO; DS4_E_LIMIT.                                                     */
DS4_MUST_CHECK ds4_status ds4_journal_add(ds4_journal *j, uint32_t kind, const void *payload, size_t n_bytes,
                                          ds4_err *err);

/* Take back the last record, which began at `at`. */
void                      ds4_journal_take_back(ds4_journal *j, uint64_t at);
DS4_MUST_CHECK ds4_status ds4_journal_sync(ds4_journal *j, ds4_err *err);
uint64_t                  ds4_journal_end(const ds4_journal *j);        /* where the next record begins */

/* The record at `at` of a file's content. Returns false behind the last whole one. */
bool ds4_journal_read(ds4_slice content, uint64_t at, ds4_record *out);

/* Read the first max_bytes of a journal without holding it, for a list. Returns as ds4_journal_open(). */
DS4_MUST_CHECK ds4_status ds4_journal_peek(const char *path, size_t max_bytes, ds4_str *content,
                                           ds4_err *err);

#endif
