/* kv_list.c - ds4 kv ls and show: what is kept. */
#include "app/cli/kv.h"
#include "format/gguf_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- the tree in memory -------------------------------------------------------------------- */

typedef struct model_row {
    int64_t id;
    char    name[64];
} model_row;

typedef struct block_row {
    int64_t  id;
    uint32_t up;                    /* index + 1; 0: none */
    uint64_t size;
    ds4_str  text;
} block_row;

typedef struct tail_row {
    ds4_index_tail row;             /* slices are not valid any more */
    uint32_t       at;              /* index of its block + 1; 0: none */
    ds4_str        text;
} tail_row;

typedef struct tree {
    model_row *model;
    block_row *block;
    tail_row  *tail;
    uint32_t   n_models, n_blocks, n_tails;
    bool       failed;
} tree;

/* Room for one more; arrays double at powers of two. */
static void *grown(void *items, uint32_t n, size_t item_bytes, bool *failed)
{
    if (n & (n - 1)) return items;
    void *grew = realloc(items, (n ? 2ull * n : 1) * item_bytes);
    if (!grew) *failed = true;
    return grew ? grew : items;
}

static uint32_t find_block(const tree *t, int64_t id)
{
    uint32_t low = 0, high = t->n_blocks;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (t->block[middle].id < id) low = middle + 1;
        else high = middle;
    }
    return low < t->n_blocks && t->block[low].id == id ? low + 1 : 0;
}

static bool add_model(void *ctx, const ds4_index_model *m)
{
    tree *t = ctx;

    t->model = grown(t->model, t->n_models, sizeof *t->model, &t->failed);
    if (t->failed) return false;
    model_row *row = &t->model[t->n_models++];
    row->id = m->id;
    snprintf(row->name, sizeof row->name, "%.*s", (int)(m->name.n_bytes < 60 ? m->name.n_bytes : 60),
             m->name.n_bytes ? m->name.data : "");
    return true;
}

static bool add_block(void *ctx, const ds4_index_block *b)
{
    tree *t = ctx;

    t->block = grown(t->block, t->n_blocks, sizeof *t->block, &t->failed);
    if (t->failed) return false;
    block_row *row = &t->block[t->n_blocks];
    *row = (block_row){ .id = b->id, .up = find_block(t, b->parent), .size = b->size };
    ds4_str_add(&row->text, b->text.data, b->text.n_bytes);
    t->n_blocks++;
    return true;
}

static bool add_tail(void *ctx, const ds4_index_tail *x)
{
    tree *t = ctx;

    t->tail = grown(t->tail, t->n_tails, sizeof *t->tail, &t->failed);
    if (t->failed) return false;
    tail_row *row = &t->tail[t->n_tails++];
    *row = (tail_row){ .row = *x, .at = find_block(t, x->block) };
    ds4_str_add(&row->text, x->text.data, x->text.n_bytes);
    return true;
}

static void clear(tree *t)
{
    for (uint32_t i = 0; i < t->n_blocks; i++) ds4_str_clear(&t->block[i].text);
    for (uint32_t i = 0; i < t->n_tails; i++) ds4_str_clear(&t->tail[i].text);
    free(t->model);
    free(t->block);
    free(t->tail);
}

static int read_tree(ds4_store *s, tree *t)
{
    ds4_index *ix = ds4_store_index(s);
    ds4_err    err = { .code = DS4_OK };
    ds4_status st = ds4_index_models(ix, add_model, t, &err);

    if (st == DS4_OK) st = ds4_index_all_blocks(ix, add_block, t, &err);
    if (st == DS4_OK) st = ds4_index_all_tails(ix, add_tail, t, &err);
    if (st == DS4_OK && t->failed) st = ds4_fail(&err, DS4_E_NOMEM, "no memory for the listing");
    return st == DS4_OK ? DS4_EXIT_OK : ds4_app_failed(DS4_KV_NAME, &err);
}

