/* store_file.c - see store_file.h. */
#include "service/store/store_file.h"

#include <inttypes.h>
#include <string.h>

static const uint8_t magic[8] = { 'D', 'S', '4', ' ', 'K', 'V', '\r', '\n' };

enum { CHECK_BYTES = 16, MAX_POS = 1 << 20 };

static void put32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (8 * i));
}

static void put64(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++) to[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16
         | (uint32_t)from[3] << 24;
}

static uint64_t get64(const uint8_t *from)
{
    return get32(from) | (uint64_t)get32(from + 4) << 32;
}

int32_t ds4_kv_token(const uint8_t *tokens, uint32_t i)
{
    return (int32_t)get32(tokens + 4ull * i);
}

bool ds4_kv_owner_eq(const ds4_kv_owner *a, const ds4_kv_owner *b)
{
    return ds4_kv_key_eq(&a->identity, &b->identity) && a->form.version == b->form.version
        && a->form.rows == b->form.rows && a->form.block_tokens == b->form.block_tokens
        && a->form.block_bytes == b->form.block_bytes;
}

/* ---- names ------------------------------------------------------------------------------ */

static void put_form(uint8_t to[24], const ds4_state_form *form)
{
    put32(to, form->version);
    put32(to + 4, form->rows);
    put32(to + 8, form->block_tokens);
    put32(to + 12, 0);
    put64(to + 16, form->block_bytes);
}

ds4_kv_key ds4_kv_root(const ds4_kv_owner *owner)
{
    uint8_t form[24];

    put_form(form, &owner->form);
    return ds4_kv_hash_on(&owner->identity, form, sizeof form);
}

/* The tokens and, as a last number, the kind: the tail of 256 tokens is not their block. */
static ds4_kv_key name_of(ds4_kv_kind kind, const ds4_kv_key *parent, const uint8_t *tokens,
                          uint32_t n_tokens)
{
    uint8_t          last[4];
    const ds4_kv_key key = ds4_kv_hash_on(parent, tokens, 4ull * n_tokens);

    put32(last, kind);
    return ds4_kv_hash_on(&key, last, sizeof last);
}

ds4_kv_key ds4_kv_name(ds4_kv_kind kind, const ds4_kv_key *parent, const int32_t *tokens,
                       uint32_t n_tokens)
{
    uint8_t  bytes[4 * 1024];
    uint32_t n = 0;

    for (; n < n_tokens && n < 1024; n++) put32(bytes + 4ull * n, (uint32_t)tokens[n]);
    return name_of(kind, parent, bytes, n);
}

/* ---- writing ---------------------------------------------------------------------------- */

uint64_t ds4_kv_file_content(uint32_t n_tokens)
{
    return DS4_KV_FILE_HEADER + 4ull * n_tokens;
}

uint64_t ds4_kv_file_bytes(uint32_t n_tokens, uint64_t content_bytes)
{
    return ds4_kv_file_content(n_tokens) + content_bytes + CHECK_BYTES;
}

void ds4_kv_file_seal(const ds4_kv_file *f, const int32_t *tokens, uint8_t *bytes)
{
    const uint64_t end = ds4_kv_file_content(f->n_tokens) + f->n_bytes;

    memset(bytes, 0, DS4_KV_FILE_HEADER);
    memcpy(bytes, magic, sizeof magic);
    put32(bytes + 8, DS4_KV_FILE_VERSION);
    put32(bytes + 12, f->kind);
    memcpy(bytes + 16, f->owner.identity.b, 16);
    put32(bytes + 32, f->owner.form.version);
    put32(bytes + 36, f->owner.form.rows);
    put32(bytes + 40, f->owner.form.block_tokens);
    put32(bytes + 44, f->pos);
    put64(bytes + 48, f->owner.form.block_bytes);
    put64(bytes + 56, f->n_bytes);
    memcpy(bytes + 64, f->parent.b, 16);
    memcpy(bytes + 80, f->key.b, 16);
    for (uint32_t i = 0; i < f->n_tokens; i++) {
        put32(bytes + DS4_KV_FILE_HEADER + 4ull * i, (uint32_t)tokens[i]);
    }
    const ds4_kv_key check = ds4_kv_hash(bytes, (size_t)end);
    memcpy(bytes + end, check.b, CHECK_BYTES);
}

