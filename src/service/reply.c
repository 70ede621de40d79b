/* reply.c - see reply.h. */
#include "service/reply.h"

#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

/* So much of a call's arguments is held back while its first one is still being written. */
enum { CALL_HELD_BYTES = 256 };

struct ds4_reply {
    ds4_reply_options opt;
    ds4_dsml         *reader;           /* NULL when plain */
    ds4_str           text;             /* plain: the whole text */
    ds4_utf8_stream   utf8;             /* plain */
    ds4_candidate    *scratch;          /* [n_vocab] */
    ds4_tokens        sampled;
    ds4_token_weights *weights;         /* NULL: none */
    size_t            longest_stop;
    size_t            sent_reasoning, sent_content;     /* bytes handed out */
    uint32_t          i_call;           /* the call that is being handed out */
    bool              call_begun;       /* its name is out */
    size_t            sent_arguments;
    ds4_reply_result  result;
};

const char *ds4_finish_name(ds4_finish finish)
{
    switch (finish) {
    case DS4_FINISH_END:
    case DS4_FINISH_STOP:      return "stop";
    case DS4_FINISH_CALLS:     return "tool_calls";
    case DS4_FINISH_LENGTH:
    case DS4_FINISH_LOOP:
    case DS4_FINISH_CONTEXT:   return "length";
    case DS4_FINISH_CANCELLED: return "cancelled";
    case DS4_FINISH_NONE:      break;
    }
    return "";
}

ds4_status ds4_reply_create(const ds4_reply_options *opt, ds4_reply **out, ds4_err *err)
{
    if (opt->max_tokens == 0) {
        return ds4_fail(err, DS4_E_ARG, "a reply needs a limit of at least one token");
    }
    for (uint32_t i = 0; i < opt->n_stops; i++) {
        if (opt->stops[i].n_bytes == 0) return ds4_fail(err, DS4_E_ARG, "a stop string is empty");
    }

    ds4_reply *r = calloc(1, sizeof *r);
    if (!r) return ds4_fail(err, DS4_E_NOMEM, "no memory for a reply");
    r->opt = *opt;
    r->result.state = opt->thinking && !opt->plain ? DS4_DSML_THINK : DS4_DSML_CONTENT;
    for (uint32_t i = 0; i < opt->n_stops; i++) {
        if (opt->stops[i].n_bytes > r->longest_stop) r->longest_stop = opt->stops[i].n_bytes;
    }
    r->scratch = malloc((size_t)opt->n_vocab * sizeof *r->scratch);
    if (!r->scratch) {
        ds4_reply_free(r);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for %u sampling candidates", opt->n_vocab);
    }
    const ds4_status weighed = ds4_token_weights_create(&opt->penalties, opt->n_vocab, &r->weights, err);
    if (weighed != DS4_OK) {
        ds4_reply_free(r);
        return weighed;
    }
    if (!opt->plain) {
        const ds4_dsml_options how = { .thinking = opt->thinking, .vocab = opt->vocab,
                                       .tools = opt->tools, .n_tools = opt->n_tools };
        const ds4_status st = ds4_dsml_create(&how, &r->reader, err);
        if (st != DS4_OK) {
            ds4_reply_free(r);
            return st;
        }
    }
    *out = r;
    return DS4_OK;
}

void ds4_reply_free(ds4_reply *r)
{
    if (!r) return;
    ds4_dsml_free(r->reader);
    ds4_str_clear(&r->text);
    ds4_token_weights_free(r->weights);
    free(r->scratch);
    ds4_tokens_clear(&r->sampled);
    free(r);
}

/* ---- handing out --------------------------------------------------------------------- */

static void emit(const ds4_reply *r, ds4_piece_kind kind, const char *data, size_t n_bytes)
{
    const ds4_piece piece = { kind, { data, n_bytes }, r->i_call };

    if (!r->opt.piece) return;
    if (n_bytes == 0 && kind != DS4_PIECE_CALL_DROPPED) return;
    r->opt.piece(r->opt.piece_ctx, &piece);
}

/* The first place where a stop string lies wholly inside text[from..]; n_bytes when none. */
static size_t find_stop(const ds4_reply *r, ds4_slice text, size_t from, ds4_slice *found)
{
    for (size_t at = from; at < text.n_bytes; at++) {
        for (uint32_t i = 0; i < r->opt.n_stops; i++) {
            const ds4_slice stop = r->opt.stops[i];
            if (stop.n_bytes <= text.n_bytes - at &&
                !memcmp(text.data + at, stop.data, stop.n_bytes)) {
                *found = stop;
                return at;
            }
        }
    }
    return text.n_bytes;
}

