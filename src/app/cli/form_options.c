/* form_options.c - the form that an answer must have, as options say it. */
#include "app/cli/cli.h"
#include "base/file.h"

#include <string.h>

enum { MAX_SCHEMA_BYTES = 1 << 20 };

/* All that the grammar can hold it to, or a refusal that names what it cannot. */
static const ds4_grammar_options strict = { .strict = true };

static ds4_status from_file(const char *path, ds4_grammar **out, ds4_err *err)
{
    ds4_str    text = { 0 };
    ds4_err    why = { .code = DS4_OK };
    ds4_status st = ds4_file_read(path, MAX_SCHEMA_BYTES, &text, err);

    if (st == DS4_OK) {
        st = ds4_grammar_from_schema((ds4_slice){ ds4_str_text(&text), text.n_bytes }, &strict, out, &why);
        if (st != DS4_OK) st = ds4_fail(err, st, "%s: %s", path, why.text);
    }
    ds4_str_clear(&text);
    return st;
}

int ds4_cli_form_open(ds4_cli *cli)
{
    ds4_err    err = { .code = DS4_OK };
    ds4_status st = DS4_OK;

    if (cli->json_schema) {
        st = from_file(cli->json_schema, &cli->grammar, &err);
    } else if (cli->regex) {
        st = ds4_grammar_from_regex((ds4_slice){ cli->regex, strlen(cli->regex) }, &strict, &cli->grammar,
                                    &err);
    }
    if (st == DS4_OK) return DS4_EXIT_OK;
    ds4_app_say(DS4_CLI_NAME, "%s", err.text);
    return st == DS4_E_NOMEM ? DS4_EXIT_FAILURE : DS4_EXIT_WRONG;
}

void ds4_cli_form_close(ds4_cli *cli)
{
    ds4_grammar_free(cli->grammar);
    cli->grammar = NULL;
}
