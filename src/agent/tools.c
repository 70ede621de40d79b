/* tools.c - see tools.h: opening, the list, questions, calls, and the way back. */
#include "agent/tools_local.h"

#include "agent/tool_schemas.h"
#include "base/knob.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- opening ------------------------------------------------------------------------------------ */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (type == FTW_DNR || type == FTW_D) chmod(path, 0700);
    (void)!remove(path);
    return 0;
}

/* A folder for the temporary files of commands: in the system's, and removed at the end. */
static char *make_temp(void)
{
    char        path[512];
    const char *top = ds4_environment("TMPDIR");

    if (!top || top[0] != '/' || strlen(top) > 400) top = P_tmpdir;
    snprintf(path, sizeof path, "%s/ds4-agent-XXXXXX", top);
    return mkdtemp(path) ? strdup(path) : NULL;
}

static void set_limits(ds4_tools *t, const ds4_tools_limits *l)
{
    t->limits = *l;
    if (!t->limits.max_file_bytes || t->limits.max_file_bytes > DS4_ROOT_MAX_FILE)
        t->limits.max_file_bytes = DS4_ROOT_MAX_FILE;
    if (!t->limits.max_result_bytes) t->limits.max_result_bytes = 24 << 10;
    if (!t->limits.command_seconds) t->limits.command_seconds = 120;
    if (!t->limits.refresh_seconds) t->limits.refresh_seconds = 60;
    if (!t->limits.max_jobs) t->limits.max_jobs = 8;
    if (t->limits.max_jobs > TOOLS_MOST_JOBS) t->limits.max_jobs = TOOLS_MOST_JOBS;
    t->room = t->limits.max_result_bytes;
}

static ds4_status open_parts(ds4_tools *t, const ds4_tools_options *opt, ds4_err *err)
{
    DS4_TRY(ds4_root_open(&t->root, opt->root, err));
    if (opt->undo_dir) DS4_TRY(ds4_undo_open(&t->undo, t->root, opt->undo_dir, NULL, err));
    t->temp = make_temp();
    if (!t->temp)
        return ds4_fail(err, DS4_E_IO, "no folder for temporary files can be made: %s", strerror(errno));
    t->secrets = ds4_secrets_create();
    t->schemas = calloc(TOOLS_OURS, sizeof *t->schemas);
    if (!t->secrets || !t->schemas) return ds4_fail(err, DS4_E_NOMEM, "no memory for the tools");
    for (size_t i = 0; i < TOOLS_OURS; i++)
        t->schemas[i] = (ds4_slice){ tool_entries[i].schema, strlen(tool_entries[i].schema) };
    if (!t->allow_secrets) ds4_secrets_learn(t->secrets, t->root);
    return ds4_sandbox_open(&t->sandbox, t->root, t->temp, ds4_knob_text(DS4_KNOB_HOME), opt->without, err);
}

ds4_status ds4_tools_open(const ds4_tools_options *opt, ds4_tools **out, ds4_err *err)
{
    ds4_tools *t = calloc(1, sizeof *t);

    if (!t) return ds4_fail(err, DS4_E_NOMEM, "no memory for the tools");
    t->mode = opt->mode;
    t->allow_secrets = opt->allow_secrets;
    t->ask = opt->ask;
    t->ask_ctx = opt->ask_ctx;
    set_limits(t, &opt->limits);
    const ds4_status rc = open_parts(t, opt, err);
    if (rc != DS4_OK) ds4_tools_close(t);
    else              *out = t;
    return rc;
}

