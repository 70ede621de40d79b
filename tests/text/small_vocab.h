/* small_vocab.h - 256 bytes, four merges and the special tokens: enough for most tests. */
#ifndef DS4_TESTS_SMALL_VOCAB_H
#define DS4_TESTS_SMALL_VOCAB_H

#include "testing.h"

#include "text/utf8.h"
#include "text/vocab.h"

/* Ids: a byte is its own id. */
enum {
    SMALL_AB = 256,
    SMALL_BC,
    SMALL_ABC,
    SMALL_AA,
    SMALL_BOS,
    SMALL_EOS,
    SMALL_USER,
    SMALL_ASSISTANT,
    SMALL_THINK,
    SMALL_THINK_CLOSE,
    SMALL_DSML,
    SMALL_REMINDER,
    SMALL_ACTION,
    SMALL_QUERY,
    SMALL_AUTHORITY,
    SMALL_DOMAIN,
    SMALL_READ_URL,
    SMALL_TITLE,
    SMALL_FIM_BEGIN,
    SMALL_FIM_HOLE,
    SMALL_FIM_END,
    SMALL_EOT,
    SMALL_THINKER,
    SMALL_N
};

/* left, right, product; in the order of their ranks */
#define SMALL_MERGES                                        \
    { { 'a', 'b', SMALL_AB }, { SMALL_AB, 'c', SMALL_ABC }, \
      { 'b', 'c', SMALL_BC }, { 'a', 'a', SMALL_AA } }

static const char *const SMALL_SPECIALS[] = {
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<think>",
    "</think>",
    "｜DSML｜",
    "<｜latest_reminder｜>",
    "<｜action｜>",
    "<｜query｜>",
    "<｜authority｜>",
    "<｜domain｜>",
    "<｜read_url｜>",
    "<｜title｜>",
    "<｜fim▁begin｜>",
    "<｜fim▁hole｜>",
    "<｜fim▁end｜>",
    "<|EOT|>",
    "<think>er",
};

/* The spelling of a byte in the GPT-2 alphabet. */
static inline ds4_slice small_byte(int byte, char out[4])
{
    uint32_t code = (uint32_t)byte;
    if (byte <= 32) code = 0x100 + (uint32_t)byte;
    if (byte >= 127 && byte <= 160) code = 0x100 + 33 + (uint32_t)byte - 127;
    if (byte == 173) code = 0x143;
    return (ds4_slice){ out, (size_t)ds4_utf8_write(code, out) };
}

static inline ds4_vocab *small_vocab(void)
{
    static const ds4_slice MERGES[] = { { "a b", 3 }, { "ab c", 4 }, { "b c", 3 }, { "a a", 3 } };
    static const ds4_slice PRODUCTS[] = { { "ab", 2 }, { "bc", 2 }, { "abc", 3 }, { "aa", 2 } };
    char       bytes[256][4];
    ds4_slice  tokens[SMALL_N];
    int32_t    types[SMALL_N];
    ds4_vocab *v = NULL;
    ds4_err    err;

    for (int i = 0; i < SMALL_N; i++) {
        types[i] = i < SMALL_BOS    ? DS4_TOKEN_NORMAL
                   : i <= SMALL_EOS ? DS4_TOKEN_CONTROL
                                    : DS4_TOKEN_USER;
        if (i < 256) tokens[i] = small_byte(i, bytes[i]);
        else if (i < SMALL_BOS) tokens[i] = PRODUCTS[i - 256];
        else
            tokens[i] =
                (ds4_slice){ SMALL_SPECIALS[i - SMALL_BOS], strlen(SMALL_SPECIALS[i - SMALL_BOS]) };
    }
    const ds4_vocab_source src = { .tokens = tokens,
                                   .types = types,
                                   .n_tokens = SMALL_N,
                                   .merges = MERGES,
                                   .n_merges = 4,
                                   .bos_id = -1,
                                   .eos_id = -1 };
    if (ds4_vocab_create(&src, &v, &err) != DS4_OK) fail_msg("%s", err.text);
    return v;
}

#endif
