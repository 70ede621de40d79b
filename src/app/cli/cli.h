/* cli.h - the settings of one run of ds4, and the things it can do with them. */
#ifndef DS4_APP_CLI_CLI_H
#define DS4_APP_CLI_CLI_H

#include "app/common/app.h"
#include "app/common/kv_options.h"
#include "app/common/options.h"
#include "service/conversation.h"

#define DS4_CLI_NAME "ds4"

enum {
    DS4_CLI_CTX = 32768,            /* context when -c is not given */
    DS4_CLI_MAX_FILE = 1 << 28,     /* bytes of a prompt */
};

typedef enum ds4_think_mode { DS4_THINK, DS4_THINK_MAX, DS4_THINK_OFF } ds4_think_mode;

typedef struct ds4_cli {
    ds4_app_model    model;
    ds4_app_kv       kv;
    const char      *prompt, *prompt_file, *system;
    uint32_t         n_ctx; /* 0: DS4_CLI_CTX, or what the model was made for if that is less */
    uint32_t         max_tokens, top_k, logprobs_top_k;
    uint32_t         think_budget, loop_tokens;         /* 0: no limit; 0: never */
    const char      *json_schema, *regex;       /* a file, a pattern; NULL: none */
    ds4_grammar     *grammar;       /* made from one of them by ds4_cli_form_open() */
    ds4_option_f32   temperature, top_p, min_p;
    ds4_option_u64   seed;
    ds4_option_texts stops;
    int              think;         /* a ds4_think_mode */
    int              speculate;     /* a ds4_speculate */
    bool             raw, stats, json, inspect, plan, dump_tokens;
    const char      *dump_logprobs; /* file to write, or NULL */
    const char      *trace_path, *dump_op;      /* see op_trace.h, op_dump.h; NULL: none */
} ds4_cli;

/* Options about the form of an answer, in the table of ds4. */
#define DS4_CLI_FORM_OPTIONS(c) \
    DS4_OPT_U32(0, "think-budget", "N", &c->think_budget, 1, 1048576, \
                "close the reasoning after N tokens [no limit]"), \
    DS4_OPT_TEXT(0, "json-schema", "FILE", &c->json_schema, \
                 "answer with JSON that fits this schema; docs/SCHEMAS.md\n" \
                 "lists what is enforced, anything else is refused"), \
    DS4_OPT_TEXT(0, "regex", "PATTERN", &c->regex, \
                 "answer with text of which all matches this pattern"), \
    DS4_OPT_U32(0, "loop-tokens", "N", &c->loop_tokens, 0, 1048576, \
                "repeated tokens that count as an endless loop, which\n" \
                "closes the reasoning or ends the answer; 0: never [512]")

/* All of these return an exit code after saying what went wrong. */
int ds4_cli_inspect(const ds4_cli *cli);
int ds4_cli_plan(const ds4_cli *cli);
int ds4_cli_dump_tokens(const ds4_cli *cli);
int ds4_cli_dump_logprobs(const ds4_cli *cli, ds4_model *model);
int ds4_cli_once(const ds4_cli *cli, ds4_model *model);
int ds4_cli_repl(const ds4_cli *cli, ds4_model *model);
int ds4_cli_kv(int argc, char **argv);          /* argv[0] is "kv" */

/* Make cli->grammar, which answers must fit; NULL when no option asks for a form. Returns an
 * exit code after saying what is wrong. */
int  ds4_cli_form_open(ds4_cli *cli);
void ds4_cli_form_close(ds4_cli *cli);

/* ---- shared by them -------------------------------------------------------------------- */

/* The prompt's text; a final newline of a file or of standard input is dropped unless
 * `exact`. Returns an exit code. */
int ds4_cli_prompt(const ds4_cli *cli, bool exact, ds4_str *out);

uint32_t ds4_cli_ctx(const ds4_cli *cli, const ds4_model *model);

/* The text after BOS as the user wrote it. When it begins with BOS itself it was rendered
 * by somebody who means its special tokens, and they are recognised. */
void ds4_cli_render_raw(const ds4_model *model, ds4_slice text, ds4_segments *out);

/* Read the options about guessing tokens. */
ds4_speculation_options ds4_cli_speculation(const ds4_cli *cli);

/* Read the options about an answer; the caller adds cancel, progress and piece.
 *
 *   stops   [DS4_OPTION_MAX_TEXTS] filled, and must live as long as *turn
 *   rng     seeded                                                                      */
void ds4_cli_turn(const ds4_cli *cli, const ds4_model *model, ds4_slice *stops, ds4_rng *rng,
                  ds4_turn *turn);
void ds4_cli_set_think(ds4_turn *turn, ds4_think_mode mode);

/* Say why an answer was ended, where that was none of the model's doing. */
void ds4_cli_say_end(const ds4_conversation *c);

/* The summary that --stats prints on standard error. */
void ds4_cli_print_stats(const ds4_conversation *c, const ds4_model *model);

#endif
