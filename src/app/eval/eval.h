/* eval.h - the subcommands of ds4-eval. Each parses its own command line and returns an
 * exit code. argv[0] is the name of the program, argv[1] the subcommand. */
#ifndef DS4_APP_EVAL_EVAL_H
#define DS4_APP_EVAL_EVAL_H

#include "app/common/app.h"
#include "app/common/options.h"

#define DS4_EVAL_NAME "ds4-eval"

int ds4_eval_logits(const char *argv0, int argc, char **argv);
int ds4_eval_tokens(const char *argv0, int argc, char **argv);
int ds4_eval_ppl(const char *argv0, int argc, char **argv);
int ds4_eval_mini(const char *argv0, int argc, char **argv);
int ds4_eval_imatrix(const char *argv0, int argc, char **argv);
int ds4_eval_kld(const char *argv0, int argc, char **argv);
int ds4_eval_corpus(const char *argv0, int argc, char **argv);
int ds4_eval_report(const char *argv0, int argc, char **argv);
int ds4_eval_steer(const char *argv0, int argc, char **argv);
int ds4_eval_diff(const char *argv0, int argc, char **argv);

/* The exit code that goes with what the parser said; DS4_EXIT_OK is also that of "run". */
static inline int ds4_eval_parsed(ds4_parsed parsed)
{
    return parsed == DS4_PARSED_WRONG ? DS4_EXIT_WRONG : DS4_EXIT_OK;
}

#endif
