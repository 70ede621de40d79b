/* agent_command.c - the commands of the agent. */
#include "agent/agent_local.h"

#include "service/steer_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HISTORY_TURNS = 3, HISTORY_MOST = 200 };

static const ds4_agent_word words[] = {
    { "/help", "", "list the commands", true },
    { "/list", "", "list the sessions", true },
    { "/switch", "ID", "open another session; the beginning of its id is enough", false },
    { "/new", "[FOLDER]", "begin a new session, in another folder if one is named", false },
    { "/save", "", "write everything to disk now; nothing is lost without it", true },
    { "/history", "[N]", "show the last N turns again [3]", false },
    { "/compact", "", "shorten the context to a summary and its last part", false },
    { "/undo", "", "take the last message back, with every change of files since", false },
    { "/retry", "", "the same, and answer the message once more", false },
    { "/fork", "", "go on in a copy of this session", false },
    { "/continue", "", "go on with a turn that was cut", false },
    { "/plan", "", "plan: from now on only read; once more: work again", false },
    { "/mode", "[NAME]", "what is done without asking: work, ask, read-only or yolo", false },
    { "/think", "[on|off]", "reason before answering, or answer at once", false },
    { "/model", "", "show the model", true },
    { "/steer", "[F [A]]", "steer the outputs of experts by F, of attention by A, from now on", false },
    { "/quit", "", "end; the session stays", true },
};

const ds4_agent_word *ds4_agent_words(uint32_t *n)
{
    *n = sizeof words / sizeof *words;
    return words;
}

static const ds4_agent_word *find_word(ds4_slice line)
{
    size_t n = 0;

    while (n < line.n_bytes && line.data[n] != ' ' && line.data[n] != '\t') n++;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (ds4_slice_eq((ds4_slice){ line.data, n }, (ds4_slice){ words[i].name, strlen(words[i].name) })) {
            return &words[i];
        }
    }
    return NULL;
}

bool ds4_agent_may_now(ds4_slice line)
{
    const ds4_agent_word *word = find_word(line);
    return word && word->any_time;
}

/* ---- one function for each ------------------------------------------------------------------ */

typedef ds4_status command_fn(ds4_agent *a, const char *arg, ds4_err *err);

static ds4_status do_help(ds4_agent *a, const char *arg, ds4_err *err)
{
    (void)arg;
    (void)err;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s %s", words[i].name, words[i].args);
        ds4_agent_note(a, "%-20s %s", name, words[i].help);
    }
    return DS4_OK;
}

static ds4_status do_list(ds4_agent *a, const char *arg, ds4_err *err)
{
    (void)arg;
    return ds4_agent_list_sessions(a, err);
}

static ds4_status do_switch(ds4_agent *a, const char *arg, ds4_err *err)
{
    if (!*arg) return ds4_fail(err, DS4_E_ARG, "/switch needs the id of a session; /list shows them");
    DS4_TRY(ds4_agent_open_session(a, arg, err));
    ds4_agent_tell_session(a);
    ds4_agent_tell_past(a, HISTORY_TURNS);
    ds4_agent_tell_status(a, true);
    return DS4_OK;
}

static ds4_status do_new(ds4_agent *a, const char *arg, ds4_err *err)
{
    if (*arg) DS4_TRY(ds4_agent_open_tools(a, arg, err));
    DS4_TRY(ds4_agent_new_session(a, err));
    ds4_agent_tell_session(a);
    ds4_agent_tell_status(a, true);
    return DS4_OK;
}

static ds4_status do_save(ds4_agent *a, const char *arg, ds4_err *err)
{
    (void)arg;
    DS4_TRY(ds4_journal_sync(a->talk.journal, err));
    ds4_resume_flush(a->opt.resume);
    ds4_agent_note(a, "session %s is on the disk", a->talk.id);
    return DS4_OK;
}

static ds4_status do_history(ds4_agent *a, const char *arg, ds4_err *err)
{
    char      *end = NULL;
    const long n = *arg ? strtol(arg, &end, 10) : HISTORY_TURNS;

    if (n < 1 || n > HISTORY_MOST || (end && *end))
        return ds4_fail(err, DS4_E_ARG, "/history takes 1 to %d turns", HISTORY_MOST);
    ds4_agent_tell_past(a, (uint32_t)n);
    return DS4_OK;
}

