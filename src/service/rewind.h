/* rewind.h - the places of a conversation that it may have to go back to.
 *
 * Zeroed is empty. Only the newest few are kept: a conversation goes back by a turn when
 * the next prompt shows that turn in another way, and hardly ever further. */
#ifndef DS4_SERVICE_REWIND_H
#define DS4_SERVICE_REWIND_H

#include "text/segments.h"

enum { DS4_REWIND_PLACES = 4 };

typedef struct ds4_rewind {
    ds4_snapshot *place[DS4_REWIND_PLACES];     /* [n] oldest first */
    uint32_t      n;
} ds4_rewind;

/* Keep where the session is now; the oldest place is given up for it. An empty session has
 * no place. When memory is short, nothing is kept. */
void ds4_rewind_keep(ds4_rewind *r, ds4_session *s);

/* The longest place that is a beginning of the text and shorter than max_tokens.
 *
 *   n_bytes   receives the bytes of the text that it covers
 *
 * Returns NULL when there is none.                                                   */
const ds4_snapshot *ds4_rewind_find(const ds4_rewind *r, const ds4_vocab *v,
                                    const ds4_segments *text, uint32_t max_tokens, size_t *n_bytes);

void ds4_rewind_clear(ds4_rewind *r);

#endif
