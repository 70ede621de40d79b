/* repl.c - ds4 without a prompt: a conversation. */
#include "app/cli/cli.h"
#include "app/cli/line_edit.h"
#include "app/cli/show.h"
#include "base/file.h"
#include "base/knob.h"
#include "service/steer_command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct repl {
    const ds4_cli    *cli;
    ds4_model        *model;
    ds4_conversation *talk;
    ds4_resume       *resume;
    ds4_turn          turn;
    ds4_slice         stops[DS4_OPTION_MAX_TEXTS];
    ds4_rng           rng;
    ds4_cancel       *cancel;
    ds4_show          show;
    bool              terminal;     /* a person sits there */
    bool              over;
    int               code;
} repl;

static const char help_text[] =
    "/think       reason before answering\n"
    "/think-max   reason with the greatest effort\n"
    "/nothink     answer at once\n"
    "/ctx N       change the context to N tokens; the conversation is kept\n"
    "/steer F A   steer the experts' outputs by F, attention's by A, from now on\n"
    "/read FILE   send a file's text as the next message\n"
    "/help        print this\n"
    "/quit, /exit end (also Ctrl-D)\n"
    "Ctrl-C stops an answer. Lines that are pasted together are one message.\n";

/* ---- messages ---------------------------------------------------------------------------- */

/* Send one message. When it fails, it is taken back, so that the conversation goes on as
 * if it had not been sent. */
static void send_message(repl *r, ds4_slice text)
{
    ds4_history   *history = ds4_conversation_history(r->talk);
    const uint32_t before = history->n;
    ds4_err        err = { .code = DS4_OK };

    r->cancel->stop = 0;
    ds4_interrupt_catch(true);
    ds4_show_begin(&r->show, false);
    ds4_status st = ds4_history_add_text(history, DS4_ROLE_USER, text, &err);
    if (st == DS4_OK) st = ds4_conversation_reply(r->talk, &r->turn, &err);
    ds4_term_progress_end();
    ds4_show_end(&r->show);

    const bool stopped = r->cancel->stop != 0;
    r->cancel->stop = 0;
    if (st != DS4_OK) {
        ds4_history_truncate(history, before);
        ds4_app_say(DS4_CLI_NAME, "%s",
                    st == DS4_E_CANCELLED ? "stopped; the message was taken back" : err.text);
        if (st == DS4_E_LIMIT) {
            ds4_app_say(DS4_CLI_NAME, "the message was taken back; /ctx N makes more room");
        }
    } else {
        ds4_cli_say_end(r->talk);
        if (r->cli->stats) ds4_cli_print_stats(r->talk, r->model);
    }
    if (stopped && !r->terminal) {
        r->over = true;
        r->code = DS4_EXIT_INTERRUPTED;
    }
    if (st != DS4_OK && (st == DS4_E_DEVICE || !r->terminal)) {
        r->over = true;
        r->code = st == DS4_E_CANCELLED ? DS4_EXIT_INTERRUPTED : DS4_EXIT_FAILURE;
    }
}

/* ---- commands ---------------------------------------------------------------------------- */

static void set_mode(repl *r, ds4_think_mode mode, const char *said)
{
    ds4_cli_set_think(&r->turn, mode);
    ds4_app_say(DS4_CLI_NAME, "%s", said);
}

static void change_ctx(repl *r, const char *arg)
{
    ds4_err  err = { .code = DS4_OK };
    uint64_t n = 0;

    if (!ds4_parse_u64(arg, 16, 1048576, &n)) {
        ds4_app_say(DS4_CLI_NAME, "/ctx needs a number of tokens from 16 to 1048576");
    } else if (ds4_conversation_resize(r->talk, (uint32_t)n, &err) != DS4_OK) {
        ds4_app_say(DS4_CLI_NAME, "%s", err.text);
    } else {
        ds4_app_say(DS4_CLI_NAME, "the context now has %u tokens", (uint32_t)n);
    }
}

static void steer(repl *r, const char *arg)
{
    ds4_err err = { .code = DS4_OK };
    char    said[160];

    if (ds4_steer_command(r->model->engine, arg, said, sizeof said, &err) != DS4_OK) {
        ds4_app_say(DS4_CLI_NAME, "%s", err.text);
    } else {
        ds4_app_say(DS4_CLI_NAME, "%s", said);
    }
}

static void read_file(repl *r, const char *path)
{
    ds4_str text = { 0 };
    ds4_err err = { .code = DS4_OK };

    if (!*path) {
        ds4_app_say(DS4_CLI_NAME, "/read needs the name of a file");
    } else if (ds4_file_read(path, DS4_CLI_MAX_FILE, &text, &err) != DS4_OK) {
        ds4_app_say(DS4_CLI_NAME, "%s", err.text);
    } else if (text.n_bytes == 0) {
        ds4_app_say(DS4_CLI_NAME, "%s is empty", path);
    } else {
        send_message(r, (ds4_slice){ text.data, text.n_bytes });
    }
    ds4_str_clear(&text);
}