/* The text up to a tail. */
static void text_of(const tree *t, const tail_row *x, ds4_str *out)
{
    uint32_t  n = 0;
    uint32_t *way = malloc((t->n_blocks + 1ull) * sizeof *way);

    for (uint32_t at = x->at; way && at; at = t->block[at - 1].up) way[n++] = at - 1;
    while (n > 0) {
        const ds4_str *text = &t->block[way[--n]].text;
        ds4_str_add(out, text->data, text->n_bytes);
    }
    free(way);
    ds4_str_add(out, x->text.data, x->text.n_bytes);
}

/* ---- ls ---------------------------------------------------------------------------------------- */

static const char *model_name(const tree *t, int64_t id)
{
    for (uint32_t i = 0; i < t->n_models; i++) {
        if (t->model[i].id == id && t->model[i].name[0]) return t->model[i].name;
    }
    return "?";
}

static const char *kind_name(ds4_tail_kind kind)
{
    return kind == DS4_TAIL_ANCHOR ? "system" : kind == DS4_TAIL_WAY ? "way" : "turn";
}

static void age(int64_t used_ms, char text[24])
{
    const int64_t s = (int64_t)time(NULL) - used_ms / 1000;

    if (s < 120) snprintf(text, 24, "%llds", (long long)(s < 0 ? 0 : s));
    else if (s < 7200) snprintf(text, 24, "%lldm", (long long)(s / 60));
    else if (s < 48 * 3600) snprintf(text, 24, "%lldh", (long long)(s / 3600));
    else snprintf(text, 24, "%lldd", (long long)(s / 86400));
}

enum { SHOWN_BYTES = 48, SHOWN_KEY = 8 };

/* The last words are what tells conversations apart. */
static void print_row(const tree *t, const tail_row *x)
{
    char    key[DS4_KV_KEY_TEXT], used[24];
    ds4_str text = { 0 }, clean = { 0 };

    ds4_kv_key_text(&x->row.key, key);
    age(x->row.used, used);
    text_of(t, x, &text);
    const size_t from = text.n_bytes > SHOWN_BYTES ? text.n_bytes - SHOWN_BYTES : 0;
    if (text.n_bytes) {
        ds4_text_clean((ds4_slice){ text.data + from, text.n_bytes - from }, 2 * SHOWN_BYTES, &clean);
    }
    printf("%.*s  %8u  %-6s  %5llu  %5s  %-16.16s  %s\n", SHOWN_KEY, key, x->row.pos,
           kind_name(x->row.kind), (unsigned long long)x->row.hits, used, model_name(t, x->row.model),
           ds4_str_text(&clean));
    ds4_str_clear(&text);
    ds4_str_clear(&clean);
}

static int print_sums(ds4_store *s)
{
    ds4_index_sums sums;
    ds4_err        err = { .code = DS4_OK };

    if (ds4_index_sum(ds4_store_index(s), &sums, &err) != DS4_OK) return ds4_app_failed(DS4_KV_NAME, &err);
    const double mib = 1.0 / (1 << 20);
    printf("%llu positions in %.1f MiB, %llu blocks in %.1f MiB, index %.1f MiB",
           (unsigned long long)sums.n_tails, (double)sums.tail_bytes * mib, (unsigned long long)sums.n_blocks,
           (double)sums.block_bytes * mib, (double)sums.database * mib);
    if (sums.n_responses || sums.n_turns) {
        printf(" with %llu responses and %llu turns of servers", (unsigned long long)sums.n_responses,
               (unsigned long long)sums.n_turns);
    }
    if (sums.reserved) printf(", being written %.1f MiB", (double)sums.reserved * mib);
    if (sums.aside) printf(", damaged and set aside %.1f MiB", (double)sums.aside * mib);
    printf("\n");
    return DS4_EXIT_OK;
}

static int newest_first(const void *a, const void *b)
{
    const tail_row *x = a, *y = b;
    if (x->row.used != y->row.used) return x->row.used > y->row.used ? -1 : 1;
    return x->row.id > y->row.id ? -1 : x->row.id < y->row.id;
}

