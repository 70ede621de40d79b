/* mem_pages.c - see mem_pages.h. */
#include "base/mem_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

uint64_t ds4_page_bytes(void)
{
    const long n = sysconf(_SC_PAGESIZE);
    return n > 0 ? (uint64_t)n : 4096;
}

bool ds4_pages_give_back(void *at, uint64_t n_bytes)
{
    const uintptr_t page = (uintptr_t)ds4_page_bytes();
    const uintptr_t from = ((uintptr_t)at + page - 1) / page * page;
    const uintptr_t to = ((uintptr_t)at + (uintptr_t)n_bytes) / page * page;

    if (from >= to) return true;
#ifdef __linux__
    if (madvise((void *)from, to - from, MADV_DONTNEED) == 0) return true;
#endif
    /* Locked memory on Linux; elsewhere the call above is only a hint. New pages in the old
     * place are certain. */
    return mmap((void *)from, to - from, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == (void *)from;
}
