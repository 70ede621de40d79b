/* chat.c - see chat.h. Messages are first gathered into turns, because a user turn may be
 * made of many messages; then each turn is written.
 * Source: docs/PROMPT.md section 3. */
#include "text/chat.h"

#include "text/chat_blocks.h"
#include "text/dsml.h"
#include "text/markers.h"

#include <stdlib.h>
#include <string.h>

/* One message inside a turn. */
typedef struct block {
    const ds4_message *m;
    uint32_t           order;   /* of a tool result: the number of the call it answers */
    uint32_t           number;  /* place in the turn */
} block;

typedef struct turn {
    ds4_role role;              /* never DS4_ROLE_TOOL: results are part of user turns */
    ds4_task task;
    uint32_t first, n_blocks;   /* blocks[first .. first + n_blocks) */
} turn;

/* The id of a call and its number. */
typedef struct call_id {
    ds4_slice id;
    uint32_t  number;
} call_id;

typedef struct chat {
    const ds4_chat_options *opt;
    ds4_segments           *out;
    ds4_err                *err;
    ds4_message             front;      /* the first message with the options' tools and schema */
    turn                   *turns;      /* [n_turns] */
    block                  *blocks;     /* [n_blocks] */
    call_id                *ids;        /* [n_ids] of the last assistant with calls, sorted by id */
    uint32_t                n_turns, n_blocks, n_ids;
    bool                    keep_all;   /* reasoning is kept in every turn */
    int64_t                 last_user;  /* number of the last user or developer turn, -1 for none */
} chat;

/* ---- gathering turns ---- */

/* The role a message plays. With fold_system: developer is system; from the first real
 * turn on system text belongs to the user turn beside it. */
static ds4_role role_of(const chat *c, const ds4_message *m, bool started)
{
    const bool system = m->role == DS4_ROLE_SYSTEM || m->role == DS4_ROLE_DEVELOPER;
    if (!c->opt->fold_system || !system) return m->role;
    return started ? DS4_ROLE_USER : DS4_ROLE_SYSTEM;
}

/* Whether a message goes into the turn before it. */
static bool joins(const chat *c, const turn *before, ds4_role role)
{
    if (role == DS4_ROLE_TOOL) return before->role == DS4_ROLE_USER;
    if (role == DS4_ROLE_USER) {
        return before->role == DS4_ROLE_USER && before->task == DS4_TASK_NONE;
    }
    return role == DS4_ROLE_SYSTEM && c->opt->fold_system && before->role == DS4_ROLE_SYSTEM;
}

static void gather(chat *c, const ds4_message *m, bool *started)
{
    ds4_role role = role_of(c, m, *started);
    turn *t = c->n_turns ? &c->turns[c->n_turns - 1] : NULL;

    if (role != DS4_ROLE_SYSTEM && role != DS4_ROLE_DEVELOPER && role != DS4_ROLE_REMINDER) {
        *started = true;
    }
    if (!t || !joins(c, t, role)) {
        t = &c->turns[c->n_turns++];
        *t = (turn){ .role = role == DS4_ROLE_TOOL ? DS4_ROLE_USER : role, .first = c->n_blocks };
        if (role != DS4_ROLE_TOOL) t->task = m->task;
    }
    c->blocks[c->n_blocks++] = (block){ .m = m, .number = t->n_blocks++ };
}

static ds4_status gather_all(chat *c, const ds4_message *messages, uint32_t n_messages)
{
    const bool extras = c->opt->n_tools > 0 || c->opt->schema.n_bytes > 0;
    uint32_t   next = 0;
    bool       started = false;

    c->turns = calloc((size_t)n_messages + 1, sizeof *c->turns);
    c->blocks = calloc((size_t)n_messages + 1, sizeof *c->blocks);
    if (!c->turns || !c->blocks) {
        return ds4_fail(c->err, DS4_E_NOMEM, "no memory for %u messages", n_messages);
    }
    if (extras) {
        const bool has_front = n_messages > 0 && (messages[0].role == DS4_ROLE_SYSTEM ||
                                                  messages[0].role == DS4_ROLE_DEVELOPER);
        if (has_front) c->front = messages[next++];
        if (c->opt->n_tools > 0) {
            c->front.tools = c->opt->tools;
            c->front.n_tools = c->opt->n_tools;
        }
        if (c->opt->schema.n_bytes > 0) c->front.schema = c->opt->schema;
        gather(c, &c->front, &started);
    }
    while (next < n_messages) gather(c, &messages[next++], &started);
    return DS4_OK;
}

/* ---- order of tool results ---- */

