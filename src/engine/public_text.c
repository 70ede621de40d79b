/* public_text.c - the text part of ds4.h: tokens of texts and conversations, and back. */
#include "engine/engine_local.h"

#include "model/vocab_gguf.h"
#include "text/bpe.h"
#include "text/chat.h"

#include <stdlib.h>
#include <string.h>

/* Hand tokens out under the rule of ds4_tokenize(), and let go of them. */
static ds4_status give_tokens(ds4_tokens *found, ds4_status st, int32_t *tokens, uint32_t max_tokens,
                              uint32_t *n_tokens, ds4_err *err)
{
    if (st == DS4_OK) {
        *n_tokens = found->n;
        if (found->n > max_tokens) {
            st = ds4_fail(err, DS4_E_LIMIT, "%u tokens, but room for %u", found->n, max_tokens);
        } else if (found->n > 0) {
            memcpy(tokens, found->ids, found->n * sizeof *tokens);
        }
    }
    ds4_tokens_clear(found);
    return st;
}

ds4_status ds4_tokenize(const ds4_vocab *v, const char *text, size_t n_bytes, int32_t *tokens,
                        uint32_t max_tokens, uint32_t *n_tokens, ds4_err *err)
{
    ds4_tokens       found = { 0 };
    const ds4_status st = ds4_vocab_encode(v, text, n_bytes, 0, &found, err);

    return give_tokens(&found, st, tokens, max_tokens, n_tokens, err);
}

const char *ds4_token_bytes(const ds4_vocab *v, int32_t token, size_t *n_bytes)
{
    const ds4_slice bytes = ds4_vocab_token_bytes(v, token);

    *n_bytes = bytes.n_bytes;
    return bytes.n_bytes ? bytes.data : "";
}

size_t ds4_detokenize(const ds4_vocab *v, const int32_t *tokens, uint32_t n_tokens, char *text,
                      size_t max_bytes)
{
    size_t n_all = 0;

    for (uint32_t i = 0; i < n_tokens; i++) {
        if (ds4_vocab_is_special(v, tokens[i])) continue;
        const ds4_slice bytes = ds4_vocab_token_bytes(v, tokens[i]);
        if (n_all + 1 < max_bytes) {
            const size_t room = max_bytes - 1 - n_all;
            memcpy(text + n_all, bytes.data, bytes.n_bytes < room ? bytes.n_bytes : room);
        }
        n_all += bytes.n_bytes;
    }
    if (max_bytes > 0) text[n_all < max_bytes ? n_all : max_bytes - 1] = '\0';
    return n_all;
}

bool ds4_token_is_end(const ds4_vocab *v, int32_t token)
{
    return ds4_vocab_is_end(v, token);
}

/* ---- conversations -------------------------------------------------------------------------- */

static ds4_status check_chat(const ds4_engine *e, const ds4_chat *chat, ds4_err *err)
{
    if (chat->n_turns == 0 || chat->turns[chat->n_turns - 1].who != DS4_USER) {
        return ds4_fail(err, DS4_E_ARG, "the last turn of a conversation has to be the user's");
    }
    for (uint32_t i = 0; i < chat->n_turns; i++) {
        const ds4_speaker who = chat->turns[i].who;
        if (who != DS4_SYSTEM && who != DS4_USER && who != DS4_ASSISTANT) {
            return ds4_fail(err, DS4_E_ARG, "turn %u is by nobody known: %d", i, (int)who);
        }
        if (!chat->turns[i].text) return ds4_fail(err, DS4_E_ARG, "turn %u has no text", i);
    }
    return ds4_vocab_check_chat(e->vocab, err);
}

static ds4_status render(const ds4_engine *e, const ds4_chat *chat, ds4_message *messages,
                         ds4_tokens *found, ds4_err *err)
{
    static const ds4_role roles[] = { [DS4_SYSTEM] = DS4_ROLE_SYSTEM,
                                      [DS4_USER] = DS4_ROLE_USER,
                                      [DS4_ASSISTANT] = DS4_ROLE_ASSISTANT };
    const ds4_chat_options opt = { .protocol = ds4_protocol_from_gguf(e->network.file, e->vocab),
                                   .thinking = chat->thinking };
    ds4_segments           text = { 0 };

    for (uint32_t i = 0; i < chat->n_turns; i++) {
        const char *said = chat->turns[i].text;
        messages[i] = (ds4_message){ .role = roles[chat->turns[i].who],
                                     .content = { said, strlen(said) } };
    }
    ds4_status st = ds4_chat_render(messages, chat->n_turns, &opt, &text, err);
    if (st == DS4_OK) st = ds4_segments_encode(e->vocab, &text, found, err);
    ds4_segments_clear(&text);
    return st;
}

ds4_status ds4_chat_prompt(const ds4_engine *e, const ds4_chat *chat, int32_t *tokens,
                           uint32_t max_tokens, uint32_t *n_tokens, ds4_err *err)
{
    ds4_tokens found = { 0 };

    DS4_TRY(check_chat(e, chat, err));
    ds4_message *messages = calloc(chat->n_turns, sizeof *messages);
    if (!messages) return ds4_fail(err, DS4_E_NOMEM, "no memory for %u turns", chat->n_turns);
    const ds4_status st = render(e, chat, messages, &found, err);
    free(messages);
    return give_tokens(&found, st, tokens, max_tokens, n_tokens, err);
}