int ds4_kv_ls(int argc, char **argv)
{
    const char      *dir = NULL;
    const ds4_option options[] = { DS4_KV_DIR_OPTION(&dir), { .kind = DS4_OPTION_END } };
    const ds4_command command = {
        .name = DS4_KV_NAME " ls", .usage = "ds4 kv ls --kv-disk-dir DIR",
        .about = "List the positions that can be resumed, those used last first: name, tokens, why\n"
                 "it was kept, hits, time since its last use, model, and the last words.",
        .options = options,
    };
    ds4_store *s = NULL;
    tree       t = { .failed = false };

    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, NULL, NULL);
    if (parsed != DS4_PARSED_RUN) return parsed == DS4_PARSED_WRONG ? DS4_EXIT_WRONG : DS4_EXIT_OK;
    int code = ds4_kv_open(dir, &s);
    if (code == DS4_EXIT_OK) code = read_tree(s, &t);
    if (code == DS4_EXIT_OK) {
        if (t.n_tails > 0) {
            qsort(t.tail, t.n_tails, sizeof *t.tail, newest_first);
            printf("%-8s  %8s  %-6s  %5s  %5s  %-16s  %s\n", "NAME", "TOKENS", "KIND", "HITS", "USED",
                   "MODEL", "LAST WORDS");
        }
        for (uint32_t i = 0; i < t.n_tails; i++) print_row(&t, &t.tail[i]);
        code = print_sums(s);
    }
    clear(&t);
    ds4_store_close(s);
    return code;
}

/* ---- show -------------------------------------------------------------------------------------- */

static int find_named(const tree *t, const char *name, const tail_row **out)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < t->n_tails; i++) {
        char key[DS4_KV_KEY_TEXT];
        ds4_kv_key_text(&t->tail[i].row.key, key);
        if (strncmp(key, name, strlen(name)) != 0) continue;
        *out = &t->tail[i];
        n++;
    }
    if (n == 1) return DS4_EXIT_OK;
    ds4_app_say(DS4_KV_NAME, n ? "%s is the beginning of several names" : "there is no position %s", name);
    return DS4_EXIT_FAILURE;
}

static void print_text(const tree *t, const tail_row *x)
{
    char    key[DS4_KV_KEY_TEXT];
    ds4_str text = { 0 };

    ds4_kv_key_text(&x->row.key, key);
    text_of(t, x, &text);
    fprintf(stderr, "%s: %u tokens, %s, %llu hits, tail of %llu bytes, %zu bytes of text\n", key,
            x->row.pos, kind_name(x->row.kind), (unsigned long long)x->row.hits,
            (unsigned long long)x->row.size, text.n_bytes);
    /* Control bytes of a conversation must not reach a terminal. */
    for (size_t i = 0; i < text.n_bytes; i++) {
        const unsigned char c = (unsigned char)text.data[i];
        putchar((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? '?' : c);
    }
    putchar('\n');
    ds4_str_clear(&text);
}

int ds4_kv_show(int argc, char **argv)
{
    const char      *dir = NULL, *name = NULL;
    uint32_t         n_words = 0;
    const ds4_option options[] = { DS4_KV_DIR_OPTION(&dir), { .kind = DS4_OPTION_END } };
    const ds4_command command = {
        .name = DS4_KV_NAME " show", .usage = "ds4 kv show --kv-disk-dir DIR NAME",
        .about = "Print the text that a position stands for. A name may be cut short.",
        .options = options, .min_words = 1, .max_words = 1,
    };
    ds4_store      *s = NULL;
    tree            t = { .failed = false };
    const tail_row *x = NULL;

    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, &name, &n_words);
    if (parsed != DS4_PARSED_RUN) return parsed == DS4_PARSED_WRONG ? DS4_EXIT_WRONG : DS4_EXIT_OK;
    int code = ds4_kv_open(dir, &s);
    if (code == DS4_EXIT_OK) code = read_tree(s, &t);
    if (code == DS4_EXIT_OK) code = find_named(&t, name, &x);
    if (code == DS4_EXIT_OK) print_text(&t, x);
    clear(&t);
    ds4_store_close(s);
    return code;
}
