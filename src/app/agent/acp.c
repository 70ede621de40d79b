/* acp.c - see acp.h: what the editor asks, and when it is answered. */
#include "app/agent/acp_local.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 65536 };

/* ---- writing --------------------------------------------------------------------------------------- */

static void send_result(acp *a, const json_t *id, json_t *result)
{
    ds4_str message = { 0 };

    ds4_rpc_add_result(&message, id, result);
    acp_send(a, &message);
}

static void send_error(acp *a, const json_t *id, int code, const char *text)
{
    ds4_str message = { 0 };

    ds4_rpc_add_error(&message, id, code, text);
    acp_send(a, &message);
}

static void send_failure(acp *a, const json_t *id, const ds4_err *err)
{
    const bool params = err->code == DS4_E_ARG || err->code == DS4_E_FORMAT || err->code == DS4_E_UNSUPPORTED;

    send_error(a, id, params ? DS4_RPC_BAD_PARAMS : DS4_RPC_INTERNAL, err->text);
}

/* ---- orders -------------------------------------------------------------------------------------------- */

static void clear_order(acp_order *o)
{
    json_decref(o->id);
    json_decref(o->servers);
    free(o->session);
    free(o->cwd);
    ds4_str_clear(&o->text);
    *o = (acp_order){ 0 };
}

static void remove_order(acp *a, size_t i)
{
    clear_order(&a->orders[i]);
    memmove(a->orders + i, a->orders + i + 1, (--a->n_orders - i) * sizeof *a->orders);
}

static acp_session *find_session(acp *a, const char *id)
{
    for (size_t i = 0; i < a->n_sessions; i++) {
        if (strcmp(a->sessions[i].id, id) == 0) return &a->sessions[i];
    }
    return NULL;
}

static bool is_current(const acp *a, const acp_order *o)
{
    return a->agent && a->current && o->session && o->wish != ACP_NEW && o->wish != ACP_LOAD &&
           strcmp(o->session, a->current) == 0;
}

static bool is_command(const char *text)
{
    uint32_t              n;
    const ds4_agent_word *words = ds4_agent_words(&n);

    for (uint32_t i = 0; i < n; i++) {
        const size_t n_name = strlen(words[i].name);
        if (strncmp(text, words[i].name, n_name) == 0 && (!text[n_name] || text[n_name] == ' ')) {
            return !strchr(text, '\n');
        }
    }
    return false;
}

/* Ask the agent, which has the order's session. The lock is held: the ticket cannot settle before it is here.
 * */
static void hand_over(acp *a, acp_order *o)
{
    const ds4_slice text = { ds4_str_text(&o->text), o->text.n_bytes };
    const bool      command = o->wish != ACP_PROMPT || is_command(text.data);

    o->ticket = command ? ds4_agent_command(a->agent, text) : ds4_agent_submit(a->agent, text);
}

static bool any_sent(const acp *a)
{
    for (size_t i = 0; i < a->n_orders; i++) {
        if (a->orders[i].ticket) return true;
    }
    return false;
}

/* With the lock: let the agent's thread see what it should do next. */
static void look_again(acp *a)
{
    for (size_t i = 0; i < a->n_orders; i++) {
        if (!a->orders[i].ticket && is_current(a, &a->orders[i])) hand_over(a, &a->orders[i]);
    }
    if (a->agent && (a->over || (a->n_orders > 0 && !any_sent(a)))) ds4_agent_quit(a->agent);
    pthread_cond_signal(&a->changed);
}

static acp_order *new_order(acp *a, const ds4_rpc_message *m, acp_wish wish)
{
    if (a->n_orders == ACP_MAX_WAITING) return NULL;
    acp_order *o = &a->orders[a->n_orders++];
    *o = (acp_order){ .wish = wish, .id = json_deep_copy(m->id) };
    return o;
}

/* ---- requests --------------------------------------------------------------------------------------- */

static void do_initialize(acp *a, const ds4_rpc_message *m)
{
    send_result(a, m->id, json_pack("{s:i,s:{s:b,s:{s:b,s:b,s:b},s:{s:b,s:b}},s:{s:s,s:s,s:s},s:[]}",
                                    "protocolVersion", 1, "agentCapabilities", "loadSession", 1,
                                    "promptCapabilities", "image", 0, "audio", 0, "embeddedContext", 1,
                                    "mcpCapabilities", "http", 1, "sse", 0, "agentInfo", "name", "ds4-agent",
                                    "title", "ds4 agent", "version", DS4_VERSION, "authMethods"));
}