static ds4_status do_compact(ds4_agent *a, const char *arg, ds4_err *err)
{
    (void)arg;
    return ds4_agent_compact(a, err);
}

/* Files go back to a message; what happened to each is told. */
static ds4_status restore_files(ds4_agent *a, const ds4_talk_item *user, ds4_err *err)
{
    ds4_str told = { 0 };

    if (user->mark == 0) return DS4_OK;
    const ds4_status st = ds4_tools_restore(a->tools, user->mark, &told, err);
    if (told.n_bytes > 0) ds4_agent_tell_text(a, DS4_FRONT_NOTE, (ds4_slice){ told.data, told.n_bytes });
    ds4_str_clear(&told);
    if (st != DS4_E_ARG) return st;
    ds4_agent_note(a, "files are not restored: their contents of then are of another session");
    return DS4_OK;
}

static ds4_status last_message(ds4_agent *a, ds4_talk_item **out, ds4_err *err)
{
    *out = ds4_talk_last(&a->talk, DS4_TALK_USER);
    return *out ? DS4_OK : ds4_fail(err, DS4_E_ARG, "there is no message to take back");
}

static ds4_status do_undo(ds4_agent *a, const char *arg, ds4_err *err)
{
    ds4_talk_item *user;

    (void)arg;
    DS4_TRY(last_message(a, &user, err));
    DS4_TRY(restore_files(a, user, err));
    DS4_TRY(ds4_talk_cut(&a->talk, user->at, err));
    ds4_agent_note(a, "the last message was taken back; the context has %u tokens", a->talk.tokens.n);
    ds4_agent_tell_status(a, true);
    return DS4_OK;
}

static ds4_status do_retry(ds4_agent *a, const char *arg, ds4_err *err)
{
    ds4_talk_item *user;

    (void)arg;
    DS4_TRY(last_message(a, &user, err));
    DS4_TRY(restore_files(a, user, err));
    if (user->answer_at == 0)
        return ds4_fail(err, DS4_E_ARG, "the last message was not answered; /continue does");
    DS4_TRY(ds4_talk_cut(&a->talk, user->answer_at, err));
    return ds4_agent_turn(a, err);
}

static ds4_status do_fork(ds4_agent *a, const char *arg, ds4_err *err)
{
    (void)arg;
    if (a->talk.n_items == 0) return ds4_fail(err, DS4_E_ARG, "there is nothing to copy yet");
    DS4_TRY(ds4_agent_fork_session(a, err));
    ds4_agent_tell_session(a);
    ds4_agent_tell_status(a, true);
    return DS4_OK;
}

static ds4_status do_continue(ds4_agent *a, const char *arg, ds4_err *err)
{
    (void)arg;
    if (a->talk.phase == DS4_TALK_IDLE && a->talk.n_items == 0) {
        return ds4_fail(err, DS4_E_ARG, "there is nothing to go on with");
    }
    if (a->talk.phase == DS4_TALK_IDLE) {
        uint64_t mark = 0;
        ds4_err  ignored;
        if (ds4_tools_mark(a->tools, &mark, &ignored) != DS4_OK) mark = 0;
        DS4_TRY(ds4_talk_user(&a->talk, mark, false, DS4_SLICE("Go on."), err));
    }
    return ds4_agent_turn(a, err);
}

static ds4_status do_plan(ds4_agent *a, const char *arg, ds4_err *err)
{
    (void)arg;
    DS4_TRY(ds4_talk_plan(&a->talk, !a->talk.planning, err));
    ds4_tools_set_mode(a->tools, a->talk.planning ? DS4_TOOLS_READ_ONLY : a->opt.mode);
    ds4_agent_note(a, a->talk.planning ? "planning: tools only read until /plan is given again"
                                       : "working again");
    ds4_agent_tell_status(a, true);
    return DS4_OK;
}

static const char *const mode_names[] = { "work", "ask", "read-only", "yolo" };

static ds4_status do_mode(ds4_agent *a, const char *arg, ds4_err *err)
{
    if (!*arg) {
        ds4_agent_note(a, "The mode is %s. %s", mode_names[a->opt.mode], ds4_tools_sandbox(a->tools));
        return DS4_OK;
    }
    for (int i = 0; i < 4; i++) {
        if (strcmp(arg, mode_names[i]) != 0) continue;
        a->opt.mode = (ds4_tools_mode)i;
        if (!a->talk.planning) ds4_tools_set_mode(a->tools, a->opt.mode);
        ds4_agent_note(a, "The mode is %s. %s", arg, ds4_tools_sandbox(a->tools));
        ds4_agent_tell_status(a, true);
        return DS4_OK;
    }
    return ds4_fail(err, DS4_E_ARG, "there is no mode %.40s; they are work, ask, read-only and yolo", arg);
}

