/* store_writer.h - positions are stored by a thread of their own, so that the one that
 * computes does not wait for the disk.
 *
 * The thread has a ds4_store of its own on the same folder; the two meet as two processes
 * would. Positions are stored in the order they come in. Few may wait: where the disk cannot
 * follow, or cannot be written for a while, places on a long way are given up first. Everything but
 * the writing happens on the thread that owns the engine, which calls all of these functions
 * unless they say otherwise. */
#ifndef DS4_SERVICE_STORE_WRITER_H
#define DS4_SERVICE_STORE_WRITER_H

#include "service/store/store.h"

typedef struct ds4_store_writer ds4_store_writer;

enum { DS4_WRITER_JOBS = 16 };                          /* that wait, at most */
#define DS4_WRITER_BYTES (UINT64_C(64) << 20)           /* of their tails, but one always fits */

/* opt must name an engine. Returns as ds4_store_open(); DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_store_writer_start(const ds4_store_options *opt, ds4_store_writer **out,
                                                 ds4_err *err);

/* Store what waits, and end. NULL is fine. */
void ds4_store_writer_stop(ds4_store_writer *w);

/* False from a failure, which was logged, until writing works again; what waits meanwhile is kept.
 * And how often that happened. Any thread. */
bool     ds4_store_writer_works(const ds4_store_writer *w);
uint64_t ds4_store_writer_failures(const ds4_store_writer *w);

/* Try at once to store what waits, also after a failure: for SIGHUP. Does not wait. Any thread. */
void ds4_store_writer_flush(ds4_store_writer *w);

/* As ds4_store_save(); p is shared and after copied. */
void ds4_store_writer_save(ds4_store_writer *w, const ds4_snapshot *p, ds4_tail_kind kind,
                           const int32_t *after, uint32_t n_after);

/* As ds4_store_set_reader(), for what is saved from now on. */
void ds4_store_writer_set_reader(ds4_store_writer *w, const ds4_kv_key *reader);

/* As ds4_store_count_hit(). */
void ds4_store_writer_hit(ds4_store_writer *w, int64_t tail);

/* Give back what stored positions held; cheap where there is nothing. */
void ds4_store_writer_tidy(ds4_store_writer *w);

/* Wait until nothing waits or writing has failed, and tidy. */
void ds4_store_writer_settle(ds4_store_writer *w);

#endif