static void run_command(repl *r, char *line)
{
    const size_t n = strcspn(line, " \t");
    const char  *arg = line + n + strspn(line + n, " \t");

    line[n] = '\0';
    if (strcmp(line, "/quit") == 0 || strcmp(line, "/exit") == 0) {
        r->over = true;
    } else if (strcmp(line, "/help") == 0) {
        fputs(help_text, stdout);
        fflush(stdout);
    } else if (strcmp(line, "/think") == 0) {
        set_mode(r, DS4_THINK, "from now on with reasoning");
    } else if (strcmp(line, "/think-max") == 0) {
        set_mode(r, DS4_THINK_MAX, "from now on with the greatest reasoning effort");
    } else if (strcmp(line, "/nothink") == 0) {
        set_mode(r, DS4_THINK_OFF, "from now on without reasoning");
    } else if (strcmp(line, "/ctx") == 0) {
        change_ctx(r, arg);
    } else if (strcmp(line, "/steer") == 0) {
        steer(r, arg);
    } else if (strcmp(line, "/read") == 0) {
        read_file(r, arg);
    } else {
        ds4_app_say(DS4_CLI_NAME, "there is no command %s; /help lists them", line);
    }
}

/* "/word" or "/word arg": a path such as /usr/bin is text. */
static bool is_command(const char *line)
{
    const size_t n = strcspn(line, " \t\n");
    return line[0] == '/' && n > 1 && !memchr(line + 1, '/', n - 1) && !strchr(line, '\n');
}

/* ---- the loop ----------------------------------------------------------------------------- */

static void take_line(repl *r, ds4_str *line)
{
    size_t n = line->n_bytes;

    if (line->failed) {
        ds4_app_say(DS4_CLI_NAME, "no memory for the message");
        return;
    }
    while (n > 0 && strchr(" \t\n", line->data[n - 1])) n--;
    if (n == 0) return;
    if (is_command(ds4_str_text(line))) {
        ds4_str_truncate(line, n);
        run_command(r, line->data);
    } else {
        send_message(r, (ds4_slice){ line->data, line->n_bytes });
    }
}

static void loop(repl *r, ds4_line_edit *edit)
{
    ds4_str line = { 0 };
    bool    warned = false;         /* the last thing that came was Ctrl-C */

    while (!r->over) {
        ds4_interrupt_catch(false);
        const ds4_line_end end = ds4_line_edit_read(edit, &line);
        r->cancel->stop = 0;
        if (end == DS4_LINE_CLOSED) {
            if (r->terminal) fputc('\n', stdout);
            r->over = true;
        } else if (end == DS4_LINE_DROPPED) {
            fputc('\n', stdout);
            warned = false;
        } else if (end == DS4_LINE_INTERRUPTED) {
            if (r->terminal) fputc('\n', stdout);
            if (warned || !r->terminal) {
                r->over = true;
                r->code = DS4_EXIT_INTERRUPTED;
            } else {
                ds4_app_say(DS4_CLI_NAME, "press Ctrl-C again or Ctrl-D to end");
            }
            warned = true;
        } else {
            warned = false;
            take_line(r, &line);
        }
    }
    ds4_str_clear(&line);
}

static ds4_status begin(repl *r, ds4_err *err)
{
    const char                   *system = r->cli->system;
    const ds4_speculation_options speculation = ds4_cli_speculation(r->cli);

    DS4_TRY(ds4_conversation_create(r->model->engine, ds4_cli_ctx(r->cli, r->model),
                                    r->model->protocol, &r->talk, err));
    DS4_TRY(ds4_conversation_speculate(r->talk, &speculation, err));
    ds4_conversation_use(r->talk, r->resume);
    if (!*system) return DS4_OK;
    return ds4_history_add_text(ds4_conversation_history(r->talk), DS4_ROLE_SYSTEM,
                                (ds4_slice){ system, strlen(system) }, err);
}

static ds4_line_edit *open_editor(void)
{
    const char *home = ds4_knob_text(DS4_KNOB_HOME);
    ds4_str     path = { 0 };

    if (home && *home) ds4_str_addf(&path, "%s/.ds4_history", home);
    ds4_line_edit *edit = ds4_line_edit_open(DS4_CLI_NAME, "ds4> ", ds4_str_text(&path), is_command);
    ds4_str_clear(&path);
    return edit;
}

int ds4_cli_repl(const ds4_cli *cli, ds4_model *model)
{
    repl r = { .cli = cli, .model = model, .terminal = ds4_term_is(stdin), .code = DS4_EXIT_OK };
    ds4_err        err = { .code = DS4_OK };
    ds4_line_edit *edit = NULL;

    r.code = ds4_app_kv_open(DS4_CLI_NAME, &cli->kv, model->engine, &r.resume);
    if (r.code != DS4_EXIT_OK) return r.code;
    if (begin(&r, &err) != DS4_OK) {
        r.code = ds4_app_failed(DS4_CLI_NAME, &err);
    } else if (!(edit = open_editor())) {
        ds4_app_say(DS4_CLI_NAME, "cannot set up the terminal: %s", strerror(errno));
        r.code = DS4_EXIT_FAILURE;
    } else {
        ds4_cli_turn(cli, model, r.stops, &r.rng, &r.turn);
        r.cancel = ds4_interrupt_catch(true);
        r.turn.cancel = r.cancel;
        r.turn.progress = ds4_show_progress;
        r.turn.piece = ds4_show_piece;
        r.turn.ctx = &r.show;
        if (r.terminal) {
            const ds4_model_info *info = ds4_engine_info(model->engine);
            ds4_app_say(DS4_CLI_NAME, "%s, context %u tokens; /help lists the commands",
                        *info->name ? info->name : info->path, ds4_conversation_capacity(r.talk));
        }
        loop(&r, edit);
    }
    ds4_line_edit_close(edit);
    ds4_conversation_free(r.talk);
    ds4_resume_free(r.resume);
    return r.code;
}