static void do_open(acp *a, const ds4_rpc_message *m, bool load)
{
    const char *cwd = ds4_rpc_text(m->params, "cwd"), *id = ds4_rpc_text(m->params, "sessionId");
    const json_t *servers = json_object_get(m->params, "mcpServers");

    if (*cwd != '/') {
        send_error(a, m->id, DS4_RPC_BAD_PARAMS, "cwd is no absolute path");
        return;
    }
    if (load && !*id) {
        send_error(a, m->id, DS4_RPC_BAD_PARAMS, "sessionId is missing");
        return;
    }
    pthread_mutex_lock(&a->lock);
    acp_order *o = new_order(a, m, load ? ACP_LOAD : ACP_NEW);
    if (o) {
        o->cwd = strdup(cwd);
        o->session = load ? strdup(id) : NULL;
        o->servers = json_is_array(servers) ? json_deep_copy(servers) : NULL;
        if (load) ds4_str_add_text(&o->text, "/history 200");
        look_again(a);
    }
    pthread_mutex_unlock(&a->lock);
    if (!o) send_error(a, m->id, DS4_RPC_INTERNAL, "too many requests wait");
}

static void do_ask(acp *a, const ds4_rpc_message *m, acp_wish wish)
{
    const char *id = ds4_rpc_text(m->params, "sessionId"), *mode = ds4_rpc_text(m->params, "modeId");
    ds4_str     text = { 0 };
    ds4_err     err = { .code = DS4_OK };
    ds4_status  st = DS4_OK;

    if (wish == ACP_PROMPT) st = ds4_acp_prompt_text(json_object_get(m->params, "prompt"), &text, &err);
    else ds4_str_addf(&text, "/mode %.20s", mode);
    pthread_mutex_lock(&a->lock);
    acp_session *session = find_session(a, id);
    if (st == DS4_OK && !session) st = ds4_fail(&err, DS4_E_ARG, "there is no session %.80s", id);
    if (st == DS4_OK && wish == ACP_MODE &&
        (!*mode || strpbrk(mode, " \n") || strlen(mode) >= sizeof session->mode)) {
        st = ds4_fail(&err, DS4_E_ARG, "there is no such mode");
    }
    acp_order *o = st == DS4_OK ? new_order(a, m, wish) : NULL;
    if (st == DS4_OK && !o) st = ds4_fail(&err, DS4_E_LIMIT, "too many requests wait");
    if (o) {
        o->session = strdup(id);
        o->text = text;
        text = (ds4_str){ 0 };
        look_again(a);
    }
    pthread_mutex_unlock(&a->lock);
    if (st != DS4_OK) send_failure(a, m->id, &err);
    ds4_str_clear(&text);
}

/* The running prompt is interrupted, waiting ones are taken back; those not sent yet will be answered as
 * cancelled when its turn comes. */
static void do_cancel(acp *a, const ds4_rpc_message *m)
{
    const char *id = ds4_rpc_text(m->params, "sessionId");
    bool        runs = false;

    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->n_orders; i++) {
        acp_order *o = &a->orders[i];
        if (o->wish != ACP_PROMPT || strcmp(o->session, id) != 0) continue;
        o->cancelled = true;
        runs |= o->ticket != 0;
    }
    if (runs && a->agent) {
        ds4_str text = { 0 };
        while (ds4_agent_unqueue(a->agent, &text)) ds4_str_truncate(&text, 0);
        ds4_str_clear(&text);
        ds4_agent_interrupt(a->agent, true);
    }
    if (runs) a->asking = false;        /* what is asked is denied */
    look_again(a);
    pthread_mutex_unlock(&a->lock);
}

