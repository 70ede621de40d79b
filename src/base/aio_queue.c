/* aio_queue.c - the queue of reads: their pieces, their order, and pieces that come back short. */
#include "base/aio_local.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>

/* ---- lists ----------------------------------------------------------------------------------- */

void aio_list_add(aio_list *l, ds4_aio_read *r)
{
    r->prev = l->last;
    r->next = NULL;
    if (l->last) l->last->next = r;
    else l->first = r;
    l->last = r;
    r->is_linked = true;
}

void aio_list_remove(aio_list *l, ds4_aio_read *r)
{
    if (!r->is_linked) return;
    if (r->prev) r->prev->next = r->next;
    else l->first = r->next;
    if (r->next) r->next->prev = r->prev;
    else l->last = r->prev;
    r->next = r->prev = NULL;
    r->is_linked = false;
}

aio_list *aio_list_of(ds4_aio *aio, const ds4_aio_read *r)
{
    return r->urgent ? &aio->urgent : &aio->calm;
}

void aio_end_if_over(ds4_aio *aio, ds4_aio_read *r)
{
    if (r->is_linked || r->n_under_way > 0) return;
    r->state = r->failed ? DS4_AIO_FAILED : r->gave_up ? DS4_AIO_CANCELLED : DS4_AIO_DONE;
    aio->n_ended++;
    pthread_cond_signal(&aio->ended);
}

/* ---- the carrier's side ---------------------------------------------------------------------- */

/* The lock is held. Urgent reads first; the others only while few pieces are under way,
 * so that an urgent one never waits for a full queue. */
static bool cut_piece(ds4_aio *aio, aio_piece *out)
{
    const bool    is_urgent = aio->urgent.first != NULL;
    ds4_aio_read *r = is_urgent ? aio->urgent.first : aio->calm.first;

    if (!r || aio->n_under_way >= (is_urgent ? aio->opt.depth : aio->opt.calm_depth)) return false;
    const uint64_t left = ds4_aio_room(r->offset, r->n_bytes) - r->issued;
    *out = (aio_piece){
        .read = r, .offset = aio_align_down(r->offset) + r->issued, .to = r->buffer + r->issued,
        .n_bytes = left < r->piece_bytes ? (uint32_t)left : r->piece_bytes,
    };
    r->issued += out->n_bytes;
    r->n_under_way++;
    if (out->n_bytes == left) aio_list_remove(aio_list_of(aio, r), r);
    if (aio->n_under_way++ == 0) aio->busy_since = ds4_now_ns();
    return true;
}

static bool wait_for_piece(ds4_aio *aio, aio_piece *out, bool block)
{
    pthread_mutex_lock(&aio->lock);
    bool got = cut_piece(aio, out);
    while (!got && block && !aio->is_closing) {
        pthread_cond_wait(&aio->work, &aio->lock);
        got = cut_piece(aio, out);
    }
    pthread_mutex_unlock(&aio->lock);
    return got;
}

bool aio_take(ds4_aio *aio, aio_piece *out, bool block)
{
    while (wait_for_piece(aio, out, block)) {
        ds4_aio_fault_fn *fault = aio->opt.fault;
        const int reason = fault ? fault(aio->opt.fault_ctx, out->offset, out->n_bytes) : 0;
        if (reason == 0 || aio_give(aio, out, -reason)) return true;
    }
    return false;
}

/* Count the bytes of a piece that must arrive: at the end of the file the widened part may be missing. */
static uint64_t needed(const aio_piece *p)
{
    const uint64_t end = p->read->offset + p->read->n_bytes, from = p->offset;
    return end - from < p->n_bytes ? end - from : p->n_bytes;
}

bool aio_give(ds4_aio *aio, aio_piece *p, int64_t result)
{
    ds4_aio_read   *r = p->read;
    const aio_file *file = aio_file_of(aio, r);

    if (result == -EINTR || result == -EAGAIN) return true;
    if (result > 0 && (uint64_t)result < needed(p)) {
        /* A direct read goes on at a multiple of the alignment; what arrived beyond it is
         * read twice. Less than that is the file's end. */
        const uint64_t whole = file->is_direct ? aio_align_down((uint64_t)result) : (uint64_t)result;
        if (whole > 0) {
            p->offset += whole;
            p->to += whole;
            p->n_bytes -= (uint32_t)whole;
            return true;
        }
        result = 0;
    }
#if defined(POSIX_FADV_DONTNEED)
    if (!file->is_direct && result > 0) {
        posix_fadvise(file->fd, (off_t)p->offset, result, POSIX_FADV_DONTNEED);
    }
#endif
    pthread_mutex_lock(&aio->lock);
    if (result > 0) aio->n_bytes += (uint64_t)result;
    if (result <= 0 && !r->failed) {
        r->failed = true;
        r->reason = (int)-result;
        aio_list_remove(aio_list_of(aio, r), r);
    }
    if (--aio->n_under_way == 0) aio->busy_ns += ds4_now_ns() - aio->busy_since;
    r->n_under_way--;
    aio_end_if_over(aio, r);
    pthread_mutex_unlock(&aio->lock);
    return false;
}