/* Find the longest end of the text that could still become a stop string. */
static size_t find_stop_beginning(const ds4_reply *r, ds4_slice text, size_t from)
{
    const size_t most = r->longest_stop ? r->longest_stop - 1 : 0;
    size_t       at = text.n_bytes - from > most ? text.n_bytes - most : from;

    for (; at < text.n_bytes; at++) {
        const size_t left = text.n_bytes - at;
        for (uint32_t i = 0; i < r->opt.n_stops; i++) {
            const ds4_slice stop = r->opt.stops[i];
            if (left < stop.n_bytes && !memcmp(text.data + at, stop.data, left)) return at;
        }
    }
    return text.n_bytes;
}

/* Hand out what is certain of the content; with `last` nothing is held back. Everything
 * from a stop string on is cut off. */
static void hand_out_content(ds4_reply *r, ds4_slice content, bool last)
{
    const size_t stop_at = find_stop(r, content, r->sent_content, &r->result.stop);
    size_t       upto = stop_at;

    if (stop_at < content.n_bytes) {
        r->result.finish = DS4_FINISH_STOP;
        content.n_bytes = stop_at;
    } else if (!last) {
        upto = find_stop_beginning(r, content, r->sent_content);
        /* A stop string may begin inside a character; a part of one is not handed out. */
        while (upto < content.n_bytes && upto > r->sent_content &&
               ((uint8_t)content.data[upto] & 0xc0) == 0x80) {
            upto--;
        }
    }
    if (upto > r->sent_content) {
        emit(r, DS4_PIECE_CONTENT, content.data + r->sent_content, upto - r->sent_content);
    }
    if (upto > r->sent_content) r->sent_content = upto;
    r->result.content = content;
}

/* A call is begun late, for it can still turn out to be text, and then cannot be taken back: when
 * its first argument is whole or too long to wait for. */
static bool is_call_for_sure(const ds4_dsml_call *call)
{
    return call->complete || call->n_arguments > 0 || call->stream.n_bytes > CALL_HELD_BYTES;
}

static void hand_out_call(ds4_reply *r, const ds4_dsml_call *call)
{
    if (!r->call_begun) {
        if (!is_call_for_sure(call)) return;
        emit(r, DS4_PIECE_CALL, call->name.data, call->name.n_bytes);
        r->call_begun = true;
    }
    if (call->stream.n_bytes > r->sent_arguments) {
        emit(r, DS4_PIECE_ARGUMENTS, call->stream.data + r->sent_arguments,
             call->stream.n_bytes - r->sent_arguments);
        r->sent_arguments = call->stream.n_bytes;
    }
}

static void hand_out_calls(ds4_reply *r, const ds4_dsml_result *res)
{
    while (r->i_call < res->n_calls) {
        hand_out_call(r, &res->calls[r->i_call]);
        r->i_call++;
        r->call_begun = false;
        r->sent_arguments = 0;
    }
    if (res->open) hand_out_call(r, &res->calls[res->n_calls]);
}

/* The call that was begun is none after all: said before the text that it was. */
static void drop_call(ds4_reply *r, const ds4_dsml_result *res)
{
    if (!r->call_begun || res->open || res->n_calls > r->i_call) return;
    emit(r, DS4_PIECE_CALL_DROPPED, "", 0);
    r->call_begun = false;
    r->sent_arguments = 0;
}

/* Bring the result up to date with the reader and hand out what is new. */
static void hand_out(ds4_reply *r, bool last)
{
    if (!r->reader) {
        hand_out_content(r, (ds4_slice){ ds4_str_text(&r->text), r->text.n_bytes }, last);
        return;
    }
    const ds4_dsml_result *res = ds4_dsml_get(r->reader);
    r->result.state = res->state;
    r->result.reasoning = res->reasoning;
    if (res->reasoning.n_bytes > r->sent_reasoning) {
        emit(r, DS4_PIECE_THINKING, res->reasoning.data + r->sent_reasoning,
             res->reasoning.n_bytes - r->sent_reasoning);
        r->sent_reasoning = res->reasoning.n_bytes;
    }
    const bool calls_begun = res->n_calls > 0 || res->open;
    drop_call(r, res);
    hand_out_content(r, res->content, last || calls_begun);
    if (r->result.finish == DS4_FINISH_STOP) return;
    hand_out_calls(r, res);
    r->result.calls = res->calls;
    r->result.n_calls = res->n_calls;
    r->result.raw_calls = res->raw_calls;
    r->result.oddities = res->oddities;
}

