/* vocab.c - see vocab.h. Tokens are kept as the bytes they stand for; the GPT-2 alphabet is
 * undone once, while the vocabulary is made. */
#include "text/vocab.h"

#include "text/utf8.h"
#include "text/vocab_impl.h"

#include <stdlib.h>
#include <string.h>

enum {
    ALPHABET_CODES = 0x144,     /* the 68 bytes without a visible form sit at U+0100 .. U+0143 */
    MAX_MERGES = 1 << 23,
};

/* ---- the byte alphabet ---- */

/* The byte that a character of the alphabet stands for, or -1. */
static int byte_of_code(uint32_t code)
{
    if ((code >= 33 && code <= 126) || (code >= 161 && code <= 172) ||
        (code >= 174 && code <= 255)) {
        return (int)code;
    }
    if (code < 0x100 || code >= ALPHABET_CODES) return -1;
    const int n = (int)code - 0x100;            /* the n-th of 0..32, 127..160, 173 */
    return n <= 32 ? n : n <= 66 ? n - 33 + 127 : 173;
}

/* Append the bytes that text spells in the alphabet; false (and nothing appended) if it
 * holds any other character. */
static bool decode_alphabet(ds4_slice text, ds4_str *out)
{
    const size_t before = out->n_bytes;
    size_t pos = 0;
    while (pos < text.n_bytes) {
        uint32_t code;
        const int n = ds4_utf8_read(text.data + pos, text.n_bytes - pos, &code);
        const int byte = n > 0 ? byte_of_code(code) : -1;
        if (byte < 0) {
            ds4_str_truncate(out, before);
            return false;
        }
        ds4_str_add_char(out, (char)byte);
        pos += (size_t)n;
    }
    return true;
}

/* ---- lookup by bytes ---- */

static uint32_t hash_bytes(ds4_slice s)
{
    uint64_t h = 0xCBF29CE484222325u;           /* FNV-1a, then mixed downwards */
    for (size_t i = 0; i < s.n_bytes; i++) h = (h ^ (uint8_t)s.data[i]) * 0x100000001B3u;
    return (uint32_t)(h ^ h >> 32);
}

static ds4_slice bytes_of(const ds4_vocab *v, int32_t id)
{
    return (ds4_slice){ v->bytes + v->offsets[id], v->offsets[id + 1] - v->offsets[id] };
}

static bool type_is_special(uint8_t type)
{
    return type == DS4_TOKEN_CONTROL || type == DS4_TOKEN_USER;
}

/* The slot of a token with these bytes that is or is not special, or the empty slot where
 * it belongs. The table is at most half full, so that there is one. */
static uint32_t find_slot(const ds4_vocab *v, ds4_slice bytes, bool special)
{
    uint32_t i = hash_bytes(bytes) & v->slot_mask;
    while (v->slots[i] >= 0) {
        const int32_t id = v->slots[i];
        if (type_is_special(v->types[id]) == special && ds4_slice_eq(bytes_of(v, id), bytes)) break;
        i = (i + 1) & v->slot_mask;
    }
    return i;
}

static uint32_t power_of_two_above(uint32_t n)
{
    uint32_t p = 16;
    while (p <= n) p *= 2;
    return p;
}

static bool fill_slots(ds4_vocab *v)
{
    const uint32_t n_slots = power_of_two_above(v->n_tokens * 2);
    v->slots = malloc(n_slots * sizeof *v->slots);
    if (!v->slots) return false;
    v->slot_mask = n_slots - 1;
    memset(v->slots, 0xFF, n_slots * sizeof *v->slots);         /* all -1 */
    for (int32_t id = 0; id < (int32_t)v->n_tokens; id++) {
        const bool special = type_is_special(v->types[id]);
        const ds4_slice bytes = bytes_of(v, id);
        if (bytes.n_bytes == 0 || (!special && v->types[id] != DS4_TOKEN_NORMAL)) continue;
        const uint32_t i = find_slot(v, bytes, special);
        if (v->slots[i] < 0) v->slots[i] = id;
    }
    for (int byte = 0; byte < 256; byte++) {
        const char c = (char)byte;
        v->byte_ids[byte] = v->slots[find_slot(v, (ds4_slice){ &c, 1 }, false)];
    }
    return true;
}

