/* tool_bash.c - the tools bash, job and git: commands in the sandbox. */
#include "agent/tools_local.h"

#include "agent/walk.h"
#include "base/clock.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_COMMAND = 64 << 10, MOST_SECONDS = 3600, MOST_LINKS = 1000, MOST_LINK_BYTES = 256 << 20 };
static const uint64_t second_ns = 1000000000;

/* ---- names that lead outside ---------------------------------------------------------------- */

typedef struct linked {
    uint64_t device, inode;
    unsigned n_names, n_here;
    char    *name;                  /* the first one that was met */
} linked;

typedef struct links {
    linked *link;
    size_t  n, capacity;
    bool    too_many;
} links;

static ds4_walk_next count_links(void *ctx, const ds4_walk_entry *e)
{
    links *l = ctx;

    if (!S_ISREG(e->st->st_mode) || e->st->st_nlink < 2) return DS4_WALK_ON;
    for (size_t i = 0; i < l->n; i++) {
        if (l->link[i].inode != e->st->st_ino || l->link[i].device != e->st->st_dev) continue;
        l->link[i].n_here++;
        return DS4_WALK_ON;
    }
    if (l->n == 2 * MOST_LINKS) {
        l->too_many = true;
        return DS4_WALK_STOP;
    }
    if (l->n == l->capacity) {
        const size_t n = l->capacity ? 2 * l->capacity : 64;
        linked      *more = realloc(l->link, n * sizeof *more);
        if (!more) return DS4_WALK_STOP;
        l->link = more;
        l->capacity = n;
    }
    l->link[l->n++] = (linked){ e->st->st_dev, e->st->st_ino, (unsigned)e->st->st_nlink, 1, strdup(e->name) };
    return DS4_WALK_ON;
}