void ds4_tools_close(ds4_tools *t)
{
    if (!t) return;
    tools_end_jobs(t);
    ds4_sandbox_close(t->sandbox);
    ds4_undo_close(t->undo);
    ds4_secrets_free(t->secrets);
    ds4_root_close(t->root);
    if (t->temp) nftw(t->temp, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(t->temp);
    for (size_t i = 0; i < t->n_seen; i++) free(t->seen[i].name);
    for (size_t i = 0; i < t->n_noted; i++) free(t->noted[i]);
    for (uint32_t i = 0; i < t->n_foreign; i++) {
        free(t->foreign[i].name);
        free(t->own_schema[i]);
    }
    free(t->own_schema);
    free(t->schemas);
    ds4_str_clear(&t->rest.text);
    free(t->rest.file);
    free(t);
}

const char    *ds4_tools_sandbox(const ds4_tools *t) { return ds4_sandbox_sentence(t->sandbox); }
const char    *ds4_tools_root(const ds4_tools *t) { return ds4_root_path(t->root); }
void           ds4_tools_set_mode(ds4_tools *t, ds4_tools_mode mode) { t->mode = mode; }
ds4_tools_mode ds4_tools_get_mode(const ds4_tools *t) { return t->mode; }
void           ds4_tools_cancel(ds4_tools *t) { t->cancelled = 1; }
void           ds4_tools_resume(ds4_tools *t) { t->cancelled = 0; }

void ds4_tools_set_room(ds4_tools *t, uint32_t n_bytes)
{
    t->room = n_bytes < t->limits.max_result_bytes ? n_bytes : t->limits.max_result_bytes;
}

/* ---- the list -------------------------------------------------------------------------------------- */

const ds4_slice *ds4_tools_schemas(const ds4_tools *t, uint32_t *n)
{
    *n = TOOLS_OURS + t->n_foreign;
    return t->schemas;
}

static bool is_tool_name(ds4_slice name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

    if (name.n_bytes < 1 || name.n_bytes > 64) return false;
    for (size_t i = 0; i < name.n_bytes; i++) {
        if (!name.data[i] || !strchr(allowed, name.data[i])) return false;
    }
    return true;
}

static bool same_name(const char *text, ds4_slice name)
{
    return strlen(text) == name.n_bytes && memcmp(text, name.data, name.n_bytes) == 0;
}

static bool is_taken(const ds4_tools *t, ds4_slice name)
{
    for (size_t i = 0; i < TOOLS_OURS; i++) {
        if (same_name(tool_entries[i].name, name)) return true;
    }
    for (uint32_t i = 0; i < t->n_foreign; i++) {
        if (same_name(t->foreign[i].name, name)) return true;
    }
    return false;
}

/* The function object of a foreign tool as JSON text; NULL when it cannot be made. */
static char *make_schema(const ds4_foreign_tool *tool, const char **why)
{
    char   *text = NULL;
    json_t *parameters = json_loadb(tool->parameters.data, tool->parameters.n_bytes, JSON_REJECT_DUPLICATES,
                                    NULL);
    json_t *object = json_object();

    *why = "its parameters are no JSON object";
    if (json_is_object(parameters)) {
        *why = "its texts are not UTF-8";
        if (json_object_set_new(object, "name", json_stringn(tool->name.data, tool->name.n_bytes)) == 0 &&
            json_object_set_new(object, "description", json_stringn(tool->description.n_bytes ?
                                                                    tool->description.data : "",
                                                                   tool->description.n_bytes)) == 0 &&
            json_object_set(object, "parameters", parameters) == 0)
            text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    }
    json_decref(parameters);
    json_decref(object);
    return text;
}

ds4_status ds4_tools_add(ds4_tools *t, const ds4_foreign_tool *tool, ds4_err *err)
{
    const char *why = NULL;

    if (!is_tool_name(tool->name))
        return ds4_fail(err, DS4_E_ARG, "a tool's name has 1 to 64 letters, digits, _ or -");
    if (is_taken(t, tool->name))
        return ds4_fail(err, DS4_E_ARG, "there is a tool %.*s already", (int)tool->name.n_bytes,
                        tool->name.data);
    if (t->n_foreign == TOOLS_MOST_FOREIGN)
        return ds4_fail(err, DS4_E_LIMIT, "at most %d tools", TOOLS_MOST_FOREIGN);
    char *schema = make_schema(tool, &why), *name = strndup(tool->name.data, tool->name.n_bytes);
    if (!schema) {
        free(name);
        return ds4_fail(err, DS4_E_ARG, "the tool %.*s: %s", (int)tool->name.n_bytes, tool->name.data, why);
    }
    const size_t n = TOOLS_OURS + t->n_foreign + 1;
    ds4_slice   *schemas = realloc(t->schemas, n * sizeof *schemas);
    if (schemas) t->schemas = schemas;
    char **own = realloc(t->own_schema, (t->n_foreign + 1) * sizeof *own);
    if (own) t->own_schema = own;
    if (!schemas || !own || !name) {
        free(schema);
        free(name);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a tool");
    }
    t->schemas[n - 1] = (ds4_slice){ schema, strlen(schema) };
    t->own_schema[t->n_foreign] = schema;
    t->foreign[t->n_foreign++] = (tools_foreign){ .name = name, .call = tool->call, .ctx = tool->ctx,
                                                  .reads_only = tool->reads_only };
    return DS4_OK;
}

/* ---- calls ----------------------------------------------------------------------------------------------
   */

static void run_foreign(tool_run *r, tools_foreign *f)
{
    ds4_tools       *t = r->t;
    ds4_tool_result  own = { 0 };
    ds4_str          what = { 0 };

    if (t->mode == DS4_TOOLS_READ_ONLY && !f->reads_only) {
        tool_deny(r, "read-only mode: the tool %s may change something", f->name);
        return;
    }
    ds4_str_addf(&what, "call %s with %.*s", f->name, (int)(r->call->arguments.n_bytes < 500 ?
                                                            r->call->arguments.n_bytes : 500),
                 r->call->arguments.n_bytes ? r->call->arguments.data : "");
    const bool ask = t->mode == DS4_TOOLS_ASK || (t->mode == DS4_TOOLS_WORK && !f->reads_only);
    const bool may = !ask || tool_ask(r, ds4_str_text(&what), NULL, &f->always);
    ds4_str_clear(&what);
    if (!may) return;
    f->call(f->ctx, r->call, &t->cancelled, &own);
    if (own.failed) {
        const char *text = ds4_str_text(&own.text);
        tool_fail(r, "%s", strncmp(text, "Error: ", 7) == 0 ? text + 7 : text);
    } else {
        ds4_str_add(&r->body, ds4_str_text(&own.text), own.text.n_bytes);
    }
    r->denied |= own.denied;
    ds4_tool_result_clear(&own);
}

static void run_named(tool_run *r)
{
    for (size_t i = 0; i < TOOLS_OURS; i++) {
        if (!same_name(tool_entries[i].name, r->call->name)) continue;
        tool_entries[i].run(r);
        return;
    }
    for (uint32_t i = 0; i < r->t->n_foreign; i++) {
        if (!same_name(r->t->foreign[i].name, r->call->name)) continue;
        run_foreign(r, &r->t->foreign[i]);
        return;
    }
    ds4_str names = { 0 };
    for (size_t i = 0; i < TOOLS_OURS; i++) ds4_str_addf(&names, "%s%s", i ? ", " : "", tool_entries[i].name);
    for (uint32_t i = 0; i < r->t->n_foreign && names.n_bytes < 700; i++)
        ds4_str_addf(&names, ", %s", r->t->foreign[i].name);
    tool_fail(r, "there is no tool '%.*s'; there are: %s", (int)(r->call->name.n_bytes < 64 ?
                                                                 r->call->name.n_bytes : 64),
              r->call->name.n_bytes ? r->call->name.data : "", ds4_str_text(&names));
    ds4_str_clear(&names);
}

void ds4_tools_call(ds4_tools *t, const ds4_tool_call *call, ds4_tool_sink_fn *sink, void *sink_ctx,
                    ds4_tool_result *result)
{
    tool_run r = { .t = t, .call = call, .sink = sink, .sink_ctx = sink_ctx, .result = result };

    /* The rest of the last result can be asked for until the next one. */
    if (!same_name("more", call->name)) {
        ds4_str_clear(&t->rest.text);
        free(t->rest.file);
        t->rest.file = NULL;
        t->rest.next = 0;
    }
    if (t->cancelled) tool_fail(&r, "the call was not run because the user stopped it");
    else              run_named(&r);
    json_decref(r.args);
    if (!r.failed && r.body.n_bytes == 0) ds4_str_add_text(&r.body, "Done.\n");
    tool_text_finish(&r);
    if (r.body.failed) {
        ds4_str_clear(&r.body);
        ds4_str_add_text(&r.body, "Error: no memory for the result.");
        r.failed = true;
    }
    result->text = r.body;
    result->failed = r.failed;
    result->denied = r.denied;
}

void ds4_tool_result_clear(ds4_tool_result *result)
{
    for (uint32_t i = 0; i < result->n_changes; i++) {
        free(result->changes[i].path);
        ds4_str_clear(&result->changes[i].before);
        ds4_str_clear(&result->changes[i].after);
        ds4_str_clear(&result->changes[i].diff);
    }
    free(result->changes);
    ds4_str_clear(&result->text);
    *result = (ds4_tool_result){ 0 };
}

/* ---- the way back
   ------------------------------------------------------------------------------------------ */

ds4_status ds4_tools_mark(ds4_tools *t, uint64_t *mark, ds4_err *err)
{
    if (!t->undo) return ds4_fail(err, DS4_E_UNSUPPORTED, "nothing is kept for undo here");
    DS4_TRY(tools_settle(t, err));
    return ds4_undo_mark(t->undo, mark, err);
}

ds4_status ds4_tools_restore(ds4_tools *t, uint64_t mark, ds4_str *told, ds4_err *err)
{
    if (!t->undo) return ds4_fail(err, DS4_E_UNSUPPORTED, "nothing is kept for undo here");
    DS4_TRY(tools_settle(t, err));
    return ds4_undo_restore(t->undo, mark, told, err);
}

ds4_status ds4_tools_set_undo(ds4_tools *t, const char *undo_dir, ds4_err *err)
{
    ds4_undo *undo = NULL;

    /* A job's changes belong to the session that started it. */
    tools_end_jobs(t);
    if (undo_dir) DS4_TRY(ds4_undo_open(&undo, t->root, undo_dir, NULL, err));
    ds4_undo_close(t->undo);
    t->undo = undo;
    return DS4_OK;
}