/* ---- tokens ---- */

/* The names of ds4_specials, in its order. */
static const char *const SPECIAL_NAMES[] = {
    "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
    "<think>", "</think>", "｜DSML｜", "<｜latest_reminder｜>",
    "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<|EOT|>", "<｜System｜>",
};
enum { N_SPECIALS = sizeof SPECIAL_NAMES / sizeof SPECIAL_NAMES[0], N_CHAT_SPECIALS = 7 };
_Static_assert(sizeof(ds4_specials) == N_SPECIALS * sizeof(int32_t), "one name for each special");

/* Find a text among SPECIAL_NAMES; -1 when it is none. */
static int special_index(ds4_slice text)
{
    for (int i = 0; i < N_SPECIALS; i++) {
        const ds4_slice name = { SPECIAL_NAMES[i], strlen(SPECIAL_NAMES[i]) };
        if (ds4_slice_eq(text, name)) return i;
    }
    return -1;
}

/* Store one token: its type and its bytes, appended to `all`. */
static ds4_status add_token(ds4_vocab *v, const ds4_vocab_source *src, uint32_t id, ds4_str *all,
                            ds4_err *err)
{
    const ds4_slice text = src->tokens[id];
    int32_t type = src->types ? src->types[id] : DS4_TOKEN_NORMAL;

    if (text.n_bytes > DS4_VOCAB_MAX_TOKEN_BYTES) {
        return ds4_fail(err, DS4_E_FORMAT, "token %u: %zu bytes long, expected at most %d", id,
                        text.n_bytes, DS4_VOCAB_MAX_TOKEN_BYTES);
    }
    if (type < DS4_TOKEN_NORMAL || type > DS4_TOKEN_BYTE) {
        return ds4_fail(err, DS4_E_FORMAT, "token %u: type %d, expected %d..%d", id, (int)type,
                        DS4_TOKEN_NORMAL, DS4_TOKEN_BYTE);
    }
    const int named = special_index(text);
    const bool ends = (int32_t)id == src->bos_id || (int32_t)id == src->eos_id;
    if ((named >= 0 || ends) && !type_is_special((uint8_t)type)) {
        type = ends || named < 2 ? DS4_TOKEN_CONTROL : DS4_TOKEN_USER;
    }
    const bool mapped = type == DS4_TOKEN_NORMAL && decode_alphabet(text, all);
    if (!mapped) {
        ds4_str_add(all, text.data, text.n_bytes);
        if (!src->types && type == DS4_TOKEN_NORMAL) type = DS4_TOKEN_USER;
    }
    v->types[id] = (uint8_t)type;
    if (all->n_bytes > UINT32_MAX) {
        return ds4_fail(err, DS4_E_FORMAT, "tokens: more than %u bytes together", UINT32_MAX);
    }
    v->offsets[id + 1] = (uint32_t)all->n_bytes;
    return DS4_OK;
}

static ds4_status add_tokens(ds4_vocab *v, const ds4_vocab_source *src, ds4_err *err)
{
    ds4_status st = DS4_OK;
    ds4_str all = { 0 };

    v->n_tokens = src->n_tokens;
    v->offsets = calloc((size_t)src->n_tokens + 1, sizeof *v->offsets);
    v->types = calloc(src->n_tokens, sizeof *v->types);
    if (!v->offsets || !v->types) {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for a vocabulary of %u tokens", src->n_tokens);
        goto done;
    }
    for (uint32_t id = 0; id < src->n_tokens; id++) {
        st = add_token(v, src, id, &all, err);
        if (st != DS4_OK) goto done;
    }
    ds4_str_add(&all, "", 1);                   /* so that there is memory even without a byte */
    v->bytes = ds4_str_take(&all);
    if (!v->bytes || !fill_slots(v)) {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for a vocabulary of %u tokens", src->n_tokens);
    }
done:
    ds4_str_clear(&all);
    return st;
}

