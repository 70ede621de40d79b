/* ui.c - see ui.h: the two threads, and a frame now and then. */
#include "app/agent/ui_local.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

enum { ESCAPE_MS = 40, FRAME_MS = 16 };

/* ---- signals ---------------------------------------------------------------------------------------- */

/* Signals reach one terminal of a process: they leave a letter in its pipe. */
static volatile sig_atomic_t wake_fd = -1;
static const int             caught[] = { SIGWINCH, SIGCONT, SIGINT, SIGTERM, SIGHUP };
static struct sigaction      before[sizeof caught / sizeof *caught];

static void on_signal(int number)
{
    const int  kept = errno;
    const char letter = number == SIGWINCH ? 'w' : number == SIGCONT ? 'c' : number == SIGINT ? 'i' : 't';

    if (wake_fd >= 0) {
        const ssize_t n = write(wake_fd, &letter, 1);
        (void)n;                        /* a full pipe wakes as well */
    }
    errno = kept;
}

static void catch_signals(bool yes)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) {
        if (yes) sigaction(caught[i], &action, &before[i]);
        else sigaction(caught[i], &before[i], NULL);
    }
}

static void wake(ds4_ui *ui, char letter)
{
    const ssize_t n = write(ui->wake[1], &letter, 1);
    (void)n;
}

/* ---- the loop's side -------------------------------------------------------------------------------- */

static void on_event(void *ctx, const ds4_front_event *e)
{
    ds4_ui *ui = ctx;

    pthread_mutex_lock(&ui->lock);
    ui_view_event(&ui->view, e);
    const bool first = !ui->dirty;
    ui->dirty = true;
    pthread_mutex_unlock(&ui->lock);
    if (first) wake(ui, 'e');
}

static ds4_permission on_ask(void *ctx, const ds4_question *question)
{
    ds4_ui *ui = ctx;

    pthread_mutex_lock(&ui->lock);
    ui_view_question(&ui->view, question);
    ui->asking = true;
    ui->has_answer = false;
    ui->may_always = question->may_always;
    ui->answer = DS4_PERMISSION_DENY;
    ui->asked_ns = ds4_now_ns();
    ui->dirty = true;
    wake(ui, 'e');
    while (!ui->has_answer) pthread_cond_wait(&ui->answered, &ui->lock);
    const ds4_permission given = ui->answer;
    pthread_mutex_unlock(&ui->lock);
    return given;
}

ds4_front ds4_ui_front(ds4_ui *ui)
{
    return (ds4_front){ .ctx = ui, .event = on_event, .ask = on_ask };
}

void ds4_ui_say(ds4_ui *ui, const char *text)
{
    const ds4_front_event note = { .kind = DS4_FRONT_NOTE, .text = { text, strlen(text) } };
    on_event(ui, &note);
}

/* ---- frames ----------------------------------------------------------------------------------------- */

static const char *hint_of(const ds4_ui *ui)
{
    if (!ui->asking)
        return ui->stopping && ui->view.status.state != DS4_AGENT_IDLE ? "stopping" : ds4_str_text(&ui->hint);
    return ui->may_always ? "allow it? y yes, a always, n no, Esc no and stop"
                          : "allow it? y yes, n no, Esc no and stop";
}

static void add_offers(ds4_ui *ui, ui_rows *out)
{
    ds4_str cut = { 0 };

    if (ui->offers.n_bytes == 0) return;
    ui_cut(&ui->view.look, ui->offers.data, ui->offers.n_bytes, ui->screen.cols - 1, &cut);
    ui_rows_add_text(out, &ui->view.look, UI_DIM, ds4_str_text(&cut));
    ds4_str_clear(&cut);
}

/* Bottom up: the status, what Tab offers, the line; the rest is for what the agent does. */
static void show(ds4_ui *ui)
{
    const int cols = ui->screen.cols, rows = ui->screen.rows;
    ui_rows   live = { 0 }, line = { 0 }, given;
    ui_cursor cursor;

    ui_line_rows(&ui->line, &ui->view.look, cols - 1, (size_t)(rows > 9 ? rows / 3 : 1), &line, &cursor);
    const size_t fixed = line.n + 1 + (ui->offers.n_bytes > 0) + 1;
    pthread_mutex_lock(&ui->lock);
    ui_view_size(&ui->view, cols, rows);
    ui_view_live(&ui->view, (size_t)rows > fixed + 1 ? (size_t)rows - fixed : 1, &live);
    given = ui->view.given;
    ui->view.given = (ui_rows){ 0 };
    if (!ui->leaving) {
        ui_rows_add(&live);
        cursor.row += live.n;
        for (size_t i = 0; i < line.n; i++) {
            ui_row *row = ui_rows_add(&live);
            if (row) *row = line.row[i], line.row[i] = (ui_row){ 0 };
        }
        add_offers(ui, &live);
        ui_view_status(&ui->view, hint_of(ui), &live);
    } else {
        cursor = (ui_cursor){ .row = live.n ? live.n - 1 : 0 };
    }
    ui->dirty = false;
    pthread_mutex_unlock(&ui->lock);
    ui_screen_show(&ui->screen, &given, &live, &cursor);
    ui_rows_clear(&given);
    ui_rows_clear(&live);
    ui_rows_clear(&line);
    ui->shown_ns = ds4_now_ns();
}

/* ---- the front's thread ----------------------------------------------------------------------------- */

/* Returns false when the terminal is gone. */
static bool take_keys(ds4_ui *ui)
{
    char          data[4096];
    const ssize_t n = read(ui->screen.in, data, sizeof data);
    ui_key        key;

    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (n <= 0) return false;
    ui_keys_add(&ui->keys, data, (size_t)n);
    ui->keyed_ns = ds4_now_ns();
    while ((key = ui_keys_next(&ui->keys, false)) != UI_KEY_NONE) ui_input_key(ui, key);
    return true;
}

