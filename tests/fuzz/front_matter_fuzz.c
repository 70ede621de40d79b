/* front_matter_fuzz.c - any bytes as the head of a skill: it ends, and what it gives was in it. */
#include "agent/notes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    ds4_str         name = { 0 }, description = { 0 };
    const ds4_slice text = { (const char *)data, n_bytes };

    if (ds4_front_matter(text, &name, &description)) {
        if (name.n_bytes == 0 || description.n_bytes == 0) abort();
        if (name.n_bytes + description.n_bytes > n_bytes) abort();
        /* A value of one line stands there as it is. */
        if (!memchr(name.data, ' ', name.n_bytes) && !memmem(text.data, n_bytes, name.data, name.n_bytes))
            abort();
    }
    ds4_str_clear(&name);
    ds4_str_clear(&description);
    return 0;
}