/* ---- special tokens ---- */

/* The node for `byte` in the list that begins with `first`; if it is not there a new one,
 * to be linked by the caller, that goes in front of the list; 0 without memory. */
static uint32_t trie_step(ds4_vocab *v, uint32_t first, uint8_t byte)
{
    for (uint32_t i = first; i; i = v->trie[i].sibling) {
        if (v->trie[i].byte == byte) return i;
    }
    if (v->n_trie == v->trie_capacity) {
        if (v->trie_capacity > UINT32_MAX / 4) return 0;
        const uint32_t capacity = v->trie_capacity ? v->trie_capacity * 2 : 1024;
        ds4_trie_node *trie = realloc(v->trie, capacity * sizeof *trie);
        if (!trie) return 0;
        v->trie = trie;
        v->trie_capacity = capacity;
        if (v->n_trie == 0) v->trie[v->n_trie++] = (ds4_trie_node){ .id = -1 };
    }
    v->trie[v->n_trie] = (ds4_trie_node){ .byte = byte, .id = -1, .sibling = first };
    return v->n_trie++;
}

static bool trie_add(ds4_vocab *v, int32_t id)
{
    const ds4_slice bytes = bytes_of(v, id);
    uint32_t node = 0;
    for (size_t i = 0; i < bytes.n_bytes; i++) {
        const uint8_t byte = (uint8_t)bytes.data[i];
        const uint32_t first = i == 0 ? v->trie_roots[byte] : v->trie[node].child;
        const uint32_t n_before = v->n_trie;
        const uint32_t next = trie_step(v, first, byte);
        if (next == 0) return false;
        if (v->n_trie > n_before && i == 0) v->trie_roots[byte] = next;
        if (v->n_trie > n_before && i > 0) v->trie[node].child = next;
        node = next;
    }
    if (node && v->trie[node].id < 0) v->trie[node].id = id;
    return true;
}

static ds4_status add_specials(ds4_vocab *v, const ds4_vocab_source *src, ds4_err *err)
{
    int32_t ids[N_SPECIALS];

    for (int32_t id = 0; id < (int32_t)v->n_tokens; id++) {
        if (type_is_special(v->types[id]) && !trie_add(v, id)) {
            return ds4_fail(err, DS4_E_NOMEM, "no memory for the special tokens of a vocabulary");
        }
    }
    for (int i = 0; i < N_SPECIALS; i++) {
        const ds4_slice name = { SPECIAL_NAMES[i], strlen(SPECIAL_NAMES[i]) };
        ids[i] = v->slots[find_slot(v, name, true)];
    }
    memcpy(&v->specials, ids, sizeof ids);
    if (src->bos_id >= 0) v->specials.bos = src->bos_id;
    if (src->eos_id >= 0) v->specials.eos = src->eos_id;
    return DS4_OK;
}

/* The longest special token whose text begins data, and its bytes; -1 when none does. */
static int32_t match_special(const ds4_vocab *v, const char *data, size_t n_bytes, size_t *n_found)
{
    int32_t found = -1;
    if (n_bytes == 0) return -1;
    uint32_t node = v->trie_roots[(uint8_t)data[0]];
    for (size_t i = 1; node; i++) {
        if (v->trie[node].id >= 0) {
            found = v->trie[node].id;
            *n_found = i;
        }
        if (i == n_bytes) break;
        node = v->trie[node].child;
        while (node && v->trie[node].byte != (uint8_t)data[i]) node = v->trie[node].sibling;
    }
    return found;
}

