/* clock.h - one monotonic clock, and one of work. */
#ifndef DS4_BASE_CLOCK_H
#define DS4_BASE_CLOCK_H

#include <stdint.h>

uint64_t ds4_now_ns(void);      /* nanoseconds since an arbitrary start; never goes back */
uint64_t ds4_cpu_ns(void);      /* that processors spent on this process, all threads together */

#endif
