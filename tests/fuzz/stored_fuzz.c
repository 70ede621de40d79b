/* stored_fuzz.c - any bytes as the items of a stored response: a folder may come from somebody else.
 * The first byte chooses the page of the list. */
#include "app/server/recall.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static ds4_texts        *texts;
    const ds4_texts_options  opt = { .mem_bytes = 4 << 20 };
    const ds4_slice          id = DS4_SLICE("resp_1");
    ds4_str                  out = { 0 };
    ds4_arena                arena = { 0 };
    ds4_slice                items;
    char                     limit[8];

    if (n_bytes == 0) return 0;
    if (!texts && ds4_texts_open(&texts, &opt, NULL) != DS4_OK) abort();
    ds4_recall              r = { .texts = texts };
    const ds4_slice         input = { (const char *)data + 1, n_bytes - 1 };
    const ds4_text_response stored = { .id = id, .input = input, .output = input };
    if (!ds4_texts_keep_response(texts, &r.owner, &stored)) return 0;
    snprintf(limit, sizeof limit, "%d", data[0] % 100 + 1);
    const ds4_status st = ds4_recall_list(&r, id, limit, data[0] & 1 ? "asc" : NULL, data[0] & 2 ? "a" : NULL,
                                          &out, NULL);
    if (st == DS4_E_IO || st == DS4_E_ARG || !ds4_recall_find(&r, id, &arena, &items)) abort();
    ds4_str_clear(&out);
    ds4_arena_clear(&arena);
    return 0;
}
