/* rewind.c - see rewind.h. */
#include "service/rewind.h"

#include <string.h>

static void drop(ds4_rewind *r, uint32_t i)
{
    ds4_snapshot_free(r->place[i]);
    memmove(&r->place[i], &r->place[i + 1], (r->n - i - 1) * sizeof *r->place);
    r->n--;
}

void ds4_rewind_keep(ds4_rewind *r, ds4_session *s)
{
    ds4_snapshot  *place = NULL;
    const uint32_t pos = ds4_session_pos(s);

    if (pos == 0) return;
    if (r->n > 0 && ds4_snapshot_pos(r->place[r->n - 1]) == pos) drop(r, r->n - 1);
    if (ds4_session_snapshot(s, &place, NULL) != DS4_OK) return;
    if (r->n == DS4_REWIND_PLACES) drop(r, 0);
    r->place[r->n++] = place;
}

const ds4_snapshot *ds4_rewind_find(const ds4_rewind *r, const ds4_vocab *v,
                                    const ds4_segments *text, uint32_t max_tokens, size_t *n_bytes)
{
    const ds4_snapshot *best = NULL;

    for (uint32_t i = 0; i < r->n; i++) {
        const ds4_snapshot *p = r->place[i];
        const uint32_t      pos = ds4_snapshot_pos(p);
        size_t              covered = 0;
        if (pos >= max_tokens || (best && pos <= ds4_snapshot_pos(best))) continue;
        if (ds4_segments_match(v, text, ds4_snapshot_tokens(p), pos, &covered) != pos) continue;
        if (covered >= ds4_segments_text(text).n_bytes) continue; /* nothing left to evaluate */
        best = p;
        *n_bytes = covered;
    }
    return best;
}

void ds4_rewind_clear(ds4_rewind *r)
{
    while (r->n > 0) drop(r, r->n - 1);
}