/* Give the name a copy of its own, so that its content is shared with no name outside. */
static bool unshare(const ds4_root *root, const char *name)
{
    char           piece[65536], temp[64];
    const char    *last = NULL;
    int            dir = -1;
    struct stat    st;
    ssize_t        n = 0;

    if (ds4_root_open_parent(root, name, false, &dir, &last, NULL) != DS4_OK) return false;
    const int from = openat(dir, last, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    snprintf(temp, sizeof temp, ".ds4-%ld-999.part", (long)getpid());
    const int to = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool      ok = from >= 0 && to >= 0 && fstat(from, &st) == 0;
    while (ok && (n = read(from, piece, sizeof piece)) > 0) ok = write(to, piece, (size_t)n) == n;
#ifdef __APPLE__
    const struct timespec times[2] = { st.st_atimespec, st.st_mtimespec };
#else
    const struct timespec times[2] = { st.st_atim, st.st_mtim };
#endif
    ok = ok && n == 0 && fchmod(to, st.st_mode & 0777) == 0 && futimens(to, times) == 0 &&
         renameat(dir, temp, dir, last) == 0;
    if (!ok && to >= 0) unlinkat(dir, temp, 0);
    if (from >= 0) close(from);
    if (to >= 0) close(to);
    close(dir);
    return ok;
}

/* Files that have another name outside of the root get a copy of their own before the first command: by such
 * a name a command could write outside. */
static void separate_links(ds4_tools *t)
{
    links                  l = { 0 };
    ds4_walk_end           end;
    const ds4_walk_options opt = { .all = true, .git = true, .see = count_links, .ctx = &l };
    size_t                 n_left = 0;

    (void)!ds4_walk(t->root, ".", &opt, &end, NULL);
    for (size_t i = 0; i < l.n; i++) {
        const bool outside = l.link[i].n_here < l.link[i].n_names;
        /* Names that are met only once are all that is copied: the others would part ways. */
        if (outside && (l.too_many || !l.link[i].name || l.link[i].n_here > 1 ||
                        !unshare(t->root, l.link[i].name)))
            n_left++;
        free(l.link[i].name);
    }
    free(l.link);
    t->links_checked = true;
    t->n_links_left = n_left + l.too_many;
}

/* ---- what a command changed ------------------------------------------------------------------- */

typedef struct changes {
    tool_run *r;
    ds4_str   names;
    size_t    n, n_lost;
} changes;

static bool of_git(const char *name)
{
    return strncmp(name, ".git/", 5) == 0 || strstr(name, "/.git/") != NULL;
}

static void note_change(void *ctx, const ds4_undo_change *c)
{
    enum { MOST_NAMED = 20, MOST_CHANGES = 50 };
    changes *x = ctx;

    if (of_git(c->name)) return;
    x->n_lost += !c->kept;
    if (x->n++ < MOST_NAMED)
        ds4_str_addf(&x->names, "%s%s%s", x->n > 1 ? ", " : "", c->made ? "+" : c->removed ? "-" : "",
                     c->name);
    if (c->is_text && x->r && x->r->result->n_changes < MOST_CHANGES)
        tool_add_change(x->r, c->name, c->before, c->after, c->made, c->removed);
}

static bool any_running(const ds4_tools *t)
{
    for (size_t i = 0; i < TOOLS_MOST_JOBS; i++) {
        if (t->job[i].id && t->job[i].job && ds4_shell_job_wait(t->job[i].job, 0, NULL, NULL, NULL).running)
            return true;
    }
    return false;
}

/* Look at the tree after a command, or while jobs run. */
static ds4_status look(ds4_tools *t, tool_run *r, ds4_str *told, ds4_err *err)
{
    changes    x = { .r = r };
    ds4_str    names = { 0 };
    const bool running = any_running(t);
    ds4_status rc = DS4_OK;

    if (t->guard && guard_check(t->guard, t->root, &names) > 0 && told)
        ds4_str_addf(told, "[Settings and hooks of git cannot be changed by commands; put back: %s]\n",
                     ds4_str_text(&names));
    ds4_str_clear(&names);
    if (!running) {
        guard_free(t->guard);
        t->guard = NULL;
    }
    if (t->undo) rc = ds4_undo_end(t->undo, running, note_change, &x, err);
    if (told && x.n > 0)
        ds4_str_addf(told, "[Changed files: %s%s]\n", ds4_str_text(&x.names), x.n > 20 ? " and more" : "");
    if (told && x.n_lost) ds4_str_addf(told, "[%zu of them cannot be restored by undo]\n", x.n_lost);
    ds4_str_clear(&x.names);
    return rc;
}

ds4_status tools_settle(ds4_tools *t, ds4_err *err)
{
    for (size_t i = 0; i < TOOLS_MOST_JOBS; i++) {
        if (t->job[i].id) return look(t, NULL, NULL, err);
    }
    return DS4_OK;
}

/* ---- may it run? ---------------------------------------------------------------------------------- */

static bool may_run(tool_run *r, const char *command, bool network, ds4_confine_options *opt)
{
    ds4_tools *t = r->t;
    const bool none = ds4_sandbox_get_kind(t->sandbox) == DS4_SANDBOX_NONE;
    ds4_str    what = { 0 };
    bool       ok = true;

    *opt = (ds4_confine_options){ .read_only = t->mode == DS4_TOOLS_READ_ONLY, .network = network };
    if (t->mode == DS4_TOOLS_YOLO) {
        opt->unconfined = true;
        return true;
    }
    if (t->mode == DS4_TOOLS_READ_ONLY && (none || network)) {
        tool_deny(r, none ?
                  "read-only mode: there is no sandbox here that would keep a command from writing" :
                            "read-only mode: commands have no network");
        return false;
    }
    if (!t->links_checked && !opt->read_only) separate_links(t);
    ds4_str_addf(&what, "run%s%s: %s", network ? " with network" : "", none ? " without a sandbox" : "",
                 command);
    if (network)
                                            ok = tool_ask(r, ds4_str_text(&what), NULL, &t->always_network);
    else if (none || t->mode == DS4_TOOLS_ASK)
              ok = tool_ask(r, ds4_str_text(&what), NULL, &t->always_command);
    else if (t->n_links_left > 0 && !opt->read_only) {
        ds4_str_addf(&what, " (%zu files here have names outside of this folder, which it could change)",
                     t->n_links_left);
        ok = tool_ask(r, ds4_str_text(&what), NULL, &t->always_command);
    }
    ds4_str_clear(&what);
    opt->unconfined = none;
    return ok;
}

static bool prepare_undo(tool_run *r, const ds4_confine_options *opt)
{
    ds4_tools *t = r->t;
    ds4_err    err;

    if (opt->read_only) return true;
    if (!opt->unconfined && !t->guard) t->guard = guard_take(t->root);
    if (!opt->unconfined && !t->guard) {
        tool_fail(r, "git's settings here are too many or too large to be guarded; the command was not run");
        return false;
    }
    if (!t->undo || ds4_undo_begin(t->undo, NULL, &err) == DS4_OK) return true;
    tool_fail(r, "the files could not be kept for undo (%s); the command was not run", err.text);
    return false;
}

/* ---- running ------------------------------------------------------------------------------------------ */

static void add_end(const ds4_shell_job_state *s, ds4_str *out)
{
    const double seconds = (double)s->run_ns / 1e9;

    if (s->running)        ds4_str_addf(out, "[Running for %.1f s.]\n", seconds);
    else if (s->timed_out) ds4_str_addf(out, "[Ended at its time limit after %.1f s.]\n", seconds);
    else if (s->killed)    ds4_str_addf(out, "[Ended by request after %.1f s.]\n", seconds);
    else if (s->signal)    ds4_str_addf(out, "[Ended by signal %d after %.1f s.]\n", s->signal, seconds);
    else                   ds4_str_addf(out, "[Exit status %d after %.1f s.]\n", s->exit_code, seconds);
    if (!s->running && s->n_left && !s->killed)
        ds4_str_addf(out, "[%u process%s that it left %s ended; use background for what shall stay.]\n",
                     s->n_left, s->n_left == 1 ? "" : "es", s->n_left == 1 ? "was" : "were");
}

static void add_output(ds4_shell_job *j, ds4_str *out)
{
    ds4_str raw = { 0 };

    ds4_shell_job_output(j, &raw);
    tool_clean_output((ds4_slice){ ds4_str_text(&raw), raw.n_bytes }, out);
    if (out->n_bytes > 0 && out->data[out->n_bytes - 1] != '\n') ds4_str_add_char(out, '\n');
    ds4_str_clear(&raw);
}

static tools_job *free_job(ds4_tools *t)
{
    size_t n = 0;

    for (size_t i = 0; i < TOOLS_MOST_JOBS; i++) n += t->job[i].id != 0;
    for (size_t i = 0; i < TOOLS_MOST_JOBS && n < t->limits.max_jobs; i++) {
        if (!t->job[i].id) return &t->job[i];
    }
    /* One that has ended and was told of makes room. */
    for (size_t i = 0; i < TOOLS_MOST_JOBS; i++) {
        if (!t->job[i].id || !t->job[i].ended_told) continue;
        ds4_shell_job_free(t->job[i].job);
        t->job[i] = (tools_job){ 0 };
        return &t->job[i];
    }
    return NULL;
}

/* Run a command and wait for it; what takes longer becomes a job. */
static void run_command(tool_run *r, const char *command, const ds4_confine_options *opt, int64_t seconds,
                        bool background)
{
    ds4_tools *t = r->t;
    ds4_err    err;
    tools_job *slot = free_job(t);
    ds4_shell_job   *job = NULL;
    ds4_str    told = { 0 };

    if (!slot) {
        tool_fail(r, "%u jobs run already; end one with the tool job", t->limits.max_jobs);
        return;
    }
    if (!prepare_undo(r, opt)) return;
    ds4_status rc = ds4_shell_job_start(&job, t->sandbox, command, opt, (uint64_t)seconds * second_ns, &err);
    if (rc != DS4_OK) {
        (void)!look(t, NULL, NULL, NULL);
        tool_fail(r, "%s", err.text);
        return;
    }
    slot->id = ++t->next_job;
    slot->job = job;
    const uint64_t wait_ns = background ? second_ns / 2 : (uint64_t)t->limits.refresh_seconds * second_ns;
    ds4_shell_job_state  s = ds4_shell_job_wait(job, ds4_now_ns() + wait_ns, &t->cancelled, r->sink,
                                                r->sink_ctx);
    const bool     stopped = s.running && t->cancelled;
    if (stopped) {
        ds4_shell_job_kill(job);
        s = ds4_shell_job_wait(job, 0, NULL, r->sink, r->sink_ctx);
    }
    add_output(job, &r->body);
    slot->n_told = tool_count_lines((ds4_slice){ ds4_str_text(&r->body), r->body.n_bytes });
    add_end(&s, &r->body);
    if (stopped) ds4_str_add_text(&r->body, "[The user stopped it.]\n");
    if (s.running) {
        ds4_str_addf(&r->body,
                     "[It goes on as job %u: the tool job waits for it, shows its output or ends it.]\n",
                     slot->id);
    } else {
        slot->job = NULL;
        slot->id = 0;
        ds4_shell_job_free(job);
    }
    rc = look(t, r, &told, &err);
    if (rc != DS4_OK) ds4_str_addf(&told, "[Undo does not know of its changes: %s]\n", err.text);
    ds4_str_add(&r->body, ds4_str_text(&told), told.n_bytes);
    ds4_str_clear(&told);
    r->shows_ends = true;
}

/* New files with keys are looked for now and then: a whole tree takes its time. */
static void learn_secrets(ds4_tools *t)
{
    const uint64_t now = ds4_now_ns();

    if (t->allow_secrets || (t->learned_ns && now - t->learned_ns < 30 * second_ns)) return;
    ds4_secrets_learn(t->secrets, t->root);
    t->learned_ns = now;
}

void tool_bash(tool_run *r)
{
    static const char *const known[] = { "command", "seconds", "background", "network", NULL };
    ds4_confine_options      opt;
    size_t                   n = 0;

    if (!tool_args_open(r, known)) return;
    const char   *command = tool_arg_text(r, "command", true, MOST_COMMAND, &n);
    const bool    background = tool_arg_bool(r, "background", false),
        network = tool_arg_bool(r, "network", false);
    const int64_t usual = background ? MOST_SECONDS : r->t->limits.command_seconds;
    const int64_t seconds = tool_arg_int(r, "seconds", 1, MOST_SECONDS, usual);
    if (r->failed) return;
    if (strspn(command, " \t\n") == n) tool_fail(r, "the command is empty");
    if (r->failed || !may_run(r, command, network, &opt)) return;
    learn_secrets(r->t);
    run_command(r, command, &opt, seconds, background);
}

/* ---- jobs ---------------------------------------------------------------------------------------------- */

static void list_jobs(tool_run *r)
{
    for (size_t i = 0; i < TOOLS_MOST_JOBS; i++) {
        const tools_job *j = &r->t->job[i];
        if (!j->id) continue;
        const ds4_shell_job_state s = ds4_shell_job_wait(j->job, 0, NULL, NULL, NULL);
        ds4_str_addf(&r->body, "job %u, %s, %llu bytes of output: %.200s\n", j->id, s.running ? "running" :
                     "ended",
                     (unsigned long long)s.n_bytes, ds4_shell_job_command(j->job));
    }
    if (r->body.n_bytes == 0) ds4_str_add_text(&r->body, "There are no jobs.\n");
}

void tool_job(tool_run *r)
{
    static const char *const known[] = { "id", "wait", "end", NULL };
    ds4_tools               *t = r->t;
    tools_job               *j = NULL;
    ds4_str                  told = { 0 }, all = { 0 };

    if (!tool_args_open(r, known)) return;
    const int64_t id = tool_arg_int(r, "id", 1, UINT32_MAX, 0),
        wait = tool_arg_int(r, "wait", 0, MOST_SECONDS, 0);
    const bool    end = tool_arg_bool(r, "end", false);
    if (r->failed) return;
    if (id == 0) {
        list_jobs(r);
        return;
    }
    for (size_t i = 0; i < TOOLS_MOST_JOBS; i++) {
        if (t->job[i].id == (uint32_t)id) j = &t->job[i];
    }
    if (!j) {
        tool_fail(r, "there is no job %lld", (long long)id);
        return;
    }
    if (end) ds4_shell_job_kill(j->job);
    const ds4_shell_job_state s = ds4_shell_job_wait(j->job, ds4_now_ns() + (uint64_t)wait * second_ns,
                                                     &t->cancelled,
                                         r->sink,
                                         r->sink_ctx);
    add_output(j->job, &all);
    const ds4_slice text = { ds4_str_text(&all), all.n_bytes };
    const size_t    n_lines = tool_count_lines(text);
    if (j->n_told > 0 && j->n_told <= n_lines)
        ds4_str_addf(&r->body, "[Lines 1 to %zu were shown before.]\n", j->n_told);
    tool_add_lines(text, j->n_told + 1, SIZE_MAX / 2, &r->body);
    j->n_told = n_lines;
    add_end(&s, &r->body);
    if (!s.running) j->ended_told = true;
    ds4_str_clear(&all);
    (void)!look(t, r, &told, NULL);
    ds4_str_add(&r->body, ds4_str_text(&told), told.n_bytes);
    ds4_str_clear(&told);
    r->shows_ends = true;
}

void tools_end_jobs(ds4_tools *t)
{
    for (size_t i = 0; i < TOOLS_MOST_JOBS; i++) {
        if (t->job[i].id) ds4_shell_job_kill(t->job[i].job);
    }
    (void)!tools_settle(t, NULL);
    for (size_t i = 0; i < TOOLS_MOST_JOBS; i++) {
        ds4_shell_job_free(t->job[i].job);
        t->job[i] = (tools_job){ 0 };
    }
    guard_free(t->guard);
    t->guard = NULL;
}

/* ---- git
   --------------------------------------------------------------------------------------------------- */

static void quote(ds4_str *out, const char *text)
{
    ds4_str_add_text(out, " '");
    for (; *text; text++) {
        if (*text == '\'') ds4_str_add_text(out, "'\\''");
        else               ds4_str_add_char(out, *text);
    }
    ds4_str_add_char(out, '\'');
}

void tool_git(tool_run *r)
{
    /* Nothing that a repository names is run for looking at it; its hooks run at a commit, in the sandbox. */
    static const char git[] = "git --no-pager -c core.fsmonitor=false -c core.quotePath=false "
                              "-c core.pager=cat";
    static const char *const known[] = { "do", "path", "message", NULL };
    char                     name[DS4_ROOT_NAME_BYTES];
    ds4_confine_options      opt;
    ds4_str                  command = { 0 };
    size_t                   n = 0, n_message = 0;

    if (!tool_args_open(r, known)) return;
    const char *what = tool_arg_text(r, "do", true, 32, &n);
    const char *message = tool_arg_text(r, "message", false, 16384, &n_message);
    if (!tool_arg_path(r, "path", false, name)) return;
    if (strcmp(what, "status") == 0) {
        ds4_str_addf(&command, "%s -c core.hooksPath=/dev/null status --short --branch --", git);
        quote(&command, name);
    } else if (strcmp(what, "diff") == 0) {
        ds4_str_addf(&command, "%s -c core.hooksPath=/dev/null diff --no-ext-diff --no-textconv --stat -p",
                     git);
        ds4_str_add_text(&command, " $(git rev-parse -q --verify HEAD) --");
        quote(&command, name);
    } else if (strcmp(what, "commit") == 0) {
        if (!message || n_message == 0) {
            tool_fail(r, "a commit needs the argument 'message'");
            return;
        }
        ds4_str_add_text(&command, "git add -A --");
        quote(&command, name);
        ds4_str_addf(&command, " && %s commit -m", git);
        quote(&command, message);
        ds4_str_add_text(&command, " --");
        quote(&command, name);
    } else {
        tool_fail(r, "'do' is status, diff or commit");
        return;
    }
    const bool changes_it = strcmp(what, "commit") == 0;
    if (changes_it && r->t->mode == DS4_TOOLS_READ_ONLY) tool_deny(r, "read-only mode: nothing is committed");
    else if (command.failed) tool_fail(r, "no memory for a command");
    else if (may_run(r, ds4_str_text(&command), false, &opt)) {
        opt.read_only |= !changes_it;
        run_command(r, ds4_str_text(&command), &opt, r->t->limits.command_seconds, false);
        if (strcmp(what, "diff") == 0) r->shows_ends = false;
    }
    ds4_str_clear(&command);
}
