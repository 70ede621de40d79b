/* grammar.c - building blocks of grammars, and walking through them. */
#include "text/grammar_build.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 512, MAX_STACK = 64, MAX_CLOSURE = 4096 };

/* ---- building ------------------------------------------------------------------------------- */

ds4_status ds4_g_new(ds4_grammar **out, ds4_err *err)
{
    ds4_grammar *g = calloc(1, sizeof *g);

    if (!g) return ds4_fail(err, DS4_E_NOMEM, "no memory for a grammar");
    ds4_g_emit(g, DS4_G_RETURN, 0, 0); /* place 0 is never a rule, so 0 can mean none */
    *out = g;
    return DS4_OK;
}

void ds4_grammar_free(ds4_grammar *g)
{
    if (!g) return;
    free(g->code);
    free(g->set);
    free(g);
}

ds4_status ds4_g_finish(ds4_grammar *g, ds4_grammar **out, ds4_err *err)
{
    if (g->failed == DS4_E_LIMIT) {
        ds4_grammar_free(g);
        return ds4_fail(err, DS4_E_LIMIT, "the schema is too large to be enforced");
    }
    if (g->failed != DS4_OK) {
        ds4_grammar_free(g);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a grammar");
    }
    *out = g;
    return DS4_OK;
}

static void *grown(ds4_grammar *g, void *array, uint32_t n, uint32_t *capacity, uint32_t most,
                   size_t each)
{
    if (n < *capacity) return array;
    if (n >= most) {
        g->failed = DS4_E_LIMIT;
        return NULL;
    }
    const uint32_t more = *capacity ? 2 * *capacity : 64;
    void          *p = realloc(array, more * each);
    if (!p) {
        g->failed = DS4_E_NOMEM;
        return NULL;
    }
    *capacity = more;
    return p;
}

uint32_t ds4_g_emit(ds4_grammar *g, ds4_grammar_op op, uint32_t a, uint32_t b)
{
    if (g->failed != DS4_OK) return 0;
    void *code = grown(g, g->code, g->n_code, &g->cap_code, DS4_GRAMMAR_MAX_CODE, sizeof *g->code);
    if (!code) return 0;
    g->code = code;
    g->code[g->n_code] = (ds4_grammar_code){ op, a, b };
    return g->n_code++;
}

uint32_t ds4_g_here(const ds4_grammar *g)
{
    return g->n_code;
}

void ds4_g_point(ds4_grammar *g, uint32_t at, uint32_t target)
{
    if (g->failed == DS4_OK) g->code[at].a = target;
}

void ds4_g_point_b(ds4_grammar *g, uint32_t at, uint32_t target)
{
    if (g->failed == DS4_OK) g->code[at].b = target;
}

void ds4_set_add(ds4_byte_set *set, unsigned char from, unsigned char to)
{
    for (unsigned i = from; i <= to; i++) set->bits[i / 64] |= 1ull << i % 64;
}

void ds4_g_set(ds4_grammar *g, const ds4_byte_set *set)
{
    uint32_t i = 0;

    if (g->failed != DS4_OK) return;
    while (i < g->n_sets && memcmp(&g->set[i], set, sizeof *set) != 0) i++;
    if (i == g->n_sets) {
        void *sets =
            grown(g, g->set, g->n_sets, &g->cap_sets, DS4_GRAMMAR_MAX_SETS, sizeof *g->set);
        if (!sets) return;
        g->set = sets;
        g->set[g->n_sets++] = *set;
    }
    ds4_g_emit(g, DS4_G_BYTE, i, 0);
}

void ds4_g_range(ds4_grammar *g, unsigned char from, unsigned char to)
{
    ds4_byte_set set = { { 0 } };
    ds4_set_add(&set, from, to);
    ds4_g_set(g, &set);
}

void ds4_g_byte(ds4_grammar *g, unsigned char byte)
{
    ds4_g_range(g, byte, byte);
}

void ds4_g_text(ds4_grammar *g, ds4_slice text)
{
    for (size_t i = 0; i < text.n_bytes; i++) ds4_g_byte(g, (unsigned char)text.data[i]);
}

void ds4_g_literal(ds4_grammar *g, const char *text)
{
    ds4_g_text(g, (ds4_slice){ text, strlen(text) });
}

