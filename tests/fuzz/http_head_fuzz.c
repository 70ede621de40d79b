/* http_head_fuzz.c - any bytes as what arrives on a connection: where a head ends does not depend on
 * the pieces it came in, and a head that is taken says one thing. */
#include "app/server/http_head.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* The end as a reader finds it that looks each time `step` more bytes have come. */
static size_t end_in_steps(const char *bytes, size_t n, size_t step, ds4_http_fault *fault)
{
    size_t seen = 0, end = 0;

    for (size_t have = 0; have < n && end == 0 && !fault->status;) {
        have = n - have < step ? n : have + step;
        end = ds4_http_head_end(bytes, have, &seen, fault);
    }
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    ds4_http_fault fault = { 0 }, same = { 0 };
    ds4_http_head  head;
    char          *bytes = malloc(n_bytes + 1);

    if (!bytes) abort();
    if (n_bytes) memcpy(bytes, data, n_bytes);
    const size_t n = end_in_steps(bytes, n_bytes, n_bytes + 1, &fault);
    if (end_in_steps(bytes, n_bytes, 1, &same) != n || same.status != fault.status) abort();
    if (n > 0 && memcmp(bytes, "\r\n", 2)) {
        char *own = malloc(n); /* so that a step beyond is seen */
        if (!own) abort();
        memcpy(own, bytes, n);
        if (ds4_http_head_read(own, n, &head, &fault)) {
            if (!*head.method || (*head.path != '/' && *head.path != '*')) abort();
            if (head.chunked && head.n_body) abort();
            for (uint32_t i = 0; i < head.n_fields; i++) {
                if (!*head.field[i].name || strpbrk(head.field[i].value, "\r\n")) abort();
            }
        } else if (fault.status < 400 || fault.status > 505 || !fault.message) {
            abort();
        }
        free(own);
    }
    free(bytes);
    return 0;
}
