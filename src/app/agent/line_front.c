/* line_front.c - see program.h: requests that come from the command line and from lines of standard input. */
#include "app/agent/program.h"

#include <stdlib.h>
#include <string.h>

static bool read_line(ds4_str *line)
{
    int c;

    while ((c = getc(stdin)) != EOF && c != '\n') {
        if (line->n_bytes < DS4_AGENT_MAX_TASK) ds4_str_add_char(line, (char)c);
    }
    return c != EOF || line->n_bytes > 0;
}

/* "/word" or "/word arg": a path such as /usr/bin is text. */
static bool is_command(const char *line)
{
    const size_t n = strcspn(line, " \t");
    return line[0] == '/' && n > 1 && !memchr(line + 1, '/', n - 1);
}

static void send(ds4_line_front *f, ds4_slice text, bool command)
{
    f->ticket = command ? ds4_agent_command(f->agent, text) : ds4_agent_submit(f->agent, text);
    if (f->ticket == 0) ds4_agent_quit(f->agent);
}

static void send_first(ds4_line_front *f)
{
    f->asked = true;
    if (f->program->task) send(f, (ds4_slice){ f->program->task, strlen(f->program->task) }, false);
    else send(f, DS4_SLICE("/continue"), true);
}

void ds4_line_front_next(ds4_line_front *f)
{
    const ds4_agent_program *p = f->program;
    ds4_str                  line = { 0 };

    if (!f->asked && (p->task || (p->go_on && ds4_agent_is_open_turn(f->agent)))) {
        send_first(f);
        return;
    }
    if (p->task || f->stop == DS4_STOP_INTERRUPTED) {
        ds4_agent_quit(f->agent);
        return;
    }
    do {
        ds4_str_truncate(&line, 0);
        if (!read_line(&line)) {
            ds4_agent_quit(f->agent);
            ds4_str_clear(&line);
            return;
        }
    } while (line.n_bytes == 0);
    send(f, (ds4_slice){ ds4_str_text(&line), line.n_bytes }, is_command(ds4_str_text(&line)));
    ds4_str_clear(&line);
}

static int exit_code(const ds4_line_front *f)
{
    switch (f->stop) {
    case DS4_STOP_DONE:
    case DS4_STOP_QUEUED:      return f->failed ? DS4_EXIT_FAILURE : DS4_EXIT_OK;
    case DS4_STOP_INTERRUPTED: return DS4_EXIT_INTERRUPTED;
    case DS4_STOP_FAILED:      return DS4_EXIT_FAILURE;
    default:                   return DS4_EXIT_UNFINISHED;
    }
}

int ds4_line_front_run(ds4_line_front *f, ds4_agent_options *opt)
{
    ds4_err    err = { .code = DS4_OK };
    ds4_status st = ds4_agent_create(opt, &f->agent, &err);

    if (st != DS4_OK) {
        const int code = ds4_app_failed(DS4_AGENT_NAME, &err);
        return st == DS4_E_ARG || st == DS4_E_LIMIT ? DS4_EXIT_WRONG : code;
    }
    ds4_agent_watch_signals(f->agent);
    ds4_line_front_next(f);
    st = ds4_agent_run(f->agent, &err);
    ds4_agent_watch_signals(NULL);
    ds4_agent_free(f->agent);
    f->agent = NULL;
    return st == DS4_OK ? exit_code(f) : ds4_app_failed(DS4_AGENT_NAME, &err);
}
