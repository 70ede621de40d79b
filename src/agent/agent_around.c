/* agent_around.c - between two steps the loop looks at what came meanwhile. */
#include "agent/agent_local.h"

typedef struct keeper {
    ds4_talk  *talk;
    bool       any;
    ds4_status st;
    ds4_err    err;
} keeper;

static void keep_one(void *ctx, ds4_slice text)
{
    keeper *k = ctx;

    k->any = true;
    if (k->st == DS4_OK) k->st = ds4_talk_enqueue(k->talk, text, &k->err);
}

void ds4_agent_tell_queue(ds4_agent *a)
{
    ds4_str         text = { 0 };
    ds4_front_event e = { .kind = DS4_FRONT_QUEUE };

    e.n = ds4_inbox_last(a->inbox, &text);
    e.text = (ds4_slice){ ds4_str_text(&text), text.n_bytes };
    ds4_agent_tell(a, &e);
    ds4_str_clear(&text);
}

void ds4_agent_note_taken_back(ds4_agent *a)
{
    uint64_t ticket;
    bool     kept, any = false;
    ds4_err  err;

    while (ds4_inbox_taken_back(a->inbox, &ticket, &kept)) {
        if (kept && ds4_talk_unqueue(&a->talk, true, &err) != DS4_OK) ds4_agent_error(a, &err);
        ds4_agent_settle(a, ticket, DS4_STOP_INTERRUPTED);
        any = true;
    }
    if (any) ds4_agent_tell_queue(a);
}

bool ds4_agent_look_around(ds4_agent *a)
{
    keeper      k = { .talk = &a->talk };
    ds4_request r;

    ds4_inbox_keep(a->inbox, keep_one, &k);
    if (k.st != DS4_OK) ds4_agent_error(a, &k.err);
    if (k.any) ds4_agent_tell_queue(a);
    ds4_agent_note_taken_back(a);
    while (ds4_inbox_take_command(a->inbox, a->may_now, &r)) {
        a->do_command(a, &r);
        ds4_str_clear(&r.text);
    }
    ds4_agent_tell_status(a, false);
    return *ds4_inbox_stop(a->inbox) != 0;
}