/* ---- sampling ------------------------------------------------------------------------- */

/* The reply is over for the reason `why`, unless its last bytes hold a stop string. */
static ds4_status finish(ds4_reply *r, ds4_finish why, ds4_err *err)
{
    const bool cut = why != DS4_FINISH_END;

    if (r->reader) {
        DS4_TRY(ds4_dsml_finish(r->reader, cut, err));
    } else {
        ds4_utf8_stream_flush(&r->utf8, &r->text);
        if (r->text.failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for the text of a reply");
    }
    hand_out(r, true);
    if (r->result.finish != DS4_FINISH_NONE) return DS4_OK;
    r->result.finish = why == DS4_FINISH_END && r->result.n_calls > 0 ? DS4_FINISH_CALLS : why;
    return DS4_OK;
}

static ds4_status read_token(ds4_reply *r, int32_t id, ds4_err *err)
{
    if (r->reader) return ds4_dsml_token(r->reader, id, err);

    ds4_str bytes = { 0 };
    ds4_vocab_decode(r->opt.vocab, &id, 1, DS4_DECODE_SKIP_CONTROL, &bytes);
    ds4_utf8_stream_add(&r->utf8, ds4_str_text(&bytes), bytes.n_bytes, &r->text);
    const bool failed = bytes.failed || r->text.failed;
    ds4_str_clear(&bytes);
    if (failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for the text of a reply");
    return DS4_OK;
}

/* A call copies text from elsewhere: there a penalty would only do damage. */
static bool is_weighed(const ds4_reply *r)
{
    return r->weights && r->result.state != DS4_DSML_CALLS &&
           !(r->reader && ds4_dsml_in_structure(r->reader));
}

static int32_t draw(ds4_reply *r, const float *logits)
{
    const bool   weighed = is_weighed(r);
    ds4_sampling how = r->opt.sampling;
    int32_t      id;

    if (weighed) logits = ds4_token_weights_apply(r->weights, logits);
    if (r->reader && ds4_dsml_in_structure(r->reader)) how.temperature = 0;
    if (r->opt.choose) {
        id = r->opt.choose(r->opt.choose_ctx, logits, &how, r->opt.rng, r->scratch);
    } else {
        id = ds4_sample(logits, r->opt.n_vocab, &how, r->opt.rng, r->scratch);
    }
    if (weighed) ds4_token_weights_note(r->weights, id);
    return id;
}

/* One token of the answer, -1 in *token when it was the last. */
static ds4_status take(ds4_reply *r, int32_t id, int32_t *token, ds4_err *err)
{
    *token = -1;
    if (ds4_vocab_is_end(r->opt.vocab, id)) return finish(r, DS4_FINISH_END, err);

    if (r->reader && ds4_dsml_get(r->reader)->state == DS4_DSML_THINK) {
        r->result.n_reasoning_tokens++;
    }
    r->result.n_tokens++;
    ds4_tokens_add(&r->sampled, id);
    if (r->sampled.failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for the tokens of a reply");
    r->result.tokens = r->sampled.ids;
    DS4_TRY(read_token(r, id, err));
    hand_out(r, false);
    if (r->result.finish == DS4_FINISH_STOP) return DS4_OK;
    if (r->reader && ds4_dsml_get(r->reader)->state == DS4_DSML_DONE) {
        return finish(r, DS4_FINISH_END, err);
    }
    if (r->result.n_tokens >= r->opt.max_tokens) return finish(r, DS4_FINISH_LENGTH, err);
    *token = id;
    return DS4_OK;
}

ds4_status ds4_reply_sample(ds4_reply *r, const float *logits, int32_t *token, ds4_err *err)
{
    if (r->result.finish != DS4_FINISH_NONE) {
        return ds4_fail(err, DS4_E_ARG, "the reply is already over");
    }

    const int32_t id = draw(r, logits);
    *token = -1;
    if (id < 0) return ds4_fail(err, DS4_E_DEVICE, "the model gave a logit that is not finite");
    return take(r, id, token, err);
}

ds4_status ds4_reply_take(ds4_reply *r, int32_t id, ds4_err *err)
{
    int32_t token;

    if (r->result.finish != DS4_FINISH_NONE) return DS4_OK;
    return take(r, id, &token, err);
}

ds4_status ds4_reply_end(ds4_reply *r, ds4_finish why, ds4_err *err)
{
    if (r->result.finish != DS4_FINISH_NONE) return DS4_OK;
    return finish(r, why, err);
}

const ds4_reply_result *ds4_reply_get(const ds4_reply *r)
{
    return &r->result;
}
