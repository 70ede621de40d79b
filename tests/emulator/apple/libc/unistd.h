/* unistd.h - for make check-apple, see stdlib.h. */
#ifndef DS4_TESTS_APPLE_UNISTD_H
#define DS4_TESTS_APPLE_UNISTD_H

#define _SC_PAGESIZE 29
long sysconf(int name);

#endif
