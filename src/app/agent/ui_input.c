/* ui_input.c - what keys do: editing, sending, queueing, stopping, answering. */
#include "app/agent/ui_local.h"

#include "app/agent/ui_complete.h"
#include "base/clock.h"

#include <signal.h>
#include <string.h>

enum { MAX_OFFERS = 24 };
#define TYPED_AHEAD_NS UINT64_C(400000000)      /* keys that come sooner were meant for the line */

static const char keys_text[] =
    "Enter sends; while the model works the message waits for its turn\n"
    "Alt-Enter, Ctrl-J  a new line          Tab  completes commands and files\n"
    "Esc     stops and sends what waits     Ctrl-C  stops; twice at rest ends the program\n"
    "Ctrl-X  takes the message that waits back, to edit it\n"
    "Up, Down, Ctrl-R  earlier messages     Ctrl-L  clears the screen\n"
    "Ctrl-D  ends the program               Ctrl-Z  pauses it\n";

static ds4_slice text_of(const ds4_str *s)
{
    return (ds4_slice){ ds4_str_text(s), s->n_bytes };
}

static void say(ds4_ui *ui, const char *text)
{
    const ds4_front_event note = { .kind = DS4_FRONT_NOTE, .text = { text, strlen(text) } };

    pthread_mutex_lock(&ui->lock);
    ui_view_event(&ui->view, &note);
    pthread_mutex_unlock(&ui->lock);
}

static void say_hint(ds4_ui *ui, const char *text)
{
    ds4_str_truncate(&ui->hint, 0);
    ds4_str_add_text(&ui->hint, text);
}

void ui_input_leave(ds4_ui *ui)
{
    if (ui->leaving) return;
    ui->leaving = true;
    ds4_agent_quit(ui->agent);
}

/* ---- questions -------------------------------------------------------------------------------------- */

static void answer(ds4_ui *ui, ds4_permission permission)
{
    static const char *const said[] = { "no", "yes", "always" };

    pthread_mutex_lock(&ui->lock);
    if (ui->asking) {
        ui->answer = permission;
        ui->has_answer = true;
        ui->asking = false;
        ui->dirty = true;
        ui_view_answer(&ui->view, said[permission]);
        pthread_cond_signal(&ui->answered);
    }
    pthread_mutex_unlock(&ui->lock);
}

/* Returns whether a question took the key. */
static bool answer_key(ds4_ui *ui, ui_key key)
{
    pthread_mutex_lock(&ui->lock);
    const bool asking = ui->asking, always = ui->may_always;
    const bool soon = ds4_now_ns() - ui->asked_ns < TYPED_AHEAD_NS;
    pthread_mutex_unlock(&ui->lock);
    if (!asking || soon || key != UI_KEY_TEXT || ui->line.text.n_bytes) return false;
    const char c = ui->keys.text.n_bytes == 1 ? ui->keys.text.data[0] : '\0';
    if (c == 'y' || c == 'Y') answer(ui, DS4_PERMISSION_ONCE);
    else if ((c == 'a' || c == 'A') && always) answer(ui, DS4_PERMISSION_ALWAYS);
    else if (c == 'n' || c == 'N') answer(ui, DS4_PERMISSION_DENY);
    else return false;
    return true;
}

/* ---- sending ---------------------------------------------------------------------------------------- */

/* "/word" or "/word arg": a path such as /usr/bin is text. */
static bool is_command(const char *text)
{
    const size_t n = strcspn(text, " \t\n");
    return text[0] == '/' && n > 1 && !memchr(text + 1, '/', n - 1) && !strchr(text, '\n');
}

static void send_line(ds4_ui *ui)
{
    ds4_str *text = &ui->line.text;
    size_t   n = text->n_bytes;

    while (n > 0 && strchr(" \n", text->data[n - 1])) n--;
    if (n == 0) return;
    ds4_str_truncate(text, n);
    ui_history_add(&ui->history, text_of(text));
    if (strcmp(text->data, "/keys") == 0) {
        say(ui, keys_text);
    } else if (is_command(text->data)) {
        if (strcmp(text->data, "/help") == 0) say(ui, "/keys                list the keys");
        ds4_agent_command(ui->agent, text_of(text));
    } else if (ds4_agent_submit(ui->agent, text_of(text)) == 0) {
        say(ui, "There is no memory for this message.");
        return;
    }
    ui_line_set(&ui->line, (ds4_slice){ "", 0 });
}

