/* map_guard.h - mapped files whose pages may get lost.
 *
 * When a mapped file is cut short or its disk fails, touching a lost page raises SIGBUS. A
 * handler that finds the address in a range of this table puts empty memory there, marks
 * the range and lets the thread go on; whoever works with the range asks afterwards and
 * throws away what was computed. Handlers know nothing but addresses, so the table belongs to
 * the process; nothing else here does. See ds4_faults_catch() in ds4.h. */
#ifndef DS4_BASE_MAP_GUARD_H
#define DS4_BASE_MAP_GUARD_H

#include "base/err.h"

/* Enter a range of whole pages from `data` on. Returns its place, or 0 when the table is full:
 * then faults in it stay what they are without a guard. */
int ds4_guard_add(const void *data, uint64_t n_bytes);

/* Before the range is unmapped. 0 is fine. */
void ds4_guard_remove(int place);

/* Were pages of it lost? What lay from the first of them on now reads as zeros. */
bool ds4_guard_lost(int place);

#endif
