/* file_at.h - all of some bytes at a place of an open file, however often a signal interrupts. */
#ifndef DS4_BASE_FILE_AT_H
#define DS4_BASE_FILE_AT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Read until n_bytes are there or the file ends. Returns how many there are; fewer with errno 0 at the end of
 * the file, else with the reason. */
size_t ds4_read_at(int fd, void *data, size_t n_bytes, uint64_t offset);

/* Write all. False with errno: some of the bytes may be written. */
bool ds4_write_at(int fd, const void *data, size_t n_bytes, uint64_t offset);

#endif
