/* terminal_front.c - the agent on a terminal. */
#include "app/agent/program.h"

#include "app/agent/ui.h"
#include "base/knob.h"

#include <string.h>
#include <unistd.h>

static void ask_first(const ds4_agent_program *p, ds4_agent *agent)
{
    if (p->go_on && ds4_agent_is_open_turn(agent)) ds4_agent_command(agent, DS4_SLICE("/continue"));
}

/* There is one terminal. */
static ds4_ui *shown;

static void say(const char *text)
{
    ds4_ui_say(shown, text);
}

int ds4_terminal_front(const ds4_agent_program *p, ds4_agent_options *opt)
{
    const char *home = ds4_knob_text(DS4_KNOB_HOME);
    ds4_str     history = { 0 };
    ds4_ui     *ui = NULL;
    ds4_agent  *agent = NULL;
    ds4_err     err = { .code = DS4_OK };

    if (home && *home) ds4_str_addf(&history, "%s/.ds4_agent_history", home);
    const ds4_ui_options how = { .history_path = history.data, .in = STDIN_FILENO,
                                 .out = STDOUT_FILENO, .colour = ds4_term_colour(stdout) };
    ds4_status st = ds4_ui_open(&how, &ui, &err);
    if (st == DS4_OK) {
        opt->front = ds4_ui_front(ui);
        shown = ui;
        ds4_app_say_with(say);
        st = ds4_agent_create(opt, &agent, &err);
    }
    if (st == DS4_OK) st = ds4_ui_start(ui, agent, &err);
    if (st == DS4_OK) {
        ask_first(p, agent);
        st = ds4_agent_run(agent, &err);
    }
    ds4_app_say_with(NULL);
    ds4_ui_close(ui);
    ds4_agent_free(agent);
    ds4_str_clear(&history);
    return st == DS4_OK ? DS4_EXIT_OK : ds4_app_failed(DS4_AGENT_NAME, &err);
}
