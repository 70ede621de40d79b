/* bpe_fuzz.c - the input is a vocabulary (lines, up to a zero byte), merges (lines, up to a
 * zero byte) and a text. Whatever opens must encode and decode to the same bytes. */
#include "text/bpe.h"
#include "text/segments.h"
#include "text/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

enum { MAX_LINES = 64 };

static void require(bool holds)
{
    if (!holds) abort();
}

/* Split what lies before the next zero byte into lines; moves *text behind it. */
static uint32_t take_lines(ds4_slice *text, ds4_slice lines[MAX_LINES])
{
    uint32_t n = 0;
    size_t   begin = 0, i = 0;

    for (; i < text->n_bytes && text->data[i]; i++) {
        if (text->data[i] != '\n') continue;
        if (n < MAX_LINES) lines[n++] = (ds4_slice){ text->data + begin, i - begin };
        begin = i + 1;
    }
    if (i < text->n_bytes) i++;
    *text = (ds4_slice){ text->data + i, text->n_bytes - i };
    return n;
}

static void check_round_trip(const ds4_vocab *v, ds4_slice text, unsigned flags)
{
    ds4_tokens t = { 0 };
    ds4_str    back = { 0 };

    if (ds4_vocab_encode(v, text.data, text.n_bytes, flags, &t, NULL) == DS4_OK) {
        ds4_vocab_decode(v, t.ids, t.n, 0, &back);
        require(ds4_slice_eq((ds4_slice){ back.data, back.n_bytes }, text));
        for (uint32_t i = 0; i < t.n && flags == 0; i++) {
            require(!ds4_vocab_is_special(v, t.ids[i]));
        }
    }
    ds4_str_clear(&back);
    ds4_tokens_clear(&t);
}

/* Every other third of the text is trusted. */
static void check_segments(const ds4_vocab *v, ds4_slice text)
{
    const size_t third = text.n_bytes / 3;
    ds4_segments s = { 0 };
    ds4_tokens   t = { 0 };
    size_t       n_bytes;

    ds4_segments_add(&s, true, text.data, third);
    ds4_segments_add(&s, false, text.data + third, third);
    ds4_segments_add(&s, true, text.data + 2 * third, text.n_bytes - 2 * third);
    if (ds4_segments_encode(v, &s, &t, NULL) == DS4_OK) {
        require(ds4_segments_match(v, &s, t.ids, t.n, &n_bytes) == t.n && n_bytes == text.n_bytes);
    }
    ds4_tokens_clear(&t);
    ds4_segments_clear(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    /* The alphabet of bytes, so that most texts can be encoded, then the lines of the input. */
    ds4_slice  tokens[256 + MAX_LINES], merges[MAX_LINES], text = { (const char *)data, n_bytes };
    char       bytes[256][4];
    ds4_vocab *v = NULL;

    for (uint32_t i = 0; i < 256; i++) {
        uint32_t code = i;
        if (i <= 32) code = 0x100 + i;
        if (i >= 127 && i <= 160) code = 0x100 + 33 + i - 127;
        if (i == 173) code = 0x143;
        tokens[i] = (ds4_slice){ bytes[i], (size_t)ds4_utf8_write(code, bytes[i]) };
    }
    ds4_vocab_source src = { .tokens = tokens, .merges = merges, .bos_id = -1, .eos_id = -1 };
    src.n_tokens = 256 + take_lines(&text, tokens + 256);
    src.n_merges = take_lines(&text, merges);
    if (ds4_vocab_create(&src, &v, NULL) != DS4_OK) return 0;
    check_round_trip(v, text, 0);
    check_round_trip(v, text, DS4_ENCODE_SPECIALS);
    check_segments(v, text);
    ds4_vocab_free(v);
    return 0;
}