/* The message that waits comes back, above what was typed meanwhile. */
static void take_back(ds4_ui *ui)
{
    ds4_str text = { 0 }, clean = { 0 };

    if (ds4_agent_unqueue(ui->agent, &text)) {
        ui_scrub_text(text_of(&text), false, &clean);
        const bool more = ui->line.text.n_bytes > 0;
        if (more) ds4_str_add_char(&clean, '\n');
        if (more) ds4_str_add(&clean, ui->line.text.data, ui->line.text.n_bytes);
        ui_line_set(&ui->line, text_of(&clean));
    } else {
        say_hint(ui, "no message waits");
    }
    ds4_str_clear(&text);
    ds4_str_clear(&clean);
}

/* ---- stopping --------------------------------------------------------------------------------------- */

static void stop(ds4_ui *ui, bool send)
{
    ui->stopping = true;
    ds4_agent_interrupt(ui->agent, send);
    answer(ui, DS4_PERMISSION_DENY);
}

void ui_input_interrupt(ds4_ui *ui)
{
    if (ds4_agent_busy(ui->agent)) {
        stop(ui, false);
    } else if (ui->line.text.n_bytes) {
        ui_line_set(&ui->line, (ds4_slice){ "", 0 });
        ui_history_stay(&ui->history);
    } else if (ui->warned) {
        ui_input_leave(ui);
    } else {
        say_hint(ui, "press Ctrl-C again or Ctrl-D to end");
        ui->warned = true;
        return;
    }
    ui->warned = false;
}

/* ---- keys ------------------------------------------------------------------------------------------- */

static void complete(ds4_ui *ui)
{
    uint32_t              n;
    const ds4_agent_word *words = ds4_agent_words(&n);
    ds4_str               root = { 0 };

    pthread_mutex_lock(&ui->lock);
    ds4_str_add_text(&root, ui->view.root.n_bytes ? ui->view.root.data : ".");
    pthread_mutex_unlock(&ui->lock);
    if (!ui_complete(&ui->line, ds4_str_text(&root), words, n, MAX_OFFERS, &ui->offers) &&
        ui->offers.n_bytes == 0) {
        ui_screen_bell(&ui->screen);
    }
    ds4_str_clear(&root);
}

/* As a shell's Ctrl-Z; SIGCONT is seen by the front's thread too. */
static void suspend(ds4_ui *ui)
{
    ui_screen_pause(&ui->screen);
    raise(SIGSTOP);
    ui_screen_resume(&ui->screen);
}

static void control(ds4_ui *ui, char c)
{
    switch (c) {
    case 'C': ui_input_interrupt(ui); break;
    case 'X': take_back(ui); break;
    case 'R': ui_history_look(&ui->history, &ui->line); break;
    case 'L': ui_screen_wipe(&ui->screen); break;
    case 'Z': suspend(ui); break;
    case 'D':
        if (ui->line.text.n_bytes == 0) ui_input_leave(ui);
        else ui_line_key(&ui->line, UI_KEY_DELETE, 0, (ds4_slice){ "", 0 });
        break;
    default:
        if (ui_line_key(&ui->line, UI_KEY_CTRL, c, (ds4_slice){ "", 0 })) ui_history_stay(&ui->history);
        break;
    }
}

void ui_input_key(ds4_ui *ui, ui_key key)
{
    const bool interrupt = key == UI_KEY_CTRL && ui->keys.ctrl == 'C';

    ds4_str_truncate(&ui->hint, 0);
    ds4_str_truncate(&ui->offers, 0);
    ui->stopping = false;
    if (!interrupt) ui->warned = false;
    if (answer_key(ui, key)) return;
    if (key == UI_KEY_ENTER) {
        send_line(ui);
    } else if (key == UI_KEY_TAB) {
        complete(ui);
    } else if (key == UI_KEY_ESC) {
        if (ds4_agent_busy(ui->agent)) stop(ui, true);
    } else if (key == UI_KEY_CTRL) {
        control(ui, ui->keys.ctrl);
    } else if (ui_line_key(&ui->line, key, 0, text_of(&ui->keys.text))) {
        if (key == UI_KEY_TEXT || key == UI_KEY_BACK) ui_history_stay(&ui->history);
    } else if (key == UI_KEY_UP || key == UI_KEY_DOWN) {
        ui_history_step(&ui->history, &ui->line, key == UI_KEY_UP);
    }
}