static ds4_status do_think(ds4_agent *a, const char *arg, ds4_err *err)
{
    if (*arg && strcmp(arg, "on") != 0 && strcmp(arg, "off") != 0) {
        return ds4_fail(err, DS4_E_ARG, "/think takes on or off");
    }
    a->opt.thinking = *arg ? strcmp(arg, "on") == 0 : !a->opt.thinking;
    ds4_agent_note(a, a->opt.thinking ? "from now on with reasoning" : "from now on without reasoning");
    ds4_agent_tell_status(a, true);
    return DS4_OK;
}

static ds4_status do_model(ds4_agent *a, const char *arg, ds4_err *err)
{
    const ds4_model_info *info = ds4_engine_info(a->opt.engine);

    (void)arg;
    (void)err;
    ds4_agent_note(a, "%s (%s), context %u tokens", *info->name ? info->name : "a model without a name",
                   info->path, a->opt.n_ctx);
    return DS4_OK;
}

static ds4_status do_steer(ds4_agent *a, const char *arg, ds4_err *err)
{
    char said[160];

    DS4_TRY(ds4_steer_command(a->opt.engine, arg, said, sizeof said, err));
    ds4_agent_note(a, "%s", said);
    return DS4_OK;
}

static ds4_status do_quit(ds4_agent *a, const char *arg, ds4_err *err)
{
    (void)arg;
    (void)err;
    ds4_inbox_quit(a->inbox);
    return DS4_OK;
}

/* In the order of words[]. */
static command_fn *const functions[] = { do_help,    do_list,  do_switch, do_new,  do_save,     do_history,
                                         do_compact, do_undo,  do_retry,  do_fork, do_continue, do_plan,
                                         do_mode,    do_think, do_model,  do_steer, do_quit };
_Static_assert(sizeof functions / sizeof *functions == sizeof words / sizeof *words,
               "a function for each word");

/* Run the command of a line. Words behind a command that takes none are refused: they would be lost, and some
 * of these commands take things back. */
static ds4_status run_line(ds4_agent *a, ds4_slice line, ds4_err *err)
{
    const ds4_agent_word *word = find_word(line);
    ds4_str               arg = { 0 };
    size_t                n = 0;

    while (n < line.n_bytes && line.data[n] != ' ' && line.data[n] != '\t') n++;
    if (!word)
        return ds4_fail(err, DS4_E_ARG, "there is no command %.*s; /help lists them", n < 40 ? (int)n : 40,
                        line.data);
    while (n < line.n_bytes && strchr(" \t", line.data[n])) n++;
    while (line.n_bytes > n && strchr(" \t", line.data[line.n_bytes - 1])) line.n_bytes--;
    if (line.n_bytes > n && !*word->args)
        return ds4_fail(err, DS4_E_ARG, "%s takes nothing behind it; nothing was done", word->name);
    ds4_str_add(&arg, line.data + n, line.n_bytes - n);
    const ds4_status st = arg.failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for a command")
                                     : functions[word - words](a, ds4_str_text(&arg), err);
    ds4_str_clear(&arg);
    return st;
}

void ds4_agent_do_command(ds4_agent *a, const ds4_request *request)
{
    const ds4_slice line = { ds4_str_text(&request->text), request->text.n_bytes };
    const uint64_t  before = a->ticket;
    const ds4_stop  stop_before = a->stop;
    ds4_err         err = { .code = DS4_OK };

    a->ticket = request->ticket;
    a->stop = DS4_STOP_DONE;
    const ds4_status st = run_line(a, line, &err);
    if (st != DS4_OK && st != DS4_E_CANCELLED) ds4_agent_error(a, &err);
    if (st == DS4_E_CANCELLED) a->stop = DS4_STOP_INTERRUPTED;
    else if (st != DS4_OK) a->stop = DS4_STOP_FAILED;
    ds4_agent_settle(a, request->ticket, a->stop);
    a->ticket = before;
    a->stop = stop_before;
}
