/* agent_session.c - sessions of the agent: a folder for each, with a journal and what files held before. */
#include "agent/agent_local.h"

#include "agent/copy_tree.h"
#include "base/rng.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    ID_DIGITS = 8,
    MAX_SESSIONS = 10000,
    MAX_LISTED = 100,
    PEEK_BYTES = 1 << 18, /* of a journal: its first message lies there */
    NOTES_BYTES = 8192,
};

/* ---- tools ---------------------------------------------------------------------------------- */

static ds4_status undo_dir(const ds4_agent *a, ds4_str *out, ds4_err *err)
{
    ds4_str_addf(out, "%s/undo", a->talk.dir);
    return out->failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for a path") : DS4_OK;
}

static void stop_tools(void *ctx)
{
    ds4_tools_cancel(ctx);
}

ds4_status ds4_agent_open_tools(ds4_agent *a, const char *root, ds4_err *err)
{
    const ds4_tools_options how = { .root = root,
                                    .mode = a->opt.mode,
                                    .allow_secrets = a->opt.allow_secrets,
                                    .ask = a->opt.front.ask,
                                    .ask_ctx = a->opt.front.ctx,
                                    .limits = a->opt.limits };
    ds4_tools              *tools = NULL;

    DS4_TRY(ds4_tools_open(&how, &tools, err));
    ds4_status st = a->opt.add_tools ? a->opt.add_tools(a->opt.add_tools_ctx, tools, err) : DS4_OK;
    ds4_str_truncate(&a->notes, 0);
    if (st == DS4_OK && !a->opt.no_notes) st = ds4_tools_notes(tools, NOTES_BYTES, &a->notes, err);
    if (st != DS4_OK) {
        ds4_tools_close(tools);
        return st;
    }
    ds4_inbox_on_stop(a->inbox, stop_tools, tools);
    ds4_tools_close(a->tools);
    a->tools = tools;
    return DS4_OK;
}

static ds4_status use_undo(ds4_agent *a, ds4_err *err)
{
    ds4_str    dir = { 0 };
    ds4_status st = undo_dir(a, &dir, err);

    if (st == DS4_OK) st = ds4_tools_set_undo(a->tools, dir.data, err);
    ds4_str_clear(&dir);
    if (st == DS4_OK) ds4_tools_set_mode(a->tools, a->talk.planning ? DS4_TOOLS_READ_ONLY : a->opt.mode);
    return st;
}

/* ---- folders -------------------------------------------------------------------------------- */

static ds4_status path_of(const ds4_agent *a, const char *id, ds4_str *out, ds4_err *err)
{
    ds4_str_addf(out, "%s/%s", a->opt.dir, id);
    return out->failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for a path") : DS4_OK;
}

static bool is_id(const char *name)
{
    const size_t n = strspn(name, "0123456789abcdef");
    return n >= 1 && n <= ID_DIGITS && name[n] == '\0';
}

/* A folder's path that nobody has. */
static ds4_status free_path(ds4_agent *a, ds4_str *out, ds4_err *err)
{
    ds4_rng     rng;
    struct stat facts;
    char        id[ID_DIGITS + 1];

    ds4_rng_seed(&rng, (uint64_t)time(NULL) << 24 ^ (uint64_t)getpid() << 8 ^ (uintptr_t)a);
    do {
        snprintf(id, sizeof id, "%08x", (unsigned)(ds4_rng_next(&rng) >> 32));
        ds4_str_truncate(out, 0);
        DS4_TRY(path_of(a, id, out, err));
    } while (lstat(out->data, &facts) == 0);
    return DS4_OK;
}