static void take_request(acp *a, const ds4_rpc_message *m)
{
    if (!strcmp(m->method, "initialize")) do_initialize(a, m);
    else if (!strcmp(m->method, "authenticate")) send_result(a, m->id, json_object());
    else if (!strcmp(m->method, "session/new")) do_open(a, m, false);
    else if (!strcmp(m->method, "session/load")) do_open(a, m, true);
    else if (!strcmp(m->method, "session/prompt")) do_ask(a, m, ACP_PROMPT);
    else if (!strcmp(m->method, "session/set_mode")) do_ask(a, m, ACP_MODE);
    else send_error(a, m->id, DS4_RPC_NO_METHOD, "this agent has no such method");
}

/* The answer to a permission that we asked for. */
static void take_answer(acp *a, const ds4_rpc_message *m)
{
    const json_t *outcome = json_object_get(m->result, "outcome");
    const char   *option = ds4_rpc_text(outcome, "optionId");

    pthread_mutex_lock(&a->lock);
    if (a->asking && ds4_rpc_id_is(m->id, a->n_asked)) {
        const bool selected =
            m->kind == DS4_RPC_RESULT && !strcmp(ds4_rpc_text(outcome, "outcome"), "selected");
        a->answer = !selected ? DS4_PERMISSION_DENY : !strcmp(option, "once") ? DS4_PERMISSION_ONCE
                  : !strcmp(option, "always") ? DS4_PERMISSION_ALWAYS : DS4_PERMISSION_DENY;
        a->asking = false;
        pthread_cond_broadcast(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
}

static void take_message(void *ctx, const ds4_rpc_message *m)
{
    acp *a = ctx;

    if (m->kind == DS4_RPC_REQUEST) take_request(a, m);
    else if (m->kind == DS4_RPC_NOTIFICATION && !strcmp(m->method, "session/cancel")) do_cancel(a, m);
    else if (m->kind == DS4_RPC_RESULT || m->kind == DS4_RPC_ERROR) take_answer(a, m);
    else if (m->kind == DS4_RPC_WRONG)
        send_error(a, m->id, DS4_RPC_BAD_REQUEST, "this is no message of JSON-RPC 2.0");
}

static void take_line(acp *a, ds4_slice line)
{
    ds4_err err = { .code = DS4_OK };

    if (ds4_rpc_each(line, take_message, a, &err) != DS4_OK) send_error(a, NULL, DS4_RPC_BAD_JSON, err.text);
}

static void *read_all(void *ctx)
{
    acp      *a = ctx;
    char     *data = malloc(READ_BYTES);
    ds4_slice line;

    while (data) {
        const ssize_t n = read(a->host->in, data, READ_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        ds4_rpc_lines_add(&a->lines, data, (size_t)n);
        while (ds4_rpc_lines_next(&a->lines, &line)) take_line(a, line);
        if (a->lines.dropped) send_error(a, NULL, DS4_RPC_BAD_REQUEST, "a message is longer than 64 MiB");
        a->lines.dropped = false;
    }
    free(data);
    pthread_mutex_lock(&a->lock);
    a->over = true;
    a->asking = false;
    look_again(a);
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* ---- the agent's side ------------------------------------------------------------------------------- */

static const char *reason_of(ds4_stop stop)
{
    switch (stop) {
    case DS4_STOP_LENGTH:
    case DS4_STOP_CONTEXT: return "max_tokens";
    case DS4_STOP_CALLS: return "max_turn_requests";
    case DS4_STOP_INTERRUPTED: return "cancelled";
    default: return "end_turn";
    }
}

static void answer_order(acp *a, const acp_order *o, ds4_stop stop)
{
    const acp_session *session = find_session(a, o->session ? o->session : "");

    if (stop == DS4_STOP_FAILED && !o->cancelled) {
        send_error(a, o->id, DS4_RPC_INTERNAL, a->error.n_bytes ? a->error.data : "it failed");
    } else if (o->wish == ACP_PROMPT) {
        send_result(a, o->id, json_pack("{s:s}", "stopReason", o->cancelled ? "cancelled" : reason_of(stop)));
    } else if (o->wish == ACP_LOAD) {
        send_result(a, o->id,
                    json_pack("{s:o}", "modes", acp_modes(session ? session->mode : a->host->mode)));
        acp_update(a, acp_commands());
    } else {
        send_result(a, o->id, json_object());
    }
}

/* A ticket is done: its request is answered, once. */
static void settle(acp *a, const ds4_front_event *e)
{
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->n_orders; i++) {
        acp_order *o = &a->orders[i];
        if (o->ticket != e->ticket || !o->ticket) continue;
        acp_session *session = find_session(a, o->session ? o->session : "");
        if (o->wish == ACP_MODE && e->stop == DS4_STOP_DONE && session) {
            strncpy(session->mode, o->text.data + strlen("/mode "), sizeof session->mode - 1);
        }
        answer_order(a, o, e->stop);
        remove_order(a, i);
        break;
    }
    ds4_str_truncate(&a->error, 0);
    look_again(a);
    pthread_mutex_unlock(&a->lock);
}

/* A prompt may have been cancelled before the agent had begun with it. */
static void stop_cancelled(acp *a, uint64_t ticket)
{
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; ticket && i < a->n_orders; i++) {
        if (a->orders[i].ticket == ticket && a->orders[i].cancelled) ds4_agent_interrupt(a->agent, true);
    }
    pthread_mutex_unlock(&a->lock);
}

static void on_event(void *ctx, const ds4_front_event *e)
{
    if (e->kind != DS4_FRONT_SETTLED) stop_cancelled(ctx, e->ticket);
    if (e->kind == DS4_FRONT_SETTLED) settle(ctx, e);
    else acp_tell(ctx, e);
}

static ds4_permission on_ask(void *ctx, const ds4_question *question)
{
    acp    *a = ctx;
    ds4_str message = { 0 };

    pthread_mutex_lock(&a->lock);
    a->asking = !a->over;
    a->answer = DS4_PERMISSION_DENY;
    for (size_t i = 0; i < a->n_orders; i++) a->asking &= !(a->orders[i].ticket && a->orders[i].cancelled);
    if (a->asking) {
        ds4_rpc_add_request(&message, ++a->n_asked, "session/request_permission",
                            acp_permission(a, question));
        acp_send(a, &message);
    }
    while (a->asking) pthread_cond_wait(&a->changed, &a->lock);
    const ds4_permission given = a->answer;
    pthread_mutex_unlock(&a->lock);
    return given;
}

/* ---- sessions --------------------------------------------------------------------------------------- */

static void close_agent(acp *a)
{
    pthread_mutex_lock(&a->lock);
    ds4_agent *agent = a->agent;
    a->agent = NULL;
    /* Questions that came while it ended are asked again. */
    for (size_t i = 0; i < a->n_orders; i++) a->orders[i].ticket = 0;
    free(a->current);
    a->current = NULL;
    pthread_mutex_unlock(&a->lock);
    if (agent) a->host->close(a->host->ctx, agent);
}

/* With the lock. Returns NULL without room or memory. */
static acp_session *keep_session(acp *a, const char *id, const acp_order *o)
{
    acp_session *s = find_session(a, id);

    if (!s && a->n_sessions == ACP_MAX_SESSIONS) return NULL;
    if (!s) {
        s = &a->sessions[a->n_sessions++];
        *s = (acp_session){ .id = strdup(id) };
        strncpy(s->mode, a->host->mode, sizeof s->mode - 1);
    }
    if (o->cwd) {
        free(s->cwd);
        s->cwd = strdup(o->cwd);
        json_decref(s->servers);
        s->servers = json_incref(o->servers);
    }
    return s->id && s->cwd ? s : NULL;
}

/* Open the order's session and send what waits for it. */
static ds4_status open_for(acp *a, const ds4_front *front, const acp_order *o, ds4_err *err)
{
    ds4_agent *agent = NULL;
    char      *cwd = NULL;
    json_t    *servers = NULL;

    pthread_mutex_lock(&a->lock);
    const acp_session *known = o->session ? find_session(a, o->session) : NULL;
    cwd = strdup(o->cwd ? o->cwd : known ? known->cwd : "");
    servers = json_incref(o->cwd ? o->servers : known ? known->servers : NULL);
    pthread_mutex_unlock(&a->lock);
    ds4_status st = a->host->open(a->host->ctx, cwd ? cwd : "", o->session, servers, front, &agent, err);
    free(cwd);
    json_decref(servers);
    if (st != DS4_OK) return st;
    pthread_mutex_lock(&a->lock);
    const acp_session *s = keep_session(a, a->host->session(a->host->ctx, agent), o);
    a->agent = agent;
    a->current = s ? strdup(s->id) : NULL;
    if (s && strcmp(s->mode, a->host->mode) != 0) {
        ds4_str mode = { 0 };
        ds4_str_addf(&mode, "/mode %s", s->mode);
        ds4_agent_command(agent, (ds4_slice){ ds4_str_text(&mode), mode.n_bytes });
        ds4_str_clear(&mode);
    }
    pthread_mutex_unlock(&a->lock);
    return s ? DS4_OK : ds4_fail(err, DS4_E_LIMIT, "there are too many sessions");
}

/* Open the session that the first order wants, and answer it or hand it over. */
static void serve_first(acp *a, const ds4_front *front)
{
    ds4_err          err = { .code = DS4_OK };
    acp_order       *o = &a->orders[0]; /* only this thread removes what was not sent */
    const ds4_status st = open_for(a, front, o, &err);

    pthread_mutex_lock(&a->lock);
    if (st != DS4_OK) {
        send_failure(a, o->id, &err);
        remove_order(a, 0);
    } else if (o->wish == ACP_NEW) {
        const acp_session *s = find_session(a, a->current);
        send_result(a, o->id, json_pack("{s:s,s:o}", "sessionId", a->current, "modes", acp_modes(s->mode)));
        remove_order(a, 0);
        acp_update(a, acp_commands());
    } else {
        free(o->session);               /* the beginning of an id is enough to load it */
        o->session = strdup(a->current);
        hand_over(a, o);
    }
    look_again(a);
    pthread_mutex_unlock(&a->lock);
}

/* Returns false when the editor is gone. */
static bool wait_for_order(acp *a)
{
    pthread_mutex_lock(&a->lock);
    while (a->n_orders == 0 && !a->over) pthread_cond_wait(&a->changed, &a->lock);
    while (a->n_orders && !a->orders[0].ticket && a->orders[0].cancelled) {
        answer_order(a, &a->orders[0], DS4_STOP_INTERRUPTED);
        remove_order(a, 0);
    }
    const bool go_on = !a->over;
    pthread_mutex_unlock(&a->lock);
    return go_on;
}

static void serve_all(acp *a)
{
    const ds4_front front = { .ctx = a, .event = on_event, .ask = on_ask };

    while (wait_for_order(a)) {
        ds4_err err = { .code = DS4_OK };
        if (a->n_orders == 0) continue;
        serve_first(a, &front);
        const ds4_status st = a->agent ? a->host->run(a->host->ctx, a->agent, &err) : DS4_OK;
        close_agent(a);
        if (st == DS4_OK) continue;
        /* The agent cannot go on: nobody waits for ever. */
        pthread_mutex_lock(&a->lock);
        while (a->n_orders > 0) {
            send_failure(a, a->orders[0].id, &err);
            remove_order(a, 0);
        }
        pthread_mutex_unlock(&a->lock);
    }
}

ds4_status ds4_acp_serve(const ds4_acp_host *host, ds4_err *err)
{
    acp      *a = calloc(1, sizeof *a);
    pthread_t reader;

    if (!a) return ds4_fail(err, DS4_E_NOMEM, "no memory for the editor");
    a->host = host;
    a->lines.max_bytes = ACP_MAX_MESSAGE;
    pthread_mutex_init(&a->lock, NULL);
    pthread_mutex_init(&a->out_lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    ds4_status st = DS4_OK;
    if (pthread_create(&reader, NULL, read_all, a) != 0) {
        st = ds4_fail(err, DS4_E_NOMEM, "cannot start a thread for the editor");
    } else {
        serve_all(a);
        pthread_join(reader, NULL);
    }
    while (a->n_orders > 0) remove_order(a, 0);
    for (size_t i = 0; i < a->n_sessions; i++) {
        free(a->sessions[i].id);
        free(a->sessions[i].cwd);
        json_decref(a->sessions[i].servers);
    }
    ds4_rpc_lines_clear(&a->lines);
    ds4_str_clear(&a->error);
    ds4_str_clear(&a->output);
    json_decref(a->diffs);
    pthread_mutex_destroy(&a->lock);
    pthread_mutex_destroy(&a->out_lock);
    pthread_cond_destroy(&a->changed);
    free(a);
    return st;
}
