/* texts.c - see texts.h. */
#include "app/eval/texts.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/sha256.h"

enum { MAX_DEPTH = 32, MAX_FILE_BYTES = 64 << 20, LOOK_BYTES = 8192 };

/* ---- files ------------------------------------------------------------------------------------ */

/* Gets a path and the file's bytes. */
typedef ds4_status file_fn(void *ctx, const char *path, ds4_slice text, ds4_err *err);

typedef struct visit {
    file_fn          *fn;
    void             *ctx;
    uint32_t         *n_skipped;
} visit;

static bool is_text(ds4_slice s)
{
    return s.n_bytes > 0 && !memchr(s.data, 0, s.n_bytes < LOOK_BYTES ? s.n_bytes : LOOK_BYTES);
}

static ds4_status visit_file(const visit *v, const char *path, ds4_err *err)
{
    ds4_str text = { 0 };

    ds4_status st = ds4_file_read(path, MAX_FILE_BYTES, &text, err);
    const ds4_slice all = { ds4_str_text(&text), text.n_bytes };
    if (st == DS4_OK && is_text(all)) st = v->fn(v->ctx, path, all, err);
    else if (st == DS4_OK) ++*v->n_skipped;
    ds4_str_clear(&text);
    return st;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a folder, sorted; *n is how many. The caller frees all of them. */
static ds4_status list(const char *path, char ***out, size_t *n, ds4_err *err)
{
    DIR       *dir = opendir(path);
    char     **names = NULL;
    size_t     capacity = 0;
    bool       failed = false;

    *out = NULL;
    *n = 0;
    if (!dir) return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
    for (struct dirent *e; !failed && (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        if (*n == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            char **larger = realloc((void *)names, capacity * sizeof *names);
            failed = !larger;
            if (larger) names = larger;
        }
        if (!failed) failed = !(names[*n] = strdup(e->d_name));
        if (!failed) ++*n;
    }
    closedir(dir);
    *out = names;
    if (failed) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its names", path);
    if (*n) qsort((void *)names, *n, sizeof *names, compare);
    return DS4_OK;
}

static ds4_status visit_path(const visit *v, const char *path, uint32_t depth, ds4_err *err);

static ds4_status visit_folder(const visit *v, const char *path, uint32_t depth, ds4_err *err)
{
    char **names = NULL;
    size_t n = 0;

    ds4_status st = list(path, &names, &n, err);
    for (size_t i = 0; i < n; i++) {
        ds4_str inner = { 0 };
        ds4_str_addf(&inner, "%s/%s", path, names[i]);
        if (st == DS4_OK) st = visit_path(v, ds4_str_text(&inner), depth + 1, err);
        ds4_str_clear(&inner);
        free(names[i]);
    }
    free((void *)names);
    return st;
}

/* Links below a folder are passed over, so that nothing is read twice or for ever. */
static ds4_status visit_path(const visit *v, const char *path, uint32_t depth, ds4_err *err)
{
    struct stat st;

    if (strcmp(path, "-") == 0) return visit_file(v, path, err);
    if ((depth ? lstat : stat)(path, &st) != 0) {
        return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
    }
    if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH) return visit_folder(v, path, depth, err);
    const bool fits = S_ISREG(st.st_mode) && st.st_size <= MAX_FILE_BYTES;
    if (fits || (depth == 0 && !S_ISDIR(st.st_mode))) return visit_file(v, path, err);
    ++*v->n_skipped;
    return DS4_OK;
}

static ds4_status visit_all(const ds4_option_texts *paths, file_fn *fn, void *ctx,
                            uint32_t *n_skipped, ds4_err *err)
{
    const visit v = { fn, ctx, n_skipped };

    for (uint32_t i = 0; i < paths->n; i++) DS4_TRY(visit_path(&v, paths->item[i], 0, err));
    return DS4_OK;
}

/* ---- chunks ------------------------------------------------------------------------------------ */

typedef struct reading {
    ds4_eval_texts     *out;
    const ds4_vocab    *v;
    const ds4_eval_cut *cut;
} reading;

static bool is_full(const reading *r)
{
    return r->cut->n_chunks && r->out->n >= r->cut->n_chunks;
}

static ds4_status add_chunk(const reading *r, const int32_t *ids, uint32_t n, ds4_err *err)
{
    ds4_eval_texts *t = r->out;
    const int32_t   bos = ds4_vocab_specials(r->v)->bos;

    if (t->n == t->capacity) {
        const uint32_t capacity = t->capacity ? 2 * t->capacity : 256;
        uint32_t      *end = realloc(t->end, capacity * sizeof *end);
        if (!end) return ds4_fail(err, DS4_E_NOMEM, "no memory for %u texts", capacity);
        t->end = end;
        t->capacity = capacity;
    }
    if (bos >= 0 && ids[0] != bos) ds4_tokens_add(&t->tokens, bos);
    ds4_tokens_append(&t->tokens, ids, n);
    if (t->tokens.failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for the tokens of the texts");
    t->end[t->n++] = t->tokens.n;
    return DS4_OK;
}

/* One prompt: pieces of n_ctx tokens, the beginning of a text included. */
static ds4_status add_prompt(const reading *r, ds4_slice text, ds4_err *err)
{
    ds4_tokens     ids = { 0 };
    const unsigned flags = r->cut->specials ? DS4_ENCODE_SPECIALS : 0;

    ds4_status st = ds4_vocab_encode(r->v, text.data, text.n_bytes, flags, &ids, err);
    for (uint32_t at = 0; st == DS4_OK && at < ids.n && !is_full(r);) {
        const bool     begins = ids.ids[at] == ds4_vocab_specials(r->v)->bos;
        const uint32_t most = r->cut->n_ctx - !begins;
        const uint32_t n = ids.n - at < most ? ids.n - at : most;
        st = add_chunk(r, ids.ids + at, n, err);
        at += n;
    }
    ds4_tokens_clear(&ids);
    return st;
}

static ds4_status add_file(void *ctx, const char *path, ds4_slice text, ds4_err *err)
{
    const reading *r = ctx;
    const size_t   n_mark = strlen(DS4_EVAL_SEPARATOR);
    size_t         from = 0;

    (void)path;
    r->out->n_files++;
    for (size_t at = 0; at <= text.n_bytes && !is_full(r);) {
        const bool ends = at == text.n_bytes;
        const bool mark =
            !ends && text.n_bytes - at >= n_mark && memcmp(text.data + at, DS4_EVAL_SEPARATOR, n_mark) == 0;
        if ((ends || mark) && at > from) {
            const size_t n = at - from - (mark ? 1 : 0);        /* the newline belongs to the mark */
            if (n) DS4_TRY(add_prompt(r, (ds4_slice){ text.data + from, n }, err));
        }
        if (ends) break;
        const char *line_end = memchr(text.data + at, '\n', text.n_bytes - at);
        at = line_end ? (size_t)(line_end - text.data) + 1 : text.n_bytes;
        if (mark) from = at;
    }
    return DS4_OK;
}

ds4_status ds4_eval_texts_read(ds4_eval_texts *out, const ds4_vocab *v, const ds4_option_texts *paths,
                               const ds4_eval_cut *cut, ds4_err *err)
{
    reading r = { out, v, cut };

    DS4_TRY(visit_all(paths, add_file, &r, &out->n_skipped, err));
    if (out->n > 0) return DS4_OK;
    return ds4_fail(err, DS4_E_ARG, "%s: no text in it", paths->n ? paths->item[0] : "no file");
}

void ds4_eval_texts_clear(ds4_eval_texts *t)
{
    ds4_tokens_clear(&t->tokens);
    free(t->end);
    *t = (ds4_eval_texts){ 0 };
}

const int32_t *ds4_eval_chunk(const ds4_eval_texts *t, uint32_t i, uint32_t *n)
{
    const uint32_t from = i ? t->end[i - 1] : 0;

    *n = t->end[i] - from;
    return t->tokens.ids + from;
}

void ds4_eval_texts_digest(const ds4_eval_texts *t, char out[65])
{
    uint8_t parts[2][DS4_SHA256_BYTES], all[DS4_SHA256_BYTES];

    ds4_sha256(t->tokens.ids, t->tokens.n * sizeof *t->tokens.ids, parts[0]);
    ds4_sha256(t->end, t->n * sizeof *t->end, parts[1]);
    ds4_sha256(parts, sizeof parts, all);
    ds4_sha256_text(all, out);
}