int32_t ds4_vocab_next_special(const ds4_vocab *v, const char *data, size_t n_bytes, size_t *begin,
                               size_t *n_found)
{
    for (size_t pos = 0; pos < n_bytes; pos++) {
        if (!v->trie_roots[(uint8_t)data[pos]]) continue;
        const int32_t id = match_special(v, data + pos, n_bytes - pos, n_found);
        if (id < 0) continue;
        *begin = pos;
        return id;
    }
    return -1;
}

/* ---- merges ---- */

static int32_t find_normal(const ds4_vocab *v, ds4_slice bytes)
{
    return v->slots[find_slot(v, bytes, false)];
}

/* Store merge number `rank`; text is used as scratch. */
static ds4_status add_merge(ds4_vocab *v, ds4_slice line, uint32_t rank, ds4_str *text,
                            ds4_err *err)
{
    const char *space = line.n_bytes ? memchr(line.data, ' ', line.n_bytes) : NULL;
    const size_t n_left = space ? (size_t)(space - line.data) : 0;
    if (n_left == 0 || n_left + 1 >= line.n_bytes ||
        memchr(space + 1, ' ', line.n_bytes - n_left - 1)) {
        return ds4_fail(err, DS4_E_FORMAT, "merge %u: expected two words with one space between",
                        rank);
    }
    ds4_str_truncate(text, 0);
    if (!decode_alphabet((ds4_slice){ line.data, n_left }, text)) return DS4_OK;
    const size_t n_first = text->n_bytes;
    if (!decode_alphabet((ds4_slice){ space + 1, line.n_bytes - n_left - 1 }, text)) return DS4_OK;
    if (text->failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for merge %u", rank);

    const int32_t left = find_normal(v, (ds4_slice){ text->data, n_first });
    const int32_t right =
        find_normal(v, (ds4_slice){ text->data + n_first, text->n_bytes - n_first });
    const int32_t product = find_normal(v, (ds4_slice){ text->data, text->n_bytes });
    if (left < 0 || right < 0 || product < 0 || ds4_merge_find(v, left, right)) return DS4_OK;

    uint32_t i = ds4_merge_hash(left, right) & v->merge_mask;
    while (v->merges[i].product >= 0) i = (i + 1) & v->merge_mask;
    v->merges[i] = (ds4_merge){ left, right, product, rank };
    return DS4_OK;
}

static ds4_status add_merges(ds4_vocab *v, const ds4_vocab_source *src, ds4_err *err)
{
    ds4_status st = DS4_OK;
    ds4_str text = { 0 };
    const uint32_t n_slots = power_of_two_above(src->n_merges * 2);

    v->merges = malloc(n_slots * sizeof *v->merges);
    if (!v->merges) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for %u merges", src->n_merges);
    }
    v->merge_mask = n_slots - 1;
    for (uint32_t i = 0; i < n_slots; i++) v->merges[i] = (ds4_merge){ .product = -1 };
    for (uint32_t i = 0; i < src->n_merges && st == DS4_OK; i++) {
        st = add_merge(v, src->merges[i], i, &text, err);
    }
    ds4_str_clear(&text);
    return st;
}

/* ---- public functions ---- */

static ds4_status check_source(const ds4_vocab_source *src, ds4_err *err)
{
    const int64_t n = src->n_tokens;
    if (n < 1 || n > DS4_VOCAB_MAX_TOKENS) {
        return ds4_fail(err, DS4_E_FORMAT, "vocabulary of %u tokens, expected 1..%d", src->n_tokens,
                        DS4_VOCAB_MAX_TOKENS);
    }
    if (src->n_merges > MAX_MERGES) {
        return ds4_fail(err, DS4_E_FORMAT, "vocabulary with %u merges, expected at most %d",
                        src->n_merges, MAX_MERGES);
    }
    if (src->bos_id < -1 || src->bos_id >= n || src->eos_id < -1 || src->eos_id >= n) {
        return ds4_fail(err, DS4_E_FORMAT, "BOS token %d and EOS token %d, expected ids below %u",
                        (int)src->bos_id, (int)src->eos_id, src->n_tokens);
    }
    return DS4_OK;
}