ds4_status ds4_grammar_one_of(const ds4_slice *texts, uint32_t n_texts, ds4_grammar **out,
                              ds4_err *err)
{
    ds4_grammar *g = NULL;

    DS4_TRY(ds4_g_new(&g, err));
    g->start = ds4_g_here(g);
    for (uint32_t i = 0; i < n_texts; i++) {
        const bool     last = i + 1 == n_texts;
        const uint32_t split = last ? 0 : ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
        ds4_g_text(g, texts[i]);
        ds4_g_emit(g, DS4_G_RETURN, 0, 0);
        if (!last) ds4_g_point_b(g, split, ds4_g_here(g));
    }
    return ds4_g_finish(g, out, err);
}

ds4_status ds4_grammar_or_calls(ds4_grammar *g, ds4_err *err)
{
    const uint32_t either = ds4_g_emit(g, DS4_G_SPLIT, g->start, ds4_g_here(g) + 1);

    ds4_g_literal(g, "\n\n<");
    ds4_g_emit(g, DS4_G_MARKER, 0, 0);
    ds4_g_literal(g, "tool_calls>");
    const uint32_t loop = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 2, 0);
    ds4_g_point_b(g, loop, ds4_g_emit(g, DS4_G_RETURN, 0, 0));
    const uint32_t kind = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
    ds4_g_range(g, 0, 255);
    ds4_g_emit(g, DS4_G_JUMP, loop, 0);
    ds4_g_point_b(g, kind, ds4_g_here(g));
    ds4_g_emit(g, DS4_G_MARKER, 0, 0);
    ds4_g_emit(g, DS4_G_JUMP, loop, 0);
    if (g->failed != DS4_OK) return ds4_fail(err, g->failed, "the grammar became too large");
    g->start = either;
    return DS4_OK;
}

/* ---- walking -------------------------------------------------------------------------------- */

/* Where a call returns to; index 0 is the bottom. */
typedef struct frame {
    uint32_t back, parent, depth;
} frame;

/* A place that waits for a byte or a marker, with its calls. */
typedef struct thread {
    uint32_t at, frame;
} thread;

typedef struct threads {
    thread   list[MAX_THREADS];
    uint32_t n;
    bool     end; /* one has reached the end */
} threads;

struct ds4_grammar_walk {
    const ds4_grammar *g;
    frame             *frames; /* [n_frames] */
    uint32_t           n_frames, cap_frames;
    threads            now, next, spare;
    uint32_t           closure; /* instructions followed since the last byte */
};

static bool same_stack(const ds4_grammar_walk *w, uint32_t a, uint32_t b)
{
    while (a != b) {
        if (a == 0 || b == 0 || w->frames[a].back != w->frames[b].back) return false;
        a = w->frames[a].parent;
        b = w->frames[b].parent;
    }
    return true;
}

static uint32_t push(ds4_grammar_walk *w, uint32_t back, uint32_t parent)
{
    const uint32_t depth = w->frames[parent].depth + 1;

    if (depth > MAX_STACK) return 0;
    if (w->n_frames == w->cap_frames) {
        frame *more = realloc(w->frames, 2 * w->cap_frames * sizeof *more);
        if (!more) return 0;
        w->frames = more;
        w->cap_frames *= 2;
    }
    w->frames[w->n_frames] = (frame){ back, parent, depth };
    return w->n_frames++;
}

/* Follow everything that takes no byte. The depth of this recursion is bounded by the
 * count of instructions that may be followed. */
static void follow(ds4_grammar_walk *w, threads *out, uint32_t at, uint32_t stack, uint32_t depth)
{
    while (depth < 256 && w->closure++ < MAX_CLOSURE) {
        const ds4_grammar_code c = w->g->code[at];
        switch (c.op) {
        case DS4_G_BYTE:
        case DS4_G_MARKER:
            for (uint32_t i = 0; i < out->n; i++) {
                if (out->list[i].at == at && same_stack(w, out->list[i].frame, stack)) return;
            }
            if (out->n < MAX_THREADS) out->list[out->n++] = (thread){ at, stack };
            return;
        case DS4_G_SPLIT:
            follow(w, out, c.a, stack, depth + 1);
            at = c.b;
            break;
        case DS4_G_JUMP: at = c.a; break;
        case DS4_G_CALL:
            stack = push(w, at + 1, stack);
            if (stack == 0) return;
            at = c.a;
            break;
        case DS4_G_RETURN:
            if (stack == 0) {
                out->end = true;
                return;
            }
            at = w->frames[stack].back;
            stack = w->frames[stack].parent;
            break;
        }
    }
}