/* Returns false when it is time to end. */
static bool take_letters(ds4_ui *ui)
{
    char          data[256];
    const ssize_t n = read(ui->wake[0], data, sizeof data);

    for (ssize_t i = 0; i < n; i++) {
        if (data[i] == 'q') return false;
        if (data[i] == 'i') ui_input_interrupt(ui);
        if (data[i] == 't') ui_input_leave(ui);
        if (data[i] == 'c') {
            ui_screen_pause(&ui->screen);
            ui_screen_resume(&ui->screen);
        }
    }
    return true;
}

/* Milliseconds that are left of a time since then, at least 0. */
static int left_of(uint64_t since_ns, int ms)
{
    const uint64_t passed = (ds4_now_ns() - since_ns) / 1000000;
    return passed >= (uint64_t)ms ? 0 : ms - (int)passed;
}

static int wait_ms(const ds4_ui *ui, bool want_frame)
{
    const int frame = want_frame ? left_of(ui->shown_ns, FRAME_MS) : -1;
    const int key = ui_keys_waiting(&ui->keys) ? left_of(ui->keyed_ns, ESCAPE_MS) : -1;

    return frame < 0 ? key : key < 0 || frame < key ? frame : key;
}

/* An Escape that nothing followed for a while is the key itself. */
static void take_late_keys(ds4_ui *ui)
{
    if (!ui_keys_waiting(&ui->keys) || left_of(ui->keyed_ns, ESCAPE_MS) > 0) return;
    ui_key key;
    while ((key = ui_keys_next(&ui->keys, true)) != UI_KEY_NONE) ui_input_key(ui, key);
}

static void *run(void *ctx)
{
    ds4_ui *ui = ctx;
    bool    want_frame = true, open = true;

    for (;;) {
        struct pollfd fds[] = { { .fd = ui->wake[0], .events = POLLIN },
                                { .fd = open ? ui->screen.in : -1, .events = POLLIN } };
        const int n = poll(fds, 2, wait_ms(ui, want_frame));
        if (n > 0 && fds[1].revents && !take_keys(ui)) {
            open = false;
            ui_input_leave(ui);
        }
        want_frame |= n > 0 || ui_keys_waiting(&ui->keys);
        take_late_keys(ui);
        if (n > 0 && fds[0].revents && !take_letters(ui)) break;
        ui_screen_measure(&ui->screen);
        if (want_frame && left_of(ui->shown_ns, FRAME_MS) == 0) {
            show(ui);
            want_frame = false;
        }
    }
    return NULL;
}

/* ---- beginning and end ------------------------------------------------------------------------------ */

static bool locale_is_utf8(void)
{
    const locale_t l = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
    const bool     yes = l != (locale_t)0 && strcmp(nl_langinfo_l(CODESET, l), "UTF-8") == 0;

    if (l != (locale_t)0) freelocale(l);
    return yes;
}

static bool open_pipe(int fd[2])
{
    if (pipe(fd) != 0) return false;
    for (int i = 0; i < 2; i++) {
        fcntl(fd[i], F_SETFD, FD_CLOEXEC);
        fcntl(fd[i], F_SETFL, O_NONBLOCK);
    }
    return true;
}

ds4_status ds4_ui_open(const ds4_ui_options *opt, ds4_ui **out, ds4_err *err)
{
    ds4_ui *ui = calloc(1, sizeof *ui);

    if (!ui || !open_pipe(ui->wake)) {
        free(ui);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for the terminal");
    }
    if (!ui_screen_open(&ui->screen, opt->in, opt->out)) {
        const int why = errno;
        close(ui->wake[0]);
        close(ui->wake[1]);
        free(ui);
        return ds4_fail(err, DS4_E_IO, "cannot use the terminal: %s", strerror(why));
    }
    pthread_mutex_init(&ui->lock, NULL);
    pthread_cond_init(&ui->answered, NULL);
    ui->view.look = (ui_look){ .colour = opt->colour, .utf8 = locale_is_utf8() };
    ui_view_size(&ui->view, ui->screen.cols, ui->screen.rows);
    ui_history_open(&ui->history, opt->history_path);
    *out = ui;
    return DS4_OK;
}

ds4_status ds4_ui_start(ds4_ui *ui, ds4_agent *agent, ds4_err *err)
{
    ui->agent = agent;
    wake_fd = ui->wake[1];
    catch_signals(true);
    if (pthread_create(&ui->thread, NULL, run, ui) != 0) {
        catch_signals(false);
        return ds4_fail(err, DS4_E_NOMEM, "cannot start a thread for the terminal");
    }
    ui->started = true;
    return DS4_OK;
}

void ds4_ui_close(ds4_ui *ui)
{
    if (!ui) return;
    if (ui->started) {
        wake(ui, 'q');
        pthread_join(ui->thread, NULL);
        catch_signals(false);
        wake_fd = -1;
    }
    ui->leaving = true;                 /* the line and the status go, what was said stays */
    show(ui);
    ui_screen_close(&ui->screen);
    ui_keys_clear(&ui->keys);
    ui_line_clear(&ui->line);
    ui_history_close(&ui->history);
    ui_view_clear(&ui->view);
    ds4_str_clear(&ui->hint);
    ds4_str_clear(&ui->offers);
    pthread_mutex_destroy(&ui->lock);
    pthread_cond_destroy(&ui->answered);
    close(ui->wake[0]);
    close(ui->wake[1]);
    free(ui);
}
