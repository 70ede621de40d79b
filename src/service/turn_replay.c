/* turn_replay.c - see turn_replay.h. */
#include "service/turn_replay.h"

#include "text/pyjson.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_KEYS = 4096 };               /* of a turn: calls, the conversation, the response */

/* ---- what counts ---------------------------------------------------------------------------- */

/* FNV-1a: where a conversation stands. The names of turns are longer hashes. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t n_bytes)
{
    const unsigned char *p = data;

    if (hash == 0) hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n_bytes; i++) hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static ds4_slice trimmed(ds4_slice s)
{
    while (s.n_bytes && is_space(s.data[0])) {
        s.data++;
        s.n_bytes--;
    }
    while (s.n_bytes && is_space(s.data[s.n_bytes - 1])) s.n_bytes--;
    return s;
}

/* Append what a message shows: trimmed text, then names and arguments of calls. */
static void add_visible(const ds4_message *m, ds4_str *out)
{
    const ds4_slice text = trimmed(m->content);

    ds4_str_addf(out, "%d:%zu:", (int)m->role, text.n_bytes);
    ds4_str_add(out, text.data, text.n_bytes);
    for (uint32_t i = 0; i < m->n_parts; i++) {
        ds4_str_addf(out, "|%zu:", m->parts[i].text.n_bytes);
        ds4_str_add(out, m->parts[i].text.data, m->parts[i].text.n_bytes);
    }
    for (uint32_t i = 0; i < m->n_calls; i++) {
        const ds4_call *call = &m->calls[i];
        ds4_str_addf(out, "\n%zu:", call->name.n_bytes);
        ds4_str_add(out, call->name.data, call->name.n_bytes);
        ds4_str_add_char(out, ' ');
        if (ds4_pyjson_dump(call->arguments, out, NULL) != DS4_OK) {
            ds4_str_add(out, call->arguments.data, call->arguments.n_bytes);
        }
    }
}

uint64_t ds4_replay_key(uint64_t before, const ds4_message *m)
{
    ds4_str  visible = { 0 };
    uint64_t key = before;

    if (m->role == DS4_ROLE_SYSTEM || m->role == DS4_ROLE_DEVELOPER) return before;
    add_visible(m, &visible);
    key = hash_bytes(key, ds4_str_text(&visible), visible.n_bytes + 1);
    ds4_str_clear(&visible);
    return key;
}

/* ---- names ---------------------------------------------------------------------------------- */

/* A turn's name is the hash of all that must be the same: whose it is, which model sampled it, how it
 * is found, and what of it is visible. */
static ds4_kv_key name_of(const ds4_kv_key *owner, const ds4_kv_key *model, char how, ds4_slice what,
                          const ds4_kv_key *visible)
{
    ds4_kv_key name = ds4_kv_hash_on(owner, model->b, sizeof model->b);

    name = ds4_kv_hash_on(&name, &how, 1);
    name = ds4_kv_hash_on(&name, what.data, what.n_bytes);
    return ds4_kv_hash_on(&name, visible->b, sizeof visible->b);
}

static ds4_kv_key name_by_key(const ds4_replay_scope *scope, uint32_t i_model, uint64_t key,
                              const ds4_kv_key *visible)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(key >> (8 * i));
    return name_of(&scope->owner, &scope->model[i_model], 'k',
                   (ds4_slice){ (const char *)bytes, sizeof bytes }, visible);
}

static ds4_kv_key name_by_id(const ds4_replay_scope *scope, uint32_t i_model, ds4_slice id,
                             const ds4_kv_key *visible)
{
    return name_of(&scope->owner, &scope->model[i_model], 'i', id, visible);
}

ds4_kv_key ds4_replay_of_response(const ds4_kv_key *owner, ds4_slice id)
{
    static const ds4_kv_key none;
    return name_of(owner, &none, 'r', id, &none);
}

static bool hash_visible(const ds4_message *m, ds4_kv_key *out)
{
    ds4_str text = { 0 };

    add_visible(m, &text);
    const bool ok = !text.failed;
    *out = ds4_kv_hash(ds4_str_text(&text), text.n_bytes);
    ds4_str_clear(&text);
    return ok;
}

/* ---- keeping and finding -------------------------------------------------------------------- */

static uint8_t *little_endian(const int32_t *tokens, uint32_t n)
{
    uint8_t *bytes = malloc(4ull * n + 1);

    for (uint32_t i = 0; bytes && i < 4 * n; i++)
        bytes[i] = (uint8_t)((uint32_t)tokens[i / 4] >> (8 * (i % 4)));
    return bytes;
}

void ds4_replay_keep(ds4_texts *t, const ds4_replay_scope *scope, uint64_t key, const ds4_message *m,
                     const int32_t *tokens, uint32_t n_tokens, ds4_slice response)
{
    ds4_kv_key *keys = m->n_calls + 2 <= MAX_KEYS ? malloc((m->n_calls + 2ull) * sizeof *keys) : NULL;
    uint8_t    *bytes = little_endian(tokens, n_tokens);
    ds4_kv_key  visible;
    uint32_t    n = 0;

    if (keys && bytes && hash_visible(m, &visible)) {
        keys[n++] = name_by_key(scope, 0, key, &visible);
        for (uint32_t i = 0; i < m->n_calls; i++) keys[n++] = name_by_id(scope, 0, m->calls[i].id, &visible);
        if (response.n_bytes) keys[n++] = ds4_replay_of_response(&scope->owner, response);
        const ds4_text_turn turn = { m->reasoning, m->content, m->raw_calls,
                                     { (const char *)bytes, 4ull * n_tokens } };
        ds4_texts_keep_turn(t, keys, n, &turn);
    }
    free(keys);
    free(bytes);
}

static ds4_slice put(char **at, ds4_slice s)
{
    if (s.n_bytes) memcpy(*at, s.data, s.n_bytes);
    const ds4_slice copy = { *at, s.n_bytes };
    *at += s.n_bytes;
    return copy;
}

static void copy_out(void *ctx, const ds4_text_turn *turn)
{
    ds4_replayed  *out = ctx;
    const uint32_t n = (uint32_t)(turn->tokens.n_bytes / 4);
    int32_t       *tokens = malloc(4ull * n + turn->reasoning.n_bytes + turn->content.n_bytes
                                   + turn->calls.n_bytes + 1);

    if (!tokens) return;
    for (uint32_t i = 0; i < n; i++) tokens[i] = ds4_kv_token((const uint8_t *)turn->tokens.data, i);
    char *at = (char *)(tokens + n);
    *out = (ds4_replayed){ .tokens = tokens, .n_tokens = n, .block = tokens };
    out->reasoning = put(&at, turn->reasoning);
    out->content = put(&at, turn->content);
    out->raw_calls = put(&at, turn->calls);
}

bool ds4_replay_find(ds4_texts *t, const ds4_replay_scope *scope, uint64_t key, const ds4_message *m,
                     ds4_replayed *out)
{
    ds4_kv_key visible, name;

    *out = (ds4_replayed){ 0 };
    if (!hash_visible(m, &visible)) return false;
    for (uint32_t k = 0; k < scope->n_models; k++) {
        for (uint32_t i = 0; i < m->n_calls; i++) {
            name = name_by_id(scope, k, m->calls[i].id, &visible);
            if (ds4_texts_get_turn(t, &name, copy_out, out) && out->block) return true;
        }
        name = name_by_key(scope, k, key, &visible);
        if (ds4_texts_get_turn(t, &name, copy_out, out) && out->block) return true;
    }
    return false;
}
