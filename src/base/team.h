/* team.h - a team of threads that run the same function together, many times a second.
 *
 * One owner calls ds4_team_run(); it takes part. A run has as many shares as members. Each
 * does its own, and whoever is free takes those that nobody has begun: on a busy machine,
 * where a member does not get a processor, the owner does its share too instead of waiting
 * for it. Between runs the
 * members spin for a moment, then sleep, so that a token's many small regions cost about
 * a microsecond each and an idle program costs nothing. */
#ifndef DS4_BASE_TEAM_H
#define DS4_BASE_TEAM_H

#include "base/err.h"

#include <stdbool.h>

typedef struct ds4_team ds4_team;

/* Do share number `share` of n_shares. Every share is done once in a run, by one thread, so
 * it may index memory of its own. Must not call ds4_team_run(). */
typedef void ds4_team_fn(void *ctx, uint32_t share, uint32_t n_shares);

/* n_members 1..256. Returns DS4_OK; DS4_E_ARG; DS4_E_NOMEM when a thread cannot start. */
DS4_MUST_CHECK ds4_status ds4_team_create(ds4_team **out, uint32_t n_members, ds4_err *err);
void                      ds4_team_free(ds4_team *team);        /* NULL is fine */
uint32_t                  ds4_team_size(const ds4_team *team);

/* Do all shares of a run; as many as the team has members. */
void ds4_team_run(ds4_team *team, ds4_team_fn *fn, void *ctx);

/* Called again and again by a member that waits, with its number: something short that helps
 * and that nobody depends on. Returns false when there is nothing. It may run at any time,
 * beside a run and after it, until the team is freed. Set once. */
typedef bool ds4_team_idle_fn(void *ctx, uint32_t member);
void ds4_team_set_idle(ds4_team *team, ds4_team_idle_fn *fn, void *ctx);

/* The part of 0..n-1 that belongs to a share: *from .. *to-1, in steps of `grain`.
 * A fixed function of its arguments; all shares together are exactly 0..n-1.            */
void ds4_team_share(uint64_t n, uint64_t grain, uint32_t share, uint32_t n_shares,
                    uint64_t *from, uint64_t *to);

uint32_t ds4_cpu_count(void);   /* processors this process may use, at least 1 */

#endif
