/* bpe.c - see bpe.h. */
#include "text/bpe.h"

#include "text/vocab_impl.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHORT_PIECE = 32,           /* up to here a scan for the best pair beats a heap */
    CACHE_BYTES = 15,           /* longest piece that is remembered */
    CACHE_IDS = 4,
    CACHE_ENTRIES = 8192,       /* power of two */
    CACHE_FROM_BYTES = 4096,    /* shorter texts do not pay for an empty cache */
};

static const uint32_t NO_RANK = UINT32_MAX;

/* ---- token arrays ---- */

static bool reserve(ds4_tokens *t, uint32_t n_more)
{
    if (t->failed || n_more > UINT32_MAX / 8 - t->n) {
        t->failed = true;
        return false;
    }
    const uint32_t need = t->n + n_more;
    if (need <= t->capacity) return true;

    uint32_t capacity = t->capacity ? t->capacity : 64;
    while (capacity < need) capacity *= 2;
    int32_t *ids = realloc(t->ids, capacity * sizeof *ids);
    if (!ids) {
        t->failed = true;
        return false;
    }
    t->ids = ids;
    t->capacity = capacity;
    return true;
}

void ds4_tokens_append(ds4_tokens *t, const int32_t *ids, uint32_t n)
{
    if (n == 0 || !reserve(t, n)) return;
    memcpy(t->ids + t->n, ids, n * sizeof *ids);
    t->n += n;
}

void ds4_tokens_add(ds4_tokens *t, int32_t id)
{
    ds4_tokens_append(t, &id, 1);
}

void ds4_tokens_clear(ds4_tokens *t)
{
    free(t->ids);
    *t = (ds4_tokens){ 0 };
}

/* ---- merging one piece ---- */

/* Tokens of pieces met before in the same text. */
typedef struct cache_entry {
    uint8_t n_bytes;            /* 0 in an empty entry */
    uint8_t n_ids;
    char    bytes[CACHE_BYTES];
    int32_t ids[CACHE_IDS];
} cache_entry;

typedef struct encoder {
    const ds4_vocab *v;
    ds4_tokens      *out;
    cache_entry     *cache;     /* [CACHE_ENTRIES] or NULL */
    ds4_err         *err;
} encoder;

static uint32_t rank_of(const ds4_vocab *v, int32_t left, int32_t right)
{
    const ds4_merge *m = ds4_merge_find(v, left, right);
    return m ? m->rank : NO_RANK;
}

/* The token of each byte; false when the vocabulary has none for one of them. */
static bool byte_tokens(const encoder *e, const char *data, size_t n_bytes, int32_t *ids,
                        ds4_status *st)
{
    for (size_t i = 0; i < n_bytes; i++) {
        const uint8_t byte = (uint8_t)data[i];
        ids[i] = e->v->byte_ids[byte];
        if (ids[i] >= 0) continue;
        *st = ds4_fail(e->err, DS4_E_UNSUPPORTED, "the vocabulary has no token for byte 0x%02x",
                       byte);
        return false;
    }
    return true;
}

/* Pieces of 2 .. SHORT_PIECE bytes: look through the ranks for the lowest, leftmost first. */
static ds4_status merge_short(const encoder *e, const char *data, size_t n_bytes)
{
    ds4_status st = DS4_OK;
    int32_t    ids[SHORT_PIECE];
    uint32_t   ranks[SHORT_PIECE];              /* ranks[i]: of ids[i] with ids[i + 1] */
    uint32_t   n = (uint32_t)n_bytes;

    if (!byte_tokens(e, data, n_bytes, ids, &st)) return st;
    for (uint32_t i = 0; i + 1 < n; i++) ranks[i] = rank_of(e->v, ids[i], ids[i + 1]);
    while (n > 1) {
        uint32_t best = 0;
        for (uint32_t i = 1; i + 1 < n; i++) {
            if (ranks[i] < ranks[best]) best = i;
        }
        if (ranks[best] == NO_RANK) break;
        ids[best] = ds4_merge_find(e->v, ids[best], ids[best + 1])->product;
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        memmove(ranks + best, ranks + best + 1, (n - best) * sizeof *ranks);
        if (best + 1 < n) ranks[best] = rank_of(e->v, ids[best], ids[best + 1]);
        if (best > 0) ranks[best - 1] = rank_of(e->v, ids[best - 1], ids[best]);
    }
    ds4_tokens_append(e->out, ids, n);
    return st;
}

