/* plain_front.c - the agent without a terminal: answers on standard output, all else on standard error. */
#include "app/agent/program.h"

#include <string.h>

typedef struct plain {
    ds4_line_front line;
    bool           open; /* standard output is inside an answer */
} plain;

static void end_answer(plain *p)
{
    if (p->open) fputc('\n', stdout);
    p->open = false;
    fflush(stdout);
}

/* Each line is one of ours. */
static void say_slice(const char *before, ds4_slice text)
{
    while (text.n_bytes > 0) {
        const char  *end = memchr(text.data, '\n', text.n_bytes);
        const size_t n = end ? (size_t)(end - text.data) : text.n_bytes, skip = n + (end != NULL);
        ds4_app_say(DS4_AGENT_NAME, "%s%.*s", before, (int)(n < 2000 ? n : 2000), text.data);
        text.data += skip;
        text.n_bytes -= skip;
    }
}

/* A call in one line: its name and the beginning of its arguments. */
static void say_call(const ds4_tool_call *call)
{
    ds4_str line = { 0 };

    ds4_str_add(&line, call->name.data, call->name.n_bytes);
    ds4_str_add_char(&line, ' ');
    ds4_str_add(&line, call->arguments.data, call->arguments.n_bytes < 200 ? call->arguments.n_bytes : 200);
    say_slice("call ", (ds4_slice){ ds4_str_text(&line), line.n_bytes });
    ds4_str_clear(&line);
}

static void say_end(const ds4_tool_result *result)
{
    const size_t n = strcspn(ds4_str_text(&result->text), "\n");

    if (result->failed) say_slice("failed: ", (ds4_slice){ ds4_str_text(&result->text), n });
}

static void show(void *ctx, const ds4_front_event *e)
{
    plain *p = ctx;

    if (e->replayed && e->ticket == 0) return; /* nobody asked for it */
    switch (e->kind) {
    case DS4_FRONT_SESSION:
        ds4_app_say(DS4_AGENT_NAME, "session %s, %s; %s", e->session->id, e->session->root,
                    e->session->sandbox);
        break;
    case DS4_FRONT_USER:
        if (e->replayed) say_slice("> ", e->text);
        break;
    case DS4_FRONT_ANSWER:
        p->open = true;
        fwrite(e->text.data, 1, e->text.n_bytes, stdout);
        break;
    case DS4_FRONT_CALL_RUN:
        end_answer(p);
        say_call(e->call);
        break;
    case DS4_FRONT_CALL_END: say_end(e->result); break;
    case DS4_FRONT_NOTE:
    case DS4_FRONT_ERROR:
        end_answer(p);
        say_slice("", e->text);
        break;
    case DS4_FRONT_SETTLED:
        end_answer(p);
        if (e->ticket != p->line.ticket) break;
        p->line.stop = e->stop;
        p->line.failed |= e->stop == DS4_STOP_FAILED;
        ds4_line_front_next(&p->line);
        break;
    default: break;
    }
}

int ds4_plain_front(const ds4_agent_program *program, ds4_agent_options *opt)
{
    plain p = { .line = { .program = program } };

    opt->front = (ds4_front){ .ctx = &p, .event = show };
    return ds4_line_front_run(&p.line, opt);
}
