/* ui_history.c - see ui_history.h. An entry is a line of the file; newlines and backslashes in it are written
 * as "\n" and "\\". */
#include "app/agent/ui_history.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILE = 4 << 20, MAX_ENTRY = 65536 };

static void remember(ui_history *h, char *text)
{
    if (!text) return;
    if (h->n == UI_HISTORY_MOST) {
        free(h->entry[0]);
        memmove(h->entry, h->entry + 1, (UI_HISTORY_MOST - 1) * sizeof *h->entry);
        h->n--;
    }
    h->entry[h->n++] = text;
    h->at = h->n;
}

static void take_line(ui_history *h, const char *text, size_t n)
{
    ds4_str line = { 0 }, clean = { 0 };

    for (size_t i = 0; i < n && n <= MAX_ENTRY; i++) {
        if (text[i] == '\\' && i + 1 < n) ds4_str_add_char(&line, text[++i] == 'n' ? '\n' : text[i]);
        else ds4_str_add_char(&line, text[i]);
    }
    ui_scrub_text((ds4_slice){ ds4_str_text(&line), line.n_bytes }, false, &clean);
    ds4_str_clear(&line);
    if (clean.n_bytes) remember(h, ds4_str_take(&clean));
    ds4_str_clear(&clean);
}

void ui_history_open(ui_history *h, const char *path)
{
    ds4_str all = { 0 };

    *h = (ui_history){ .path = path ? strdup(path) : NULL };
    if (!h->path || ds4_file_read(h->path, MAX_FILE, &all, NULL) != DS4_OK) {
        ds4_str_clear(&all);
        return;
    }
    for (size_t at = 0; at < all.n_bytes;) {
        const char  *end = memchr(all.data + at, '\n', all.n_bytes - at);
        const size_t n = end ? (size_t)(end - all.data) - at : all.n_bytes - at;
        take_line(h, all.data + at, n);
        at += n + 1;
    }
    ds4_str_clear(&all);
}

void ui_history_close(ui_history *h)
{
    for (size_t i = 0; i < h->n; i++) free(h->entry[i]);
    free(h->path);
    ds4_str_clear(&h->draft);
    ds4_str_clear(&h->wanted);
    *h = (ui_history){ 0 };
}

/* Several programs may append to the file; a line is written at once. When it has grown to twice what is
 * kept, it is written anew. */
static void append(const ui_history *h, const char *text)
{
    struct stat facts;
    ds4_str     line = { 0 };
    int         fd = open(h->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) return;
    const bool large = fstat(fd, &facts) == 0 && facts.st_size > MAX_FILE / 2;
    if (large && ftruncate(fd, 0) != 0) goto done;
    for (size_t i = large ? 0 : h->n - 1; i < h->n; i++) {
        for (const char *c = i + 1 == h->n ? text : h->entry[i]; *c; c++) {
            if (*c == '\n') ds4_str_add_text(&line, "\\n");
            else if (*c == '\\') ds4_str_add_text(&line, "\\\\");
            else ds4_str_add_char(&line, *c);
        }
        ds4_str_add_char(&line, '\n');
    }
    if (!line.failed && fchmod(fd, 0600) == 0) {
        const ssize_t n = write(fd, line.data, line.n_bytes);
        (void)n;                        /* what is lost is only convenience */
    }
done:
    ds4_str_clear(&line);
    close(fd);
}

void ui_history_add(ui_history *h, ds4_slice text)
{
    ui_history_stay(h);
    if (text.n_bytes == 0 || text.n_bytes > MAX_ENTRY) return;
    if (h->n && strlen(h->entry[h->n - 1]) == text.n_bytes &&
        !memcmp(h->entry[h->n - 1], text.data, text.n_bytes)) {
        return;
    }
    char *copy = strndup(text.data, text.n_bytes);
    if (!copy) return;
    remember(h, copy);
    if (h->path) append(h, copy);
}

static void show(ui_history *h, ui_line *line)
{
    const ds4_slice text = h->at == h->n ? (ds4_slice){ ds4_str_text(&h->draft), h->draft.n_bytes }
                                         : (ds4_slice){ h->entry[h->at], strlen(h->entry[h->at]) };
    ui_line_set(line, text);
}

static void keep_draft(ui_history *h, const ui_line *line)
{
    if (h->at != h->n) return;
    ds4_str_truncate(&h->draft, 0);
    ds4_str_add(&h->draft, ds4_str_text(&line->text), line->text.n_bytes);
}

void ui_history_step(ui_history *h, ui_line *line, bool older)
{
    if (older ? h->at == 0 : h->at >= h->n) return;
    keep_draft(h, line);
    h->at += older ? (size_t)-1 : 1;
    show(h, line);
}

void ui_history_look(ui_history *h, ui_line *line)
{
    if (h->wanted.n_bytes == 0) {
        keep_draft(h, line);
        ds4_str_add(&h->wanted, ds4_str_text(&line->text), line->text.n_bytes);
    }
    for (size_t i = h->at; i > 0; i--) {
        if (!strstr(h->entry[i - 1], ds4_str_text(&h->wanted))) continue;
        h->at = i - 1;
        show(h, line);
        return;
    }
}

void ui_history_stay(ui_history *h)
{
    h->at = h->n;
    ds4_str_truncate(&h->wanted, 0);
}
