/* eval_tokens.c - ds4-eval tokens: lines of JSON text become lines of token ids. */
#include "app/eval/eval.h"
#include "model/vocab_gguf.h"
#include "text/bpe.h"
#include "text/pyjson.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* {"text": "...", "special": true|false} to ids. */
static ds4_status encode_line(const ds4_vocab *v, ds4_slice line, ds4_tokens *ids, ds4_err *err)
{
    ds4_slice  value;
    ds4_str    text = { 0 };
    unsigned   flags = 0;

    DS4_TRY(ds4_pyjson_check(line, err));
    if (!ds4_pyjson_get(line, "text", &value) || ds4_pyjson_kind(value) != DS4_JSON_STRING) {
        return ds4_fail(err, DS4_E_FORMAT, "no member \"text\" that is a string");
    }
    DS4_TRY(ds4_pyjson_decode_string(value, &text, err));
    if (ds4_pyjson_get(line, "special", &value) && ds4_pyjson_kind(value) == DS4_JSON_TRUE) {
        flags = DS4_ENCODE_SPECIALS;
    }
    const ds4_status st = ds4_vocab_encode(v, ds4_str_text(&text), text.n_bytes, flags, ids, err);
    ds4_str_clear(&text);
    return st;
}

static void print_ids(const ds4_tokens *ids)
{
    fputc('[', stdout);
    for (uint32_t i = 0; i < ids->n; i++) printf(i ? ", %d" : "%d", ids->ids[i]);
    fputs("]\n", stdout);
}

static int encode_input(const ds4_vocab *v)
{
    char      *line = NULL;
    size_t     capacity = 0;
    ssize_t    n;
    ds4_tokens ids = { 0 };
    ds4_err    err = { .code = DS4_OK };
    ds4_status st = DS4_OK;

    errno = 0;
    for (uint64_t number = 1; (n = getline(&line, &capacity, stdin)) >= 0; number++) {
        if (line[strspn(line, " \t\r\n")] == '\0' && strlen(line) == (size_t)n) continue;
        ids.n = 0;
        st = encode_line(v, (ds4_slice){ line, (size_t)n }, &ids, &err);
        if (st != DS4_OK) {
            ds4_app_say(DS4_EVAL_NAME, "line %llu: %s", (unsigned long long)number, err.text);
            break;
        }
        print_ids(&ids);
    }
    if (st == DS4_OK && ferror(stdin)) {
        ds4_app_say(DS4_EVAL_NAME, "cannot read standard input: %s", strerror(errno));
        st = DS4_E_IO;
    }
    ds4_tokens_clear(&ids);
    free(line);
    return st == DS4_OK ? DS4_EXIT_OK : DS4_EXIT_FAILURE;
}

static int run(const ds4_app_model *model)
{
    ds4_str    path = { 0 };
    ds4_gguf  *g = NULL;
    ds4_vocab *v = NULL;
    ds4_err    err = { .code = DS4_OK };
    int        code = ds4_app_find(model, &path);

    if (code == DS4_EXIT_OK) {
        ds4_status st = ds4_gguf_open(ds4_str_text(&path), &g, &err);
        if (st == DS4_OK) st = ds4_vocab_from_gguf(g, &v, &err);
        if (st != DS4_OK) {
            ds4_app_say(DS4_EVAL_NAME, "%s", err.text);
            code = st == DS4_E_NOMEM ? DS4_EXIT_FAILURE : DS4_EXIT_WRONG;
        }
    }
    if (code == DS4_EXIT_OK) code = encode_input(v);
    ds4_vocab_free(v);
    ds4_gguf_close(g);
    ds4_str_clear(&path);
    return code;
}

int ds4_eval_tokens(const char *argv0, int argc, char **argv)
{
    ds4_app_model    model = { .program = DS4_EVAL_NAME, .argv0 = argv0 };
    const ds4_option options[] = {
        DS4_OPT_TEXT('m', "model", "FILE", &model.path,
                     "GGUF file, one with only a vocabulary too\n"
                     "[ds4flash.gguf, else the bundled model]"),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = DS4_EVAL_NAME,
        .usage = "ds4-eval tokens [-m FILE] < LINES",
        .about = "Read JSON objects, one on each line: {\"text\": \"...\"}. Print the token ids of "
                 "each text\n"
                 "as a JSON array. Special tokens are recognised with \"special\": true only.",
        .options = options,
    };
    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, NULL, NULL);

    return parsed == DS4_PARSED_RUN ? run(&model) : ds4_eval_parsed(parsed);
}