/* A long piece: a list of symbols and a heap of candidate pairs. An entry of the heap is
 * rank << 32 | place, so that the least one is the lowest rank, leftmost first; it is out
 * of date unless ranks[place] still is its rank. */
typedef struct long_piece {
    int32_t  *ids;              /* [n] symbols by the place of their first byte */
    uint32_t *ranks;            /* [n] of a symbol with the next one, NO_RANK for none */
    uint32_t *next, *prev;      /* [n] places of the neighbours, n and UINT32_MAX at the ends */
    uint64_t *heap;             /* [n_heap], at most 3 n: one for each pair, two after each merge */
    size_t    n, n_heap;
} long_piece;

static void heap_push(long_piece *p, uint64_t entry)
{
    size_t i = p->n_heap++;
    while (i > 0 && p->heap[(i - 1) / 2] > entry) {
        p->heap[i] = p->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    p->heap[i] = entry;
}

static uint64_t heap_pop(long_piece *p)
{
    const uint64_t top = p->heap[0], last = p->heap[--p->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= p->n_heap) break;
        if (child + 1 < p->n_heap && p->heap[child + 1] < p->heap[child]) child++;
        if (p->heap[child] >= last) break;
        p->heap[i] = p->heap[child];
        i = child;
    }
    p->heap[i] = last;
    return top;
}

/* Look up the pair that begins at `place` and remember it as a candidate. */
static void consider(const encoder *e, long_piece *p, uint32_t place)
{
    const uint32_t right = p->next[place];
    p->ranks[place] = right < p->n ? rank_of(e->v, p->ids[place], p->ids[right]) : NO_RANK;
    if (p->ranks[place] != NO_RANK) heap_push(p, (uint64_t)p->ranks[place] << 32 | place);
}

static void merge_all(const encoder *e, long_piece *p)
{
    while (p->n_heap > 0) {
        const uint64_t entry = heap_pop(p);
        const uint32_t place = (uint32_t)entry, rank = (uint32_t)(entry >> 32);
        if (p->ranks[place] != rank) continue;

        const uint32_t gone = p->next[place];
        p->ids[place] = ds4_merge_find(e->v, p->ids[place], p->ids[gone])->product;
        p->ranks[gone] = NO_RANK;
        p->next[place] = p->next[gone];
        if (p->next[place] < p->n) p->prev[p->next[place]] = place;
        consider(e, p, place);
        if (p->prev[place] != UINT32_MAX) consider(e, p, p->prev[place]);
    }
}

static ds4_status merge_long(const encoder *e, const char *data, size_t n_bytes)
{
    ds4_status st = DS4_OK;
    /* Each merge removes a symbol and adds at most two entries to the heap. */
    uint64_t *memory = malloc(n_bytes * (3 * sizeof(uint64_t) + 4 * sizeof(uint32_t)));
    if (!memory) return ds4_fail(e->err, DS4_E_NOMEM, "no memory for a word of %zu bytes", n_bytes);

    long_piece p = { .heap = memory, .n = n_bytes };
    p.ranks = (uint32_t *)(memory + 3 * n_bytes);
    p.next = p.ranks + n_bytes;
    p.prev = p.next + n_bytes;
    p.ids = (int32_t *)(p.prev + n_bytes);
    if (!byte_tokens(e, data, n_bytes, p.ids, &st)) goto done;
    for (size_t i = 0; i < n_bytes; i++) {
        p.next[i] = (uint32_t)i + 1;
        p.prev[i] = (uint32_t)i - 1;            /* UINT32_MAX for the first */
    }
    for (size_t i = 0; i < n_bytes; i++) consider(e, &p, (uint32_t)i);
    merge_all(e, &p);
    for (size_t i = 0; i < n_bytes; i = p.next[i]) ds4_tokens_add(e->out, p.ids[i]);
done:
    free(memory);
    return st;
}

