/* main.c - ds4-eval: how good is the model, and does it compute what it should. */
#include "app/eval/eval.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(const char *argv0, int argc, char **argv);
    const char *about;
} subcommands[] = {
    { "logits", ds4_eval_logits, "write the logits of every position of a token list" },
    { "diff",   ds4_eval_diff,   "compare two files of logits" },
    { "tokens", ds4_eval_tokens, "turn lines of JSON text into token ids" },
    { "ppl",    ds4_eval_ppl,    "perplexity of a text" },
    { "kld",    ds4_eval_kld,    "divergence from what a larger file predicts" },
    { "report", ds4_eval_report, "several model files beside each other, with pictures" },
    { "corpus", ds4_eval_corpus, "conversations as text for imatrix and kld" },
    { "imatrix", ds4_eval_imatrix, "importance of input channels, for ds4-quantize" },
    { "steer",  ds4_eval_steer,  "directions that tell two lists of prompts apart" },
    { "mini",   ds4_eval_mini,   "abilities of the bundled model, case by case" },
};

enum { N_SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

static void print_help(void)
{
    printf("Usage: ds4-eval COMMAND [options]\n\nMeasure a model. The commands are\n\n");
    for (int i = 0; i < N_SUBCOMMANDS; i++) {
        printf("  %-9s %s\n", subcommands[i].name, subcommands[i].about);
    }
    printf(
        "\n'ds4-eval COMMAND --help' lists the options of a command.\n\n"
        "Options:\n"
        "  -h, --help                print this and exit\n"
        "      --version             print the version and exit\n\n"
        "Exit codes: 0 done, 1 failed, 2 wrong command line or bad model file, 130 interrupted.\n");
}

static int wrong(const char *what, const char *word)
{
    ds4_app_say(DS4_EVAL_NAME, "%s%s%s", what, *word ? " " : "", word);
    fprintf(stderr, "Try 'ds4-eval --help' for the commands.\n");
    return DS4_EXIT_WRONG;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) return wrong("no command is given", "");
    const char *word = argv[1];
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        print_help();
        return DS4_EXIT_OK;
    }
    if (strcmp(word, "--version") == 0) {
        printf("%s " DS4_VERSION "\n", DS4_EVAL_NAME);
        return DS4_EXIT_OK;
    }
    for (int i = 0; i < N_SUBCOMMANDS; i++) {
        if (strcmp(word, subcommands[i].name) == 0) {
            return subcommands[i].run(argv[0], argc - 1, argv + 1);
        }
    }
    return wrong(word[0] == '-' ? "unknown option" : "unknown command", word);
}

int main(int argc, char **argv)
{
    ds4_app_begin(DS4_EVAL_NAME);
    const int code = dispatch(argc, argv);
    if (!ds4_app_flush(DS4_EVAL_NAME)) return DS4_EXIT_FAILURE;
    return code;
}
