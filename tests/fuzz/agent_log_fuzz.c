/* agent_log_fuzz.c - any bytes as the journal of a session of the agent: refused, or safe to use. */
#include "agent/talk.h"
#include "service/store/store_hash.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* Make the checksums right, so that what lies behind them is reached too. */
static void mend(uint8_t *bytes, size_t n_bytes)
{
    size_t at = DS4_JOURNAL_HEAD;

    while (at + DS4_JOURNAL_RECORD_HEAD <= n_bytes) {
        uint32_t n;
        memcpy(&n, bytes + at + 4, 4);
        n %= 4096;
        if (n > n_bytes - at - DS4_JOURNAL_RECORD_HEAD)
            n = (uint32_t)(n_bytes - at - DS4_JOURNAL_RECORD_HEAD);
        memcpy(bytes + at + 4, &n, 4);
        const ds4_kv_key begin = ds4_kv_hash(bytes + at, 8);
        const ds4_kv_key all =
            n > 0 ? ds4_kv_hash_on(&begin, bytes + at + DS4_JOURNAL_RECORD_HEAD, n) : begin;
        memcpy(bytes + at + 8, all.b, 8);
        at += DS4_JOURNAL_RECORD_HEAD + n;
    }
}

static size_t use(const uint8_t *bytes, size_t n_bytes)
{
    ds4_talk t = { 0 };
    ds4_str  title = { 0 };
    ds4_err  err;

    (void)!ds4_talk_load(&t, (ds4_slice){ (const char *)bytes, n_bytes }, 4096, &err);
    size_t sum = ds4_talk_n_turns(&t);
    for (uint32_t i = 0; i < t.tokens.n; i++) sum += (size_t)t.tokens.ids[i];
    for (uint32_t i = 0; i < t.n_items; i++) {
        for (uint32_t k = 0; k < t.items[i].n_calls; k++) sum += t.items[i].calls[k].result.n_bytes;
    }
    if (t.n_answer > t.tokens.n || t.n_base > t.tokens.n) abort();
    ds4_talk_title(&t, &title);
    ds4_str_clear(&title);
    ds4_talk_close(&t);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static volatile size_t sum;         /* the compiler must not leave out the reading */
    uint8_t               *copy = malloc(n_bytes + 1);

    if (!copy) return 0;
    sum = use(data, n_bytes);
    memcpy(copy, data, n_bytes);
    mend(copy, n_bytes);
    sum = sum + use(copy, n_bytes);
    free(copy);
    return 0;
}
