/* notes.c - what a project says to its agents: AGENTS.md, else CLAUDE.md, and the list of its skills.
 *
 * Files that have not changed give a text that has not changed, so the prompt's cached beginning stays. Notes
 * of folders below are told when a file there is touched; the tool read reads the body of a skill. */
#include "agent/notes.h"

#include "agent/tools_local.h"
#include "agent/walk.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NOTES = 64 << 10, MOST_NESTED = 4096, MOST_SKILLS = 64, MOST_SKILL_BYTES = 64 << 10 };

/* ---- front matter ------------------------------------------------------------------------------- */

static ds4_slice trim(ds4_slice s)
{
    while (s.n_bytes > 0 && strchr(" \t\r", s.data[0])) {
        s.data++;
        s.n_bytes--;
    }
    while (s.n_bytes > 0 && strchr(" \t\r", s.data[s.n_bytes - 1])) s.n_bytes--;
    return s;
}

/* Append a value of YAML as it is mostly written: plain or between quotes. */
static void add_value(ds4_slice value, ds4_str *out)
{
    if (value.n_bytes >= 2 && (value.data[0] == '"' || value.data[0] == '\'') &&
        value.data[value.n_bytes - 1] == value.data[0]) {
        value.data++;
        value.n_bytes -= 2;
    }
    if (out->n_bytes > 0 && value.n_bytes > 0) ds4_str_add_char(out, ' ');
    ds4_str_add(out, value.data, value.n_bytes);
}

static bool next_line(ds4_slice text, size_t *at, ds4_slice *line)
{
    if (*at >= text.n_bytes) return false;
    const char  *end = memchr(text.data + *at, '\n', text.n_bytes - *at);
    const size_t n = end ? (size_t)(end - text.data) - *at : text.n_bytes - *at;
    *line = (ds4_slice){ text.data + *at, n };
    *at += n + 1;
    return true;
}

static bool is_fence(ds4_slice line)
{
    return ds4_slice_eq(trim(line), DS4_SLICE("---"));
}

bool ds4_front_matter(ds4_slice text, ds4_str *name, ds4_str *description)
{
    ds4_slice line;
    ds4_str  *open = NULL;          /* whose value goes on in indented lines */
    size_t    at = 0;

    if (text.n_bytes >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0) at = 3;
    if (!next_line(text, &at, &line) || !is_fence(line)) return false;
    for (int n = 0; next_line(text, &at, &line) && n < 200; n++) {
        if (is_fence(line)) return name->n_bytes > 0 && description->n_bytes > 0;
        const bool indented = line.n_bytes > 0 && (line.data[0] == ' ' || line.data[0] == '\t');
        if (indented) {
            if (open) add_value(trim(line), open);
            continue;
        }
        const char *colon = memchr(line.data, ':', line.n_bytes);
        open = NULL;
        if (!colon) continue;
        const ds4_slice key = trim((ds4_slice){ line.data, (size_t)(colon - line.data) });
        const ds4_slice value = trim((ds4_slice){ colon + 1,
                                                  (size_t)(line.data + line.n_bytes - colon - 1) });
        if (ds4_slice_eq(key, DS4_SLICE("name"))) open = name;
        else if (ds4_slice_eq(key, DS4_SLICE("description"))) open = description;
        if (!open || open->n_bytes > 0) {
            open = NULL;            /* the first of two counts */
            continue;
        }
        /* "|" and ">" say that the lines below are the value. */
        if (value.n_bytes > 0 && (value.data[0] == '|' || value.data[0] == '>')) continue;
        add_value(value, open);
    }
    return false;
}

/* ---- notes --------------------------------------------------------------------------------------- */

/* The notes of a folder ("" is the top); name receives which file they are from. */
static bool read_notes(const ds4_root *root, const char *folder, size_t max_bytes,
                       char name[DS4_ROOT_NAME_BYTES],
                       ds4_str *out, bool *was_cut)
{
    static const char *const files[] = { "AGENTS.md", "CLAUDE.md" };
    ds4_str                  text = { 0 };

    for (size_t i = 0; i < 2; i++) {
        ds4_str_truncate(&text, 0);
        if ((size_t)snprintf(name, DS4_ROOT_NAME_BYTES, "%s%s%s", folder, folder[0] ? "/" : "", files[i]) >=
            DS4_ROOT_NAME_BYTES) break;
        if (ds4_root_read(root, name, 1 << 20, &text, NULL, NULL) != DS4_OK) continue;
        const size_t n = text.n_bytes <= max_bytes ? text.n_bytes : ds4_utf8_safe_bytes(text.data, max_bytes);
        *was_cut = n < text.n_bytes;
        ds4_utf8_repair(ds4_str_text(&text), n, out);
        ds4_str_clear(&text);
        return true;
    }
    ds4_str_clear(&text);
    return false;
}

typedef struct skills {
    const ds4_root *root;
    ds4_str        *out;
    size_t          n, max_bytes, n_more;
} skills;

