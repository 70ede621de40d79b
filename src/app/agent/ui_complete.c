/* ui_complete.c - see ui_complete.h. */
#include "app/agent/ui_complete.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_NAMES = 4096, MAX_SEEN = 100000 };

typedef struct names {
    char  *name[MAX_NAMES];     /* [n] */
    size_t n;
} names;

static void add_name(names *list, const char *text, const char *tail)
{
    ds4_str name = { 0 };

    if (list->n == MAX_NAMES) return;
    ds4_str_add_text(&name, text);
    ds4_str_add_text(&name, tail);
    char *taken = ds4_str_take(&name);
    if (taken) list->name[list->n++] = taken;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_words(names *list, ds4_slice begin, const ds4_agent_word *words, uint32_t n_words)
{
    for (uint32_t i = 0; i < n_words; i++) {
        if (strncmp(words[i].name, begin.data, begin.n_bytes) == 0) add_name(list, words[i].name, " ");
    }
}

/* A name that could steer the terminal is not offered. */
static bool is_plain(const char *name)
{
    ds4_str clean = { 0 };

    ui_scrub_text((ds4_slice){ name, strlen(name) }, true, &clean);
    const bool same = strcmp(ds4_str_text(&clean), name) == 0;
    ds4_str_clear(&clean);
    return same;
}

/* Entries of the folder that `begin` names, whose names begin as it ends. Returns the bytes of its folder. */
static size_t add_files(names *list, ds4_slice begin, const char *root)
{
    ds4_str     path = { 0 };
    struct stat facts;
    size_t      n_dir = begin.n_bytes;

    while (n_dir > 0 && begin.data[n_dir - 1] != '/') n_dir--;
    if (n_dir == 0 || begin.data[0] != '/') ds4_str_addf(&path, "%s/", root);
    ds4_str_add(&path, begin.data, n_dir);
    DIR         *dir = path.failed ? NULL : opendir(ds4_str_text(&path));
    const char  *rest = begin.data + n_dir;
    const size_t n_rest = begin.n_bytes - n_dir;
    int          seen = 0;
    for (struct dirent *e; dir && seen < MAX_SEEN && (e = readdir(dir)); seen++) {
        if (strncmp(e->d_name, rest, n_rest) != 0 || !is_plain(e->d_name)) continue;
        if (e->d_name[0] == '.' && (n_rest == 0 || !e->d_name[1] || !strcmp(e->d_name, ".."))) continue;
        const bool folder = fstatat(dirfd(dir), e->d_name, &facts, 0) == 0 && S_ISDIR(facts.st_mode);
        add_name(list, e->d_name, folder ? "/" : " ");
    }
    if (dir) closedir(dir);
    ds4_str_clear(&path);
    return n_dir;
}

static size_t common_bytes(const names *list)
{
    size_t n = strlen(list->name[0]);

    for (size_t i = 1; i < list->n; i++) {
        size_t same = 0;
        while (same < n && list->name[i][same] == list->name[0][same]) same++;
        n = same;
    }
    /* Not in the middle of a character. */
    return ds4_utf8_safe_bytes(list->name[0], n);
}

static void list_offers(const names *list, uint32_t most, ds4_str *offers)
{
    for (size_t i = 0; i < list->n && i < most; i++) {
        const size_t n = strlen(list->name[i]);
        ds4_str_add(offers, list->name[i], list->name[i][n - 1] == ' ' ? n - 1 : n);
        ds4_str_add_text(offers, "  ");
    }
    if (list->n > most) ds4_str_addf(offers, "and %zu more", list->n - most);
}

bool ui_complete(ui_line *l, const char *root, const ds4_agent_word *words, uint32_t n_words, uint32_t most,
                 ds4_str *offers)
{
    names      *list = calloc(1, sizeof *list);
    const char *text = ds4_str_text(&l->text);
    size_t      from = l->at;
    bool        changed = false;

    ds4_str_truncate(offers, 0);
    if (!list) return false;
    while (from > 0 && !strchr(" \n", text[from - 1])) from--;
    const bool command = from == 0 && l->at > 0 && text[0] == '/';
    if (!command && from < l->at && text[from] == '@') from++;
    const ds4_slice begin = { text + from, l->at - from };
    size_t          kept = 0;           /* of begin, before the names of the list */
    if (command) add_words(list, begin, words, n_words);
    if (list->n == 0) kept = add_files(list, begin, root);
    if (list->n > 0) {
        qsort(list->name, list->n, sizeof *list->name, compare);
        const size_t n = common_bytes(list);
        changed = n > begin.n_bytes - kept;
        ds4_str name = { 0 };
        ds4_str_add(&name, list->name[0], n);
        if (changed) {
            ui_line_replace(l, from + kept, l->at - from - kept,
                            (ds4_slice){ ds4_str_text(&name), name.n_bytes });
        }
        ds4_str_clear(&name);
        if (list->n > 1) list_offers(list, most, offers);
    }
    for (size_t i = 0; i < list->n; i++) free(list->name[i]);
    free(list);
    return changed;
}
