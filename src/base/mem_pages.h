/* mem_pages.h - memory in the system's pages: how large they are, and giving them back. */
#ifndef DS4_BASE_MEM_PAGES_H
#define DS4_BASE_MEM_PAGES_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes of a page: 4 KiB on x86, 16 KiB on Apple silicon, 4 to 64 KiB on Arm with Linux. */
uint64_t ds4_page_bytes(void);

/* Give back the whole pages inside at [n_bytes], private memory of mmap(). They read as zeros
 * afterwards; the rest of a page at either end stays as it is. Returns false when the system
 * would not take them: the memory stays in use and its content is unknown.               */
bool ds4_pages_give_back(void *at, uint64_t n_bytes);

#endif