static ds4_walk_next add_skill(void *ctx, const ds4_walk_entry *e)
{
    enum { MOST_NAME = 64, MOST_DESCRIPTION = 400 };
    skills *s = ctx;
    ds4_str text = { 0 }, name = { 0 }, description = { 0 };

    if (strcmp(e->last, "SKILL.md") != 0 ||
        ds4_root_read(s->root, e->name, MOST_SKILL_BYTES, &text, NULL, NULL) != DS4_OK) return DS4_WALK_ON;
    if (ds4_front_matter((ds4_slice){ ds4_str_text(&text), text.n_bytes }, &name, &description)) {
        ds4_str line = { 0 };
        const size_t n_name = name.n_bytes < MOST_NAME ? name.n_bytes : MOST_NAME;
        const bool   cut = description.n_bytes > MOST_DESCRIPTION;
        ds4_str_addf(&line, "- ");
        ds4_utf8_repair(name.data, n_name, &line);
        ds4_str_addf(&line, " (%s): ", e->name);
        ds4_utf8_repair(description.data, cut ? ds4_utf8_safe_bytes(description.data, MOST_DESCRIPTION) :
                                                description.n_bytes, &line);
        ds4_str_add_text(&line, cut ? "...\n" : "\n");
        if (s->n == MOST_SKILLS || s->out->n_bytes + line.n_bytes > s->max_bytes) {
            s->n_more++;
        } else {
            if (s->n++ == 0)
                ds4_str_add_text(s->out,
                                 "\nSkills of this project; read the file of one that fits a task first:\n");
            ds4_str_add(s->out, ds4_str_text(&line), line.n_bytes);
        }
        ds4_str_clear(&line);
    }
    ds4_str_clear(&text);
    ds4_str_clear(&name);
    ds4_str_clear(&description);
    return DS4_WALK_ON;
}

ds4_status ds4_tools_notes(const ds4_tools *t, size_t max_bytes, ds4_str *out, ds4_err *err)
{
    static const char *const folders[] = { ".agents/skills", ".claude/skills", ".ds4/skills", "skills" };
    char                     name[DS4_ROOT_NAME_BYTES];
    ds4_str                  text = { 0 }, all = { 0 };
    bool                     was_cut = false;
    const size_t             most = max_bytes < MOST_NOTES ? max_bytes : MOST_NOTES, reserve = 160;
    ds4_walk_end             end;

    if (most > 2 * reserve && read_notes(t->root, "", most - reserve, name, &text, &was_cut)) {
        ds4_str_addf(&all, "Notes of this project (%s):\n", name);
        ds4_str_add(&all, ds4_str_text(&text), text.n_bytes);
        if (all.n_bytes > 0 && all.data[all.n_bytes - 1] != '\n') ds4_str_add_char(&all, '\n');
        if (was_cut) ds4_str_addf(&all, "[%s is longer; read the rest when it matters.]\n", name);
    }
    ds4_str_clear(&text);
    skills s = { .root = t->root, .out = &all, .max_bytes = most > reserve ? most - 64 : 0 };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const ds4_walk_options opt = { .all = true, .max_depth = 3, .max_entries = 2000, .see = add_skill,
                                       .ctx = &s };
        (void)!ds4_walk(t->root, folders[i], &opt, &end, NULL);
    }
    if (s.n_more) ds4_str_addf(&all, "[%zu more skills are not listed.]\n", s.n_more);
    ds4_str_add(out, ds4_str_text(&all), all.n_bytes);
    const bool failed = all.failed || out->failed;
    ds4_str_clear(&all);
    return failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for the notes of the project") : DS4_OK;
}

/* ---- folders below ----------------------------------------------------------------------------------- */

static bool was_noted(ds4_tools *t, const char *folder)
{
    for (size_t i = 0; i < t->n_noted; i++) {
        if (strcmp(t->noted[i], folder) == 0) return true;
    }
    return false;
}

void tool_add_notes(tool_run *r, const char *touched)
{
    ds4_tools *t = r->t;
    char       folder[DS4_ROOT_NAME_BYTES], name[DS4_ROOT_NAME_BYTES];

    for (const char *slash = touched; (slash = strchr(slash, '/')) != NULL; slash++) {
        ds4_str text = { 0 };
        bool    was_cut = false;
        memcpy(folder, touched, (size_t)(slash - touched));
        folder[slash - touched] = '\0';
        if (t->n_noted == TOOLS_MOST_NOTES || was_noted(t, folder)) continue;
        if (!read_notes(t->root, folder, MOST_NESTED, name, &text, &was_cut)) continue;
        t->noted[t->n_noted] = strdup(folder);
        if (t->noted[t->n_noted]) t->n_noted++;
        if (strcmp(name, touched) != 0) {
            ds4_str_addf(&r->body, "[Notes of this folder (%s):]\n", name);
            ds4_str_add(&r->body, ds4_str_text(&text), text.n_bytes);
            ds4_str_add_text(&r->body, was_cut ?
                             "\n[The notes are longer; read the rest when it matters.]\n" : "\n");
        }
        ds4_str_clear(&text);
    }
}