/* ---- pieces and texts ---- */

static cache_entry *cache_slot(const encoder *e, const char *data, size_t n_bytes)
{
    if (!e->cache || n_bytes > CACHE_BYTES) return NULL;
    uint32_t h = 0x811C9DC5u;
    for (size_t i = 0; i < n_bytes; i++) h = (h ^ (uint8_t)data[i]) * 0x01000193u;
    return &e->cache[(h ^ h >> 15) & (CACHE_ENTRIES - 1)];
}

static ds4_status encode_piece(const encoder *e, const char *data, size_t n_bytes)
{
    cache_entry *slot = cache_slot(e, data, n_bytes);
    if (slot && slot->n_bytes == n_bytes && memcmp(slot->bytes, data, n_bytes) == 0) {
        ds4_tokens_append(e->out, slot->ids, slot->n_ids);
        return DS4_OK;
    }
    const uint32_t before = e->out->n;
    DS4_TRY(n_bytes <= SHORT_PIECE ? merge_short(e, data, n_bytes) : merge_long(e, data, n_bytes));
    const uint32_t n_ids = e->out->n - before;
    if (slot && !e->out->failed && n_ids <= CACHE_IDS) {
        slot->n_bytes = (uint8_t)n_bytes;
        slot->n_ids = (uint8_t)n_ids;
        memcpy(slot->bytes, data, n_bytes);
        memcpy(slot->ids, e->out->ids + before, n_ids * sizeof *slot->ids);
    }
    return DS4_OK;
}

static ds4_status encode_plain(const encoder *e, const char *text, size_t n_bytes)
{
    ds4_pretok pieces;
    size_t     begin, n;

    ds4_pretok_begin(&pieces, e->v->map, text, n_bytes);
    while (ds4_pretok_next(&pieces, &begin, &n)) DS4_TRY(encode_piece(e, text + begin, n));
    return DS4_OK;
}

static ds4_status encode_with_specials(const encoder *e, const char *text, size_t n_bytes)
{
    size_t pos = 0, begin, n;
    for (;;) {
        const int32_t id = ds4_vocab_next_special(e->v, text + pos, n_bytes - pos, &begin, &n);
        if (id < 0) return encode_plain(e, text + pos, n_bytes - pos);
        DS4_TRY(encode_plain(e, text + pos, begin));
        ds4_tokens_add(e->out, id);
        pos += begin + n;
    }
}

ds4_status ds4_vocab_encode(const ds4_vocab *v, const char *text, size_t n_bytes, unsigned flags,
                            ds4_tokens *out, ds4_err *err)
{
    if (n_bytes > DS4_ENCODE_MAX_BYTES) {
        return ds4_fail(err, DS4_E_LIMIT, "text of %zu bytes, expected at most %d", n_bytes,
                        DS4_ENCODE_MAX_BYTES);
    }
    encoder e = { v, out, NULL, err };
    /* Without memory for the cache the text is encoded without it. */
    if (n_bytes >= CACHE_FROM_BYTES) e.cache = calloc(CACHE_ENTRIES, sizeof *e.cache);
    ds4_status st = flags & DS4_ENCODE_SPECIALS ? encode_with_specials(&e, text, n_bytes)
                                                : encode_plain(&e, text, n_bytes);
    free(e.cache);
    if (st == DS4_OK && out->failed) {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for the tokens of a text");
    }
    return st;
}

void ds4_vocab_decode(const ds4_vocab *v, const int32_t *ids, uint32_t n_ids, unsigned flags,
                      ds4_str *out)
{
    for (uint32_t i = 0; i < n_ids; i++) {
        const bool control = ds4_vocab_token_type(v, ids[i]) == DS4_TOKEN_CONTROL;
        if (control && (flags & DS4_DECODE_SKIP_CONTROL)) continue;
        const ds4_slice bytes = ds4_vocab_token_bytes(v, ids[i]);
        ds4_str_add(out, bytes.data, bytes.n_bytes);
    }
}