/* The one id that begins so. */
static ds4_status complete_id(const ds4_agent *a, const char *begin, ds4_str *out, ds4_err *err)
{
    DIR           *d = is_id(begin) ? opendir(a->opt.dir) : NULL;
    struct dirent *e;
    uint32_t       n = 0;

    while (d && (e = readdir(d))) {
        if (!is_id(e->d_name) || strlen(e->d_name) != ID_DIGITS) continue;
        if (strncmp(e->d_name, begin, strlen(begin)) != 0) continue;
        ds4_str_truncate(out, 0);
        ds4_str_add_text(out, e->d_name);
        n++;
    }
    if (d) closedir(d);
    if (out->failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for an id");
    if (n == 1) return DS4_OK;
    return ds4_fail(err, DS4_E_ARG,
                    n == 0 ? "there is no session %.40s; /list shows them"
                           : "more than one session begins with %.40s",
                    begin);
}

/* ---- a session ------------------------------------------------------------------------------ */

static int remove_one(const char *path, const struct stat *facts, int type, struct FTW *at)
{
    (void)facts;
    (void)type;
    (void)at;
    return remove(path);
}

/* Nothing was said in it: it need not stay. */
static void remove_empty(const ds4_talk *t)
{
    if (!t->dir || !t->journal || t->n_items > 0 || t->n_queue > 0) return;
    nftw(t->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void ds4_agent_close_session(ds4_agent *a)
{
    remove_empty(&a->talk);
    ds4_talk_close(&a->talk);
}

/* The session that is left for another one; messages that wait go along. */
static void leave_session(ds4_agent *a)
{
    const uint32_t n = ds4_inbox_unkeep(a->inbox);
    ds4_err        err;

    for (uint32_t i = 0; i < n; i++) {
        if (ds4_talk_unqueue(&a->talk, true, &err) != DS4_OK) break;
    }
    ds4_agent_close_session(a);
}

/* Messages that waited when a process ended wait again. */
static ds4_status restore_queue(ds4_agent *a, ds4_err *err)
{
    for (uint32_t i = 0; i < a->talk.n_queue; i++) {
        const ds4_str *text = &a->talk.queue[i];
        if (!ds4_inbox_restore(a->inbox, (ds4_slice){ ds4_str_text(text), text->n_bytes })) {
            return ds4_fail(err, DS4_E_NOMEM, "no memory for messages that wait");
        }
    }
    return DS4_OK;
}

ds4_status ds4_agent_new_session(ds4_agent *a, ds4_err *err)
{
    const ds4_turn_text   how = ds4_agent_text(a);
    const ds4_model_info *model = ds4_engine_info(a->opt.engine);
    const ds4_talk_meta   meta = { .model = *model->name ? model->name : model->path,
                                   .root = ds4_tools_root(a->tools),
                                   .vocabulary = a->vocabulary,
                                   .created = (uint64_t)time(NULL) };
    ds4_str               path = { 0 };
    ds4_tokens            base = { 0 };
    ds4_talk              talk = { 0 };
    ds4_status            st = ds4_turn_base(&how, &base, err);

    if (st == DS4_OK && base.n + base.n / 2 > a->opt.n_ctx) {
        st = ds4_fail(err, DS4_E_LIMIT, "instructions and tools take %u tokens: give more context than %u",
                      base.n, a->opt.n_ctx);
    }
    if (st == DS4_OK) st = free_path(a, &path, err);
    if (st == DS4_OK) st = ds4_talk_create(&talk, path.data, model->n_vocab, &meta, &base, err);
    ds4_str_clear(&path);
    ds4_tokens_clear(&base);
    if (st != DS4_OK) {
        ds4_talk_close(&talk);
        return st;
    }
    if (a->talk.dir) leave_session(a);
    a->talk = talk;
    return use_undo(a, err);
}

/* Its state in memory or on disk comes to the seat at once: the first message need not wait for it. */
static void bring(ds4_agent *a)
{
    ds4_err err;

    if (a->talk.tokens.n < 2 || a->talk.tokens.n + 1 >= a->opt.n_ctx) return;
    if (ds4_agent_take_prompt(a, &a->talk.tokens, &err) != DS4_OK) ds4_agent_error(a, &err);
}

ds4_status ds4_agent_open_session(ds4_agent *a, const char *begin, ds4_err *err)
{
    const uint32_t n_vocab = ds4_engine_info(a->opt.engine)->n_vocab;
    ds4_str        id = { 0 }, path = { 0 };
    ds4_talk       talk = { 0 };
    ds4_status     st = complete_id(a, begin, &id, err);

    if (st == DS4_OK && a->talk.id && strcmp(a->talk.id, id.data) == 0) {
        ds4_str_clear(&id);
        return DS4_OK;
    }
    if (st == DS4_OK) st = path_of(a, id.data, &path, err);
    if (st == DS4_OK) st = ds4_talk_open(&talk, path.data, n_vocab, err);
    if (st == DS4_OK && strcmp(ds4_str_text(&talk.vocabulary), a->vocabulary) != 0) {
        st = ds4_fail(err, DS4_E_UNSUPPORTED,
                      "session %s was held with %.100s, whose vocabulary is another one", id.data,
                      ds4_str_text(&talk.model));
    }
    if (st == DS4_OK && strcmp(ds4_str_text(&talk.root), ds4_tools_root(a->tools)) != 0) {
        st = ds4_agent_open_tools(a, ds4_str_text(&talk.root), err);
    }
    ds4_str_clear(&id);
    ds4_str_clear(&path);
    if (st != DS4_OK) {
        ds4_talk_close(&talk);
        return st;
    }
    if (a->talk.dir) leave_session(a);
    a->talk = talk;
    DS4_TRY(use_undo(a, err));
    DS4_TRY(restore_queue(a, err));
    bring(a);
    return DS4_OK;
}

/* The earlier contents of files go along, so that the copy can be undone too. */
static ds4_status fork_undo(const ds4_agent *a, const char *dir, ds4_err *err)
{
    ds4_str    from = { 0 }, to = { 0 };
    ds4_status st = undo_dir(a, &from, err);

    ds4_str_addf(&to, "%s/undo", dir);
    if (st == DS4_OK && to.failed) st = ds4_fail(err, DS4_E_NOMEM, "no memory for a path");
    if (st == DS4_OK) st = ds4_copy_tree(from.data, to.data, err);
    ds4_str_clear(&from);
    ds4_str_clear(&to);
    return st;
}

ds4_status ds4_agent_fork_session(ds4_agent *a, ds4_err *err)
{
    ds4_str    path = { 0 };
    ds4_status st = free_path(a, &path, err);

    if (st == DS4_OK) st = ds4_talk_fork(&a->talk, path.data, err);
    if (st == DS4_OK) st = fork_undo(a, path.data, err);
    if (st == DS4_OK) st = ds4_agent_open_session(a, strrchr(path.data, '/') + 1, err);
    ds4_str_clear(&path);
    return st;
}

/* ---- the list ------------------------------------------------------------------------------- */

typedef struct entry {
    char     id[ID_DIGITS + 1];
    time_t   used;
    uint64_t n_bytes;
} entry;

static int newest_first(const void *x, const void *y)
{
    const entry *a = x, *b = y;
    return a->used < b->used ? 1 : a->used > b->used ? -1 : strcmp(a->id, b->id);
}

static ds4_status read_entries(const ds4_agent *a, entry **out, uint32_t *n_out, ds4_err *err)
{
    DIR           *d = opendir(a->opt.dir);
    struct dirent *e;
    entry         *list = NULL;
    uint32_t       n = 0;
    ds4_str        path = { 0 };

    while (d && (e = readdir(d)) && n < MAX_SESSIONS) {
        struct stat facts;
        if (!is_id(e->d_name) || strlen(e->d_name) != ID_DIGITS) continue;
        ds4_str_truncate(&path, 0);
        ds4_str_addf(&path, "%s/%s/journal", a->opt.dir, e->d_name);
        if (path.failed || lstat(path.data, &facts) != 0 || !S_ISREG(facts.st_mode)) continue;
        entry *more = realloc(list, (n + 1) * sizeof *more);
        if (!more) break;
        list = more;
        memcpy(list[n].id, e->d_name, ID_DIGITS + 1);
        list[n].used = facts.st_mtime;
        list[n++].n_bytes = (uint64_t)facts.st_size;
    }
    ds4_str_clear(&path);
    if (!d) return ds4_fail(err, DS4_E_IO, "%s: %s", a->opt.dir, strerror(errno));
    closedir(d);
    if (n > 0) qsort(list, n, sizeof *list, newest_first);
    *out = list;
    *n_out = n;
    return DS4_OK;
}

/* The beginning of a session; what cannot be read is left out. */
static bool peek(const ds4_agent *a, const char *id, ds4_talk *t)
{
    ds4_str path = { 0 }, content = { 0 };
    ds4_err err;

    *t = (ds4_talk){ 0 };
    ds4_status st = path_of(a, id, &path, &err);
    ds4_str_add_text(&path, "/journal");
    if (st == DS4_OK && path.failed) st = DS4_E_NOMEM;
    if (st == DS4_OK) st = ds4_journal_peek(path.data, PEEK_BYTES, &content, &err);
    if (st == DS4_OK) st = ds4_talk_load(t, (ds4_slice){ content.data, content.n_bytes }, INT32_MAX, &err);
    ds4_str_clear(&path);
    ds4_str_clear(&content);
    return st == DS4_OK && t->n_base > 0;
}

static void age(time_t used, char out[32])
{
    const double s = difftime(time(NULL), used);

    if (s < 60) snprintf(out, 32, "just now");
    else if (s < 3600) snprintf(out, 32, "%d min ago", (int)(s / 60));
    else if (s < 86400) snprintf(out, 32, "%d h ago", (int)(s / 3600));
    else snprintf(out, 32, "%d days ago", (int)(s / 86400));
}

ds4_status ds4_agent_list_sessions(ds4_agent *a, ds4_err *err)
{
    entry   *list = NULL;
    uint32_t n = 0, n_shown = 0;

    DS4_TRY(read_entries(a, &list, &n, err));
    for (uint32_t i = 0; i < n && n_shown < MAX_LISTED; i++) {
        ds4_talk t;
        ds4_str  title = { 0 };
        char     when[32];
        if (peek(a, list[i].id, &t) && t.n_items > 0) {
            ds4_talk_title(&t, &title);
            age(list[i].used, when);
            ds4_agent_note(a, "%c %s  %s  %.200s  [%.200s]",
                           a->talk.id && strcmp(a->talk.id, list[i].id) == 0 ? '*' : ' ', list[i].id, when,
                           ds4_str_text(&title), ds4_str_text(&t.root));
            n_shown++;
        }
        ds4_str_clear(&title);
        ds4_talk_close(&t);
    }
    if (n_shown == 0) ds4_agent_note(a, "no sessions yet");
    free(list);
    return DS4_OK;
}

ds4_status ds4_agent_last_session(ds4_agent *a, ds4_str *id, ds4_err *err)
{
    entry   *list = NULL;
    uint32_t n = 0;

    DS4_TRY(read_entries(a, &list, &n, err));
    for (uint32_t i = 0; i < n && id->n_bytes == 0; i++) {
        ds4_talk t;
        if (peek(a, list[i].id, &t) && t.n_items > 0
            && strcmp(ds4_str_text(&t.root), ds4_tools_root(a->tools)) == 0) {
            ds4_str_add_text(id, list[i].id);
        }
        ds4_talk_close(&t);
    }
    free(list);
    if (id->n_bytes > 0) return DS4_OK;
    return ds4_fail(err, DS4_E_ARG, "there is no session of %.300s yet", ds4_tools_root(a->tools));
}
