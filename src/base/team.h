/* team.h - a team of threads that run the same function together, many times a second.
 *
 * One owner calls ds4_team_run(); it takes part as member 0. Between runs the other
 * members spin for a moment, then sleep, so that a token's many small regions cost
 * about a microsecond each and an idle program costs nothing. */
#ifndef DS4_BASE_TEAM_H
#define DS4_BASE_TEAM_H

#include "base/err.h"

typedef struct ds4_team ds4_team;

/* member: 0 .. n_members-1. Members must not call ds4_team_run(). */
typedef void ds4_team_fn(void *ctx, uint32_t member, uint32_t n_members);

/* n_members 1..256. Returns DS4_OK; DS4_E_ARG; DS4_E_NOMEM when a thread cannot start. */
DS4_MUST_CHECK ds4_status ds4_team_create(ds4_team **out, uint32_t n_members, ds4_err *err);
void                      ds4_team_free(ds4_team *team);        /* NULL is fine */
uint32_t                  ds4_team_size(const ds4_team *team);

/* Run fn on every member; returns when all have finished. */
void ds4_team_run(ds4_team *team, ds4_team_fn *fn, void *ctx);

/* The share of 0..n-1 that belongs to member: *from .. *to-1, in steps of `grain`.
 * A fixed function of its arguments; all shares together are exactly 0..n-1.            */
void ds4_team_share(uint64_t n, uint64_t grain, uint32_t member, uint32_t n_members,
                    uint64_t *from, uint64_t *to);

uint32_t ds4_cpu_count(void);   /* processors this process may use, at least 1 */

#endif
