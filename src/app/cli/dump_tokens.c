/* dump_tokens.c - ds4 --dump-tokens: the tokens of a text, without running the model. */
#include "app/cli/cli.h"
#include "model/vocab_gguf.h"
#include "text/utf8.h"

#include <stdio.h>

/* The text of a token as it could stand in C: one line, printable, UTF-8 where it is. */
static void add_escaped(ds4_slice text, ds4_str *out)
{
    for (size_t i = 0; i < text.n_bytes;) {
        const uint8_t b = (uint8_t)text.data[i];
        uint32_t      code = 0;
        const int     n = ds4_utf8_read(text.data + i, text.n_bytes - i, &code);
        if (b == '\n') {
            ds4_str_add_text(out, "\\n");
        } else if (b == '\r') {
            ds4_str_add_text(out, "\\r");
        } else if (b == '\t') {
            ds4_str_add_text(out, "\\t");
        } else if (b == '\\') {
            ds4_str_add_text(out, "\\\\");
        } else if (n > 0 && code >= 0x20 && !(code >= 0x7f && code < 0xa0)) {
            ds4_str_add(out, text.data + i, (size_t)n);
            i += (size_t)n;
            continue;
        } else {
            ds4_str_addf(out, "\\x%02x", b);
        }
        i++;
    }
}

static int print_tokens(const ds4_vocab *vocab, const ds4_tokens *tokens)
{
    ds4_str out = { 0 };

    ds4_str_add_text(&out, "[");
    for (uint32_t i = 0; i < tokens->n; i++) ds4_str_addf(&out, i ? ", %d" : "%d", tokens->ids[i]);
    ds4_str_add_text(&out, "]\n");
    for (uint32_t i = 0; i < tokens->n; i++) {
        ds4_str_addf(&out, "%6d  ", tokens->ids[i]);
        add_escaped(ds4_vocab_token_bytes(vocab, tokens->ids[i]), &out);
        ds4_str_add_text(&out, "\n");
    }
    const bool failed = out.failed;
    if (!failed) fwrite(out.data, 1, out.n_bytes, stdout);
    ds4_str_clear(&out);
    if (failed) ds4_app_say(DS4_CLI_NAME, "no memory for the list of tokens");
    return failed ? DS4_EXIT_FAILURE : DS4_EXIT_OK;
}

static int open_vocab(const ds4_cli *cli, ds4_vocab **vocab)
{
    ds4_str   path = { 0 };
    ds4_gguf *g = NULL;
    ds4_err   err = { .code = DS4_OK };
    int       code = ds4_app_find(&cli->model, &path);

    if (code == DS4_EXIT_OK) {
        ds4_status st = ds4_gguf_open(ds4_str_text(&path), &g, &err);
        if (st == DS4_OK) st = ds4_vocab_from_gguf(g, vocab, &err);
        if (st != DS4_OK) {
            ds4_app_say(DS4_CLI_NAME, "%s", err.text);
            code = st == DS4_E_NOMEM ? DS4_EXIT_FAILURE : DS4_EXIT_WRONG;
        }
    }
    ds4_gguf_close(g);
    ds4_str_clear(&path);
    return code;
}

int ds4_cli_dump_tokens(const ds4_cli *cli)
{
    ds4_vocab *vocab = NULL;
    ds4_tokens tokens = { 0 };
    ds4_str    text = { 0 };
    ds4_err    err = { .code = DS4_OK };
    int        code = open_vocab(cli, &vocab);

    if (code == DS4_EXIT_OK) code = ds4_cli_prompt(cli, true, &text);
    if (code == DS4_EXIT_OK) {
        if (ds4_vocab_encode(vocab, ds4_str_text(&text), text.n_bytes, DS4_ENCODE_SPECIALS, &tokens,
                             &err) != DS4_OK) {
            code = ds4_app_failed(DS4_CLI_NAME, &err);
        } else {
            code = print_tokens(vocab, &tokens);
        }
    }
    ds4_tokens_clear(&tokens);
    ds4_str_clear(&text);
    ds4_vocab_free(vocab);
    return code;
}