static int compare_slices(ds4_slice a, ds4_slice b)
{
    const size_t n = a.n_bytes < b.n_bytes ? a.n_bytes : b.n_bytes;
    const int order = n ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.n_bytes > b.n_bytes) - (a.n_bytes < b.n_bytes);
}

static int compare_ids(const void *a, const void *b)
{
    const call_id *x = a, *y = b;
    const int order = compare_slices(x->id, y->id);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

static int compare_blocks(const void *a, const void *b)
{
    const block *x = a, *y = b;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* Remember the ids of an assistant's calls. */
static ds4_status learn_ids(chat *c, const ds4_message *m)
{
    call_id *ids = malloc(m->n_calls * sizeof *ids);
    if (!ids) return ds4_fail(c->err, DS4_E_NOMEM, "no memory for %u calls", m->n_calls);
    for (uint32_t i = 0; i < m->n_calls; i++) ids[i] = (call_id){ m->calls[i].id, i };
    qsort(ids, m->n_calls, sizeof *ids, compare_ids);
    free(c->ids);
    c->ids = ids;
    c->n_ids = m->n_calls;
    return DS4_OK;
}

/* The number of the last call with this id; 0 when there is none. */
static uint32_t number_of_call(const chat *c, ds4_slice id)
{
    uint32_t low = 0, high = c->n_ids;          /* the first greater id is in low .. high */
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (compare_slices(c->ids[middle].id, id) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && ds4_slice_eq(c->ids[low - 1].id, id) ? c->ids[low - 1].number : 0;
}

/* Tool results of one turn come in the order of their calls; other blocks stay in place. */
static ds4_status order_results(chat *c, const turn *t)
{
    block   *blocks = c->blocks + t->first;
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_blocks; i++) n += blocks[i].m->role == DS4_ROLE_TOOL;
    if (n < 2) return DS4_OK;

    block *results = malloc(n * sizeof *results);
    if (!results) return ds4_fail(c->err, DS4_E_NOMEM, "no memory for %u tool results", n);
    n = 0;
    for (uint32_t i = 0; i < t->n_blocks; i++) {
        if (blocks[i].m->role != DS4_ROLE_TOOL) continue;
        results[n] = blocks[i];
        results[n++].order = number_of_call(c, blocks[i].m->call_id);
    }
    qsort(results, n, sizeof *results, compare_blocks);
    n = 0;
    for (uint32_t i = 0; i < t->n_blocks; i++) {
        if (blocks[i].m->role == DS4_ROLE_TOOL) blocks[i] = results[n++];
    }
    free(results);
    return DS4_OK;
}

static ds4_status order_all_results(chat *c)
{
    for (uint32_t i = 0; i < c->n_turns; i++) {
        const turn        *t = &c->turns[i];
        const ds4_message *m = c->blocks[t->first].m;
        if (t->role == DS4_ROLE_ASSISTANT && m->n_calls > 0) DS4_TRY(learn_ids(c, m));
        if (t->role == DS4_ROLE_USER && c->n_ids > 0) DS4_TRY(order_results(c, t));
    }
    return DS4_OK;
}

/* ---- what is kept ---- */

static void find_last_user(chat *c)
{
    c->last_user = -1;
    for (uint32_t i = 0; i < c->n_turns; i++) {
        const ds4_role role = c->turns[i].role;
        if (role == DS4_ROLE_USER || role == DS4_ROLE_DEVELOPER) c->last_user = i;
    }
}

/* Without tools, old reasoning and the developer messages before the last user turn are
 * left out of a thinking prompt. */
static void choose_kept(chat *c)
{
    uint32_t n = 0;

    c->keep_all = c->opt->keep_reasoning;
    for (uint32_t i = 0; i < c->n_blocks; i++) {
        c->keep_all = c->keep_all || c->blocks[i].m->n_tools > 0;
    }
    find_last_user(c);
    if (!c->opt->thinking || c->keep_all) return;
    for (uint32_t i = 0; i < c->n_turns; i++) {
        if (c->turns[i].role == DS4_ROLE_DEVELOPER && (int64_t)i < c->last_user) continue;
        c->turns[n++] = c->turns[i];
    }
    c->n_turns = n;
    find_last_user(c);
}

/* ---- writing ---- */

static void add_content(chat *c, const ds4_message *m)
{
    if (m->n_parts == 0) {
        ds4_segments_foreign(c->out, m->content);
        return;
    }
    for (uint32_t i = 0; i < m->n_parts; i++) {
        if (i > 0) ds4_segments_own(c->out, "\n\n");
        if (!m->parts[i].is_text) ds4_segments_own(c->out, "[Unsupported ");
        ds4_segments_foreign(c->out, m->parts[i].text);
        if (!m->parts[i].is_text) ds4_segments_own(c->out, "]");
    }
}

static bool has_content(const ds4_message *m)
{
    return m->n_parts > 0 || m->content.n_bytes > 0;
}

static ds4_status add_extras(chat *c, const ds4_message *m)
{
    if (m->n_tools > 0) {
        ds4_segments_own(c->out, "\n\n");
        DS4_TRY(ds4_chat_add_tools(m->tools, m->n_tools, c->out, c->err));
    }
    if (m->schema.n_bytes > 0) {
        ds4_segments_own(c->out, "\n\n");
        DS4_TRY(ds4_chat_add_schema(m->schema, c->out, c->err));
    }
    return DS4_OK;
}

/* The blocks of a user, system, developer or reminder turn. */
static ds4_status add_blocks(chat *c, const turn *t)
{
    for (uint32_t i = 0; i < t->n_blocks; i++) {
        const ds4_message *m = c->blocks[t->first + i].m;
        const bool result = m->role == DS4_ROLE_TOOL;
        if (i > 0) ds4_segments_own(c->out, "\n\n");
        if (result) ds4_segments_own(c->out, "<tool_result>");
        add_content(c, m);
        if (result) ds4_segments_own(c->out, "</tool_result>");
    }
    for (uint32_t i = 0; i < t->n_blocks; i++) DS4_TRY(add_extras(c, c->blocks[t->first + i].m));
    return DS4_OK;
}

/* A block as it was sampled: only the markers inside its tags are trusted. */
static void add_raw_calls(chat *c, ds4_slice raw)
{
    static const char DSML[] = DS4_MARK_DSML;
    const size_t n_mark = sizeof DSML - 1;
    size_t done = 0;

    for (size_t i = 1; i + n_mark <= raw.n_bytes; i++) {
        if (raw.data[i] != DSML[0] || memcmp(raw.data + i, DSML, n_mark) != 0) continue;
        if (raw.data[i - 1] != '<' && (raw.data[i - 1] != '/' || i < 2 || raw.data[i - 2] != '<')) {
            continue;
        }
        ds4_segments_add(c->out, false, raw.data + done, i - done);
        ds4_segments_own(c->out, DSML);
        done = i + n_mark;
        i = done;               /* a tag's letters follow */
    }
    ds4_segments_add(c->out, false, raw.data + done, raw.n_bytes - done);
}

static ds4_status add_assistant(chat *c, uint32_t i)
{
    const ds4_message *m = c->blocks[c->turns[i].first].m;
    const bool calls = m->n_calls > 0 || m->raw_calls.n_bytes > 0;
    const bool open = c->opt->prefix_last && i + 1 == c->n_turns;
    const bool after_task = i > 0 && c->turns[i - 1].task != DS4_TASK_NONE;

    if (c->opt->thinking && !after_task && (c->keep_all || (int64_t)i > c->last_user)) {
        ds4_segments_foreign(c->out, m->reasoning);
        /* An open turn without content goes on thinking. */
        if (!open || has_content(m) || calls) ds4_segments_own(c->out, DS4_MARK_THINK_CLOSE);
    }
    add_content(c, m);
    if (m->raw_calls.n_bytes > 0) {
        add_raw_calls(c, m->raw_calls);
    } else if (calls) {
        DS4_TRY(ds4_dsml_write(m->calls, m->n_calls, c->out, c->err));
    }
    if (!open) ds4_segments_own(c->out, DS4_MARK_EOS);
    return DS4_OK;
}

static const char *task_mark(ds4_task task)
{
    switch (task) {
    case DS4_TASK_ACTION:    return "<｜action｜>";
    case DS4_TASK_QUERY:     return "<｜query｜>";
    case DS4_TASK_AUTHORITY: return "<｜authority｜>";
    case DS4_TASK_DOMAIN:    return "<｜domain｜>";
    case DS4_TASK_READ_URL:  return "<｜read_url｜>";
    case DS4_TASK_TITLE:     return "<｜title｜>";
    default:                 return "";
    }
}

/* Render the text between turn i and the assistant's words, if these come next. */
static void add_opener(chat *c, uint32_t i)
{
    const turn *t = &c->turns[i], *next = i + 1 < c->n_turns ? t + 1 : NULL;
    const bool last = !next || (c->opt->prefix_last && i + 2 == c->n_turns);
    const bool asks = t->role == DS4_ROLE_USER || t->role == DS4_ROLE_DEVELOPER ||
                      (last && c->opt->fold_system && t->role == DS4_ROLE_SYSTEM);

    if (next && next->role != DS4_ROLE_ASSISTANT && next->role != DS4_ROLE_REMINDER) return;
    if (t->task != DS4_TASK_NONE) {
        if (t->task == DS4_TASK_ACTION) {
            ds4_segments_own(c->out, DS4_MARK_ASSISTANT);
            ds4_segments_own(c->out, c->opt->thinking ? DS4_MARK_THINK : DS4_MARK_THINK_CLOSE);
        }
        ds4_segments_own(c->out, task_mark(t->task));
    } else if (asks) {
        const bool think = c->opt->thinking && (c->keep_all || (int64_t)i >= c->last_user);
        ds4_segments_own(c->out, DS4_MARK_ASSISTANT);
        ds4_segments_own(c->out, think ? DS4_MARK_THINK : DS4_MARK_THINK_CLOSE);
    }
}

static ds4_status add_turn(chat *c, uint32_t i)
{
    const turn *t = &c->turns[i];

    if (t->role == DS4_ROLE_ASSISTANT) {
        DS4_TRY(add_assistant(c, i));
    } else {
        if (t->role == DS4_ROLE_USER || t->role == DS4_ROLE_DEVELOPER) {
            ds4_segments_own(c->out, DS4_MARK_USER);
        }
        if (t->role == DS4_ROLE_REMINDER) ds4_segments_own(c->out, DS4_MARK_REMINDER);
        DS4_TRY(add_blocks(c, t));
    }
    add_opener(c, i);
    return DS4_OK;
}

static ds4_status render(chat *c, const ds4_message *messages, uint32_t n_messages)
{
    DS4_TRY(gather_all(c, messages, n_messages));
    DS4_TRY(order_all_results(c));
    choose_kept(c);
    ds4_segments_own(c->out, DS4_MARK_BOS);
    if (c->opt->thinking) {
        ds4_segments_own(c->out, ds4_chat_effort_text(c->opt->protocol, c->opt->effort));
    }
    for (uint32_t i = 0; i < c->n_turns; i++) DS4_TRY(add_turn(c, i));
    return c->out->failed ? ds4_fail(c->err, DS4_E_NOMEM, "no memory for a prompt") : DS4_OK;
}

ds4_status ds4_chat_render(const ds4_message *messages, uint32_t n_messages,
                           const ds4_chat_options *opt, ds4_segments *out, ds4_err *err)
{
    if (opt->protocol == DS4_PROTOCOL_V41) {
        return ds4_fail(err, DS4_E_UNSUPPORTED,
                        "the model speaks the V4.1 chat protocol, which this build "
                        "does not; expected V4 or V4-0731");
    }
    if (opt->prefix_last &&
        (n_messages == 0 || messages[n_messages - 1].role != DS4_ROLE_ASSISTANT)) {
        return ds4_fail(err, DS4_E_ARG,
                        "the last message is to be continued but is no assistant message");
    }
    chat c = { .opt = opt, .out = out, .err = err };
    const ds4_status st = render(&c, messages, n_messages);
    free(c.turns);
    free(c.blocks);
    free(c.ids);
    return st;
}

/* The place behind the last `word` in trusted bytes, or 0. */
static size_t last_trusted(const ds4_segments *s, const char *word)
{
    const size_t n = strlen(word);
    size_t end = s->text.n_bytes;

    for (uint32_t i = s->n; i-- > 0;) {
        const size_t begin = end - s->items[i].n_bytes;
        for (size_t at = end; s->items[i].trusted && at >= begin + n; at--) {
            if (memcmp(s->text.data + at - n, word, n) == 0) return at;
        }
        end = begin;
    }
    return 0;
}

bool ds4_chat_ends_in_thinking(const ds4_segments *rendered)
{
    return last_trusted(rendered, DS4_MARK_THINK) > last_trusted(rendered, DS4_MARK_THINK_CLOSE);
}

void ds4_chat_render_raw(ds4_slice prompt, ds4_segments *out)
{
    ds4_segments_own(out, DS4_MARK_BOS);
    ds4_segments_foreign(out, prompt);
}

void ds4_chat_render_fim(ds4_slice prompt, ds4_slice suffix, ds4_segments *out)
{
    ds4_segments_own(out, DS4_MARK_BOS DS4_MARK_FIM_BEGIN);
    ds4_segments_foreign(out, prompt);
    ds4_segments_own(out, DS4_MARK_FIM_HOLE);
    ds4_segments_foreign(out, suffix);
    ds4_segments_own(out, DS4_MARK_FIM_END);
}