ds4_status ds4_vocab_create(const ds4_vocab_source *src, ds4_vocab **out, ds4_err *err)
{
    DS4_TRY(check_source(src, err));
    ds4_vocab *v = calloc(1, sizeof *v);
    if (!v) return ds4_fail(err, DS4_E_NOMEM, "no memory for a vocabulary");

    ds4_status st = DS4_OK;
    v->map = ds4_char_map_create();
    if (!v->map) st = ds4_fail(err, DS4_E_NOMEM, "no memory for the classes of characters");
    if (st == DS4_OK) st = add_tokens(v, src, err);
    if (st == DS4_OK) st = add_specials(v, src, err);
    if (st == DS4_OK) st = add_merges(v, src, err);
    if (st != DS4_OK) {
        ds4_vocab_free(v);
        return st;
    }
    *out = v;
    return DS4_OK;
}

void ds4_vocab_free(ds4_vocab *v)
{
    if (!v) return;
    ds4_char_map_free(v->map);
    free(v->bytes);
    free(v->offsets);
    free(v->types);
    free(v->slots);
    free(v->merges);
    free(v->trie);
    free(v);
}

uint64_t ds4_vocab_memory(uint64_t n_tokens, uint64_t n_bytes, uint64_t n_merges)
{
    if (n_tokens > DS4_VOCAB_MAX_TOKENS || n_merges > MAX_MERGES) return 0;    /* refused later */
    const uint64_t n_slots = power_of_two_above((uint32_t)n_tokens * 2);
    const uint64_t n_pairs = power_of_two_above((uint32_t)n_merges * 2);

    return n_bytes + n_tokens * (sizeof(uint32_t) + sizeof(uint8_t)) + n_slots * sizeof(int32_t)
         + n_pairs * sizeof(ds4_merge);
}

uint32_t ds4_vocab_size(const ds4_vocab *v)
{
    return v->n_tokens;
}

const ds4_specials *ds4_vocab_specials(const ds4_vocab *v)
{
    return &v->specials;
}

static bool in_range(const ds4_vocab *v, int32_t id)
{
    return id >= 0 && (uint32_t)id < v->n_tokens;
}

ds4_slice ds4_vocab_token_bytes(const ds4_vocab *v, int32_t id)
{
    return in_range(v, id) ? bytes_of(v, id) : (ds4_slice){ "", 0 };
}

ds4_token_type ds4_vocab_token_type(const ds4_vocab *v, int32_t id)
{
    return in_range(v, id) ? (ds4_token_type)v->types[id] : DS4_TOKEN_UNUSED;
}

bool ds4_vocab_is_special(const ds4_vocab *v, int32_t id)
{
    return in_range(v, id) && type_is_special(v->types[id]);
}

bool ds4_vocab_is_end(const ds4_vocab *v, int32_t id)
{
    return id >= 0 && (id == v->specials.eos || id == v->specials.eot);
}

int32_t ds4_vocab_find(const ds4_vocab *v, const char *text)
{
    const ds4_slice bytes = { text, strlen(text) };

    if (bytes.n_bytes == 0) return -1;
    const int32_t special = v->slots[find_slot(v, bytes, true)];
    return special >= 0 ? special : find_normal(v, bytes);
}

ds4_status ds4_vocab_check_chat(const ds4_vocab *v, ds4_err *err)
{
    int32_t ids[N_SPECIALS];

    memcpy(ids, &v->specials, sizeof ids);
    for (int i = 0; i < N_CHAT_SPECIALS; i++) {
        if (ids[i] >= 0) continue;
        return ds4_fail(err, DS4_E_UNSUPPORTED, "the vocabulary has no token %s, which the chat "
                        "protocol needs", SPECIAL_NAMES[i]);
    }
    return DS4_OK;
}
