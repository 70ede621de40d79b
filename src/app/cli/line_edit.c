/* line_edit.c - see line_edit.h. The one file that sees libedit. */
#include "app/cli/line_edit.h"

#include "app/common/app.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PASTE_GAP_MS = 15 };         /* a person does not begin the next line sooner */

struct ds4_line_edit {
    EditLine          *el;              /* NULL: standard input is no terminal */
    History           *history;
    const char        *prompt;
    char              *history_path;
    ds4_line_alone_fn *alone;
    bool               continued;       /* another line of the same message */
    char              *plain;           /* buffer of getline() */
    size_t             plain_bytes;
};

static char *give_prompt(EditLine *el)
{
    ds4_line_edit *e = NULL;

    el_get(el, EL_CLIENTDATA, &e);
    return (char *)(uintptr_t)(e->continued ? "...> " : e->prompt);
}

/* libedit takes the bytes of a character apart unless the locale is UTF-8. */
static void want_utf8(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0 && !setlocale(LC_CTYPE, "C.UTF-8")) {
        setlocale(LC_CTYPE, "en_US.UTF-8");
    }
}

static bool open_editor(ds4_line_edit *e, const char *program)
{
    HistEvent event;

    want_utf8();
    e->el = el_init(program, stdin, stdout, stderr);
    e->history = history_init();
    if (!e->el || !e->history) return false;
    el_set(e->el, EL_CLIENTDATA, e);
    el_set(e->el, EL_PROMPT, give_prompt);
    el_set(e->el, EL_EDITOR, "emacs");
    el_set(e->el, EL_SIGNAL, 0);
    el_set(e->el, EL_HIST, history, e->history);
    el_source(e->el, NULL);
    el_set(e->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    history(e->history, &event, H_SETSIZE, DS4_LINE_HISTORY);
    history(e->history, &event, H_SETUNIQUE, 1);
    if (*e->history_path) history(e->history, &event, H_LOAD, e->history_path);
    return true;
}

ds4_line_edit *ds4_line_edit_open(const char *program, const char *prompt,
                                  const char *history_path, ds4_line_alone_fn *alone)
{
    ds4_line_edit *e = calloc(1, sizeof *e);

    if (!e) return NULL;
    e->prompt = prompt;
    e->alone = alone;
    e->history_path = strdup(history_path);
    const bool ok = e->history_path && (!ds4_term_is(stdin) || open_editor(e, program));
    if (ok) return e;
    ds4_line_edit_close(e);
    return NULL;
}

void ds4_line_edit_close(ds4_line_edit *e)
{
    if (!e) return;
    if (e->history) history_end(e->history);
    if (e->el) el_end(e->el);
    free(e->history_path);
    free(e->plain);
    free(e);
}

static ds4_line_end read_plain(ds4_line_edit *e, ds4_str *out)
{
    errno = 0;
    const ssize_t n = getline(&e->plain, &e->plain_bytes, stdin);
    if (n < 0) return errno == EINTR ? DS4_LINE_INTERRUPTED : DS4_LINE_CLOSED;
    size_t kept = (size_t)n;
    if (kept > 0 && e->plain[kept - 1] == '\n') kept--;
    if (kept > 0 && e->plain[kept - 1] == '\r') kept--;
    ds4_str_add(out, e->plain, kept);
    return DS4_LINE_READ;
}

static bool more_is_waiting(void)
{
    struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
    return poll(&in, 1, PASTE_GAP_MS) == 1 && (in.revents & POLLIN);
}

static ds4_line_end after_interrupt(ds4_line_edit *e, const ds4_str *out)
{
    const LineInfo *written = el_line(e->el);
    return out->n_bytes > 0 || written->lastchar > written->buffer ? DS4_LINE_DROPPED : DS4_LINE_INTERRUPTED;
}

static ds4_line_end read_edited(ds4_line_edit *e, ds4_str *out)
{
    e->continued = false;
    for (;;) {
        int n = 0;
        errno = 0;
        const char *line = el_gets(e->el, &n);
        if (!line || n <= 0) {
            if (n < 0 && errno == EINTR) return after_interrupt(e, out);
            return out->n_bytes > 0 ? DS4_LINE_READ : DS4_LINE_CLOSED;
        }
        const bool whole = line[n - 1] == '\n';
        ds4_str_add(out, line, (size_t)n - (whole ? 1 : 0));
        if (!e->continued && e->alone(ds4_str_text(out))) return DS4_LINE_READ;
        if (!more_is_waiting()) return DS4_LINE_READ;
        ds4_str_add_char(out, '\n');
        e->continued = true;
    }
}

/* Saved after each message, so that a crash loses none; the file is made before libedit
 * opens it, because it must never be readable by others. */
static void keep(ds4_line_edit *e, const ds4_str *text)
{
    HistEvent event;

    if (text->n_bytes == 0 || memchr(text->data, '\n', text->n_bytes)) return;
    history(e->history, &event, H_ENTER, text->data);
    if (!*e->history_path) return;
    const int fd = open(e->history_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return;
    if (fchmod(fd, 0600) == 0) history(e->history, &event, H_SAVE, e->history_path);
    close(fd);
}

ds4_line_end ds4_line_edit_read(ds4_line_edit *e, ds4_str *out)
{
    ds4_str_clear(out);
    if (!e->el) return read_plain(e, out);
    const ds4_line_end end = read_edited(e, out);
    if (end == DS4_LINE_READ) keep(e, out);
    return end;
}