/* ---- reading ---------------------------------------------------------------------------- */

static ds4_status read_header(const char *what, const uint8_t *bytes, uint64_t n_bytes,
                              ds4_kv_file *f, ds4_err *err)
{
    if (n_bytes < DS4_KV_FILE_EXTRA) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: %" PRIu64 " bytes, at least %d are expected", what,
                        n_bytes, DS4_KV_FILE_EXTRA);
    }
    if (memcmp(bytes, magic, sizeof magic) != 0) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: not a KV file", what);
    }
    if (get32(bytes + 8) != DS4_KV_FILE_VERSION) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: version %u, expected %d", what, get32(bytes + 8),
                        DS4_KV_FILE_VERSION);
    }
    const uint32_t kind = get32(bytes + 12), rows = get32(bytes + 36);
    *f = (ds4_kv_file){
        .kind = kind == DS4_KV_TAIL ? DS4_KV_TAIL : DS4_KV_BLOCK, .pos = get32(bytes + 44),
        .n_bytes = get64(bytes + 56),
    };
    memcpy(f->owner.identity.b, bytes + 16, 16);
    memcpy(f->parent.b, bytes + 64, 16);
    memcpy(f->key.b, bytes + 80, 16);
    f->owner.form = (ds4_state_form){ .version = get32(bytes + 32), .rows = (ds4_kv_form)rows,
                                      .block_tokens = get32(bytes + 40),
                                      .block_bytes = get64(bytes + 48) };
    if ((kind != DS4_KV_BLOCK && kind != DS4_KV_TAIL) || rows > DS4_KV_PLANES) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: kind %u with rows of form %u is unknown", what, kind, rows);
    }
    return DS4_OK;
}

/* The number of tokens follows from the position; the rest must fill the file. */
static ds4_status check_sizes(const char *what, uint64_t n_bytes, ds4_kv_file *f, ds4_err *err)
{
    const ds4_state_form *form = &f->owner.form;

    if (form->block_tokens < 1 || form->block_tokens > 1024 || f->pos < 1 || f->pos > MAX_POS) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: position %u in blocks of %u tokens", what, f->pos,
                        form->block_tokens);
    }
    const uint32_t in_block = f->pos % form->block_tokens;
    if (f->kind == DS4_KV_BLOCK && (in_block != 0 || f->n_bytes != form->block_bytes)) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: a block up to token %u with %" PRIu64
                        " bytes, expected whole blocks of %" PRIu64 " bytes", what, f->pos,
                        f->n_bytes, form->block_bytes);
    }
    f->n_tokens = f->kind == DS4_KV_BLOCK ? form->block_tokens : in_block;
    const uint64_t around = ds4_kv_file_bytes(f->n_tokens, 0);
    if (n_bytes < around || f->n_bytes != n_bytes - around) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: %" PRIu64 " bytes do not hold a content of %" PRIu64,
                        what, n_bytes, f->n_bytes);
    }
    return DS4_OK;
}

ds4_status ds4_kv_file_parse(const char *what, const uint8_t *bytes, uint64_t n_bytes,
                             ds4_kv_file *out, ds4_err *err)
{
    ds4_kv_file f;

    DS4_TRY(read_header(what, bytes, n_bytes, &f, err));
    DS4_TRY(check_sizes(what, n_bytes, &f, err));
    const ds4_kv_key check = ds4_kv_hash(bytes, (size_t)(n_bytes - CHECK_BYTES));
    if (memcmp(check.b, bytes + n_bytes - CHECK_BYTES, CHECK_BYTES) != 0) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: the checksum does not fit the content", what);
    }
    f.tokens = bytes + DS4_KV_FILE_HEADER;
    f.content = f.tokens + 4ull * f.n_tokens;
    const ds4_kv_key name = name_of(f.kind, &f.parent, f.tokens, f.n_tokens);
    if (!ds4_kv_key_eq(&name, &f.key)) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: its name does not fit its tokens", what);
    }
    *out = f;
    return DS4_OK;
}