static void step(ds4_grammar_walk *w, const threads *from, threads *to, int byte)
{
    to->n = 0;
    to->end = false;
    w->closure = 0;
    for (uint32_t i = 0; i < from->n; i++) {
        const ds4_grammar_code c = w->g->code[from->list[i].at];
        const bool             fits =
            byte < 0 ? c.op == DS4_G_MARKER
                                 : c.op == DS4_G_BYTE && (w->g->set[c.a].bits[byte / 64] >> byte % 64 & 1);
        if (fits) follow(w, to, from->list[i].at + 1, from->list[i].frame, 0);
    }
}

/* Leaves where the bytes lead in w->next. */
static bool try_bytes(ds4_grammar_walk *w, ds4_slice bytes, bool marker)
{
    const threads *from = &w->now;
    threads       *to = &w->next, *other = &w->spare;

    if (marker) {
        step(w, from, to, -1);
        return to->n > 0 || to->end;
    }
    if (bytes.n_bytes == 0) {
        w->next = w->now;
        return true;
    }
    for (size_t i = 0; i < bytes.n_bytes; i++) {
        step(w, from, to, (unsigned char)bytes.data[i]);
        if (to->n == 0 && !(to->end && i + 1 == bytes.n_bytes)) return false;
        from = to;
        to = other;
        other = (threads *)(uintptr_t)from;
    }
    if (from != &w->next) w->next = *from;
    return true;
}

bool ds4_grammar_fits(ds4_grammar_walk *w, ds4_slice bytes, bool marker)
{
    const uint32_t n_frames = w->n_frames;
    const bool     fits = try_bytes(w, bytes, marker);

    w->n_frames = n_frames;
    return fits;
}

/* Frames that no thread stands on are given up: live chains are copied to the front. */
static void compact(ds4_grammar_walk *w)
{
    frame   *kept = malloc((MAX_THREADS * MAX_STACK + 1) * sizeof *kept);
    uint32_t n = 1;

    if (!kept) return;
    kept[0] = w->frames[0];
    for (uint32_t i = 0; i < w->now.n; i++) {
        uint32_t chain[MAX_STACK + 1], depth = 0, at = w->now.list[i].frame, parent = 0;
        for (; at != 0 && depth <= MAX_STACK; at = w->frames[at].parent) chain[depth++] = at;
        while (depth > 0) {
            kept[n] = (frame){ w->frames[chain[--depth]].back, parent, kept[parent].depth + 1 };
            parent = n++;
        }
        w->now.list[i].frame = parent;
    }
    free(w->frames);
    w->frames = kept;
    w->n_frames = n;
    w->cap_frames = MAX_THREADS * MAX_STACK + 1;
}

bool ds4_grammar_take(ds4_grammar_walk *w, ds4_slice bytes, bool marker)
{
    const uint32_t n_frames = w->n_frames;

    if (!try_bytes(w, bytes, marker)) {
        w->n_frames = n_frames;
        return false;
    }
    w->now = w->next;
    if (w->n_frames > 4096) compact(w);
    return true;
}

bool ds4_grammar_may_end(const ds4_grammar_walk *w)
{
    return w->now.end;
}

bool ds4_grammar_must_end(const ds4_grammar_walk *w)
{
    return w->now.n == 0;
}

ds4_status ds4_grammar_walk_create(const ds4_grammar *g, ds4_grammar_walk **out, ds4_err *err)
{
    ds4_grammar_walk *w = calloc(1, sizeof *w);

    if (!w) return ds4_fail(err, DS4_E_NOMEM, "no memory for a grammar");
    w->g = g;
    w->cap_frames = 256;
    w->frames = calloc(w->cap_frames, sizeof *w->frames);
    if (!w->frames) {
        free(w);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a grammar");
    }
    w->n_frames = 1;
    follow(w, &w->now, g->start, 0, 0);
    *out = w;
    return DS4_OK;
}

void ds4_grammar_walk_free(ds4_grammar_walk *w)
{
    if (!w) return;
    free(w->frames);
    free(w);
}
