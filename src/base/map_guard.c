/* map_guard.c - see map_guard.h. */
#include "base/map_guard.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

enum { MAX_RANGES = 256 };

/* `from` is written last and cleared first: a handler sees a whole entry or none. */
typedef struct range {
    atomic_bool      is_taken, is_lost;
    _Atomic uintptr_t from;             /* 0: none */
    uintptr_t        to;
} range;

static range             ranges[MAX_RANGES];
static _Atomic uintptr_t page_bytes;
static struct sigaction  earlier;       /* what SIGBUS did before */
static atomic_bool       is_installed;

int ds4_guard_add(const void *data, uint64_t n_bytes)
{
    if (n_bytes == 0) return 0;
    atomic_store(&page_bytes, (uintptr_t)sysconf(_SC_PAGESIZE));
    for (int i = 0; i < MAX_RANGES; i++) {
        range *r = &ranges[i];
        if (atomic_exchange(&r->is_taken, true)) continue;
        atomic_store(&r->is_lost, false);
        r->to = (uintptr_t)data + (uintptr_t)n_bytes;
        atomic_store(&r->from, (uintptr_t)data);
        return i + 1;
    }
    return 0;
}

void ds4_guard_remove(int place)
{
    if (place == 0) return;
    atomic_store(&ranges[place - 1].from, 0);
    atomic_store(&ranges[place - 1].is_taken, false);
}

bool ds4_guard_lost(int place)
{
    return place != 0 && atomic_load(&ranges[place - 1].is_lost);
}

/* mmap() is a bare system call wherever this runs, so it may be called from a handler. */
static bool put_empty(range *r, uintptr_t address)
{
    const uintptr_t page = address / page_bytes * page_bytes;

    return mmap((void *)page, r->to - page, PROT_READ,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

bool ds4_faults_take(const void *address)
{
    const uintptr_t at = (uintptr_t)address;
    const int       was = errno;
    bool            taken = false;

    for (int i = 0; i < MAX_RANGES && !taken; i++) {
        range          *r = &ranges[i];
        const uintptr_t from = atomic_load(&r->from);
        if (from == 0 || at < from || at >= r->to) continue;
        atomic_store(&r->is_lost, true);
        taken = put_empty(r, at);
    }
    errno = was;
    return taken;
}

/* Not ours: what would have happened without us. */
static void hand_on(int number, siginfo_t *info, void *context)
{
    struct sigaction plain;

    if (earlier.sa_flags & SA_SIGINFO) {
        earlier.sa_sigaction(number, info, context);
    } else if (earlier.sa_handler != SIG_DFL && earlier.sa_handler != SIG_IGN) {
        earlier.sa_handler(number);
    } else {
        memset(&plain, 0, sizeof plain);
        plain.sa_handler = SIG_DFL;
        sigaction(number, &plain, NULL);
        raise(number);                  /* delivered when this handler returns */
    }
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    if (!ds4_faults_take(info->si_addr)) hand_on(number, info, context);
}

ds4_status ds4_faults_catch(ds4_err *err)
{
    struct sigaction action;

    if (atomic_exchange(&is_installed, true)) return DS4_OK;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, NULL, &earlier) == 0 && sigaction(SIGBUS, &action, NULL) == 0) return DS4_OK;
    atomic_store(&is_installed, false);
    return ds4_fail(err, DS4_E_IO, "no handler for SIGBUS: %s", strerror(errno));
}
