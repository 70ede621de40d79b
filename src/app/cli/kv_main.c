/* kv_main.c - ds4 kv: look after conversations that are kept on disk. */
#include "app/cli/kv.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} subcommands[] = {
    { "ls",     ds4_kv_ls,     "list the positions that can be resumed" },
    { "show",   ds4_kv_show,   "print the text of one" },
    { "verify", ds4_kv_verify, "read and check every file" },
    { "prune",  ds4_kv_prune,  "make the folder smaller" },
};

enum { N_SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

static void print_help(void)
{
    printf("Usage: ds4 kv COMMAND --kv-disk-dir DIR [options]\n\n"
           "Look after the conversations that a folder keeps. The commands are\n\n");
    for (int i = 0; i < N_SUBCOMMANDS; i++) {
        printf("  %-8s %s\n", subcommands[i].name, subcommands[i].about);
    }
    printf("\n'ds4 kv COMMAND --help' lists the options of a command. All of them may run while\n"
           "other programs use the folder.\n\n"
           "Exit codes: 0 done, 1 failed or files were bad, 2 wrong command line.\n");
}

int ds4_cli_kv(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";

    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        print_help();
        return DS4_EXIT_OK;
    }
    for (int i = 0; i < N_SUBCOMMANDS; i++) {
        if (strcmp(word, subcommands[i].name) == 0) return subcommands[i].run(argc - 1, argv + 1);
    }
    ds4_app_say(DS4_KV_NAME, *word ? "unknown command %s" : "no command is given", word);
    fprintf(stderr, "Try 'ds4 kv --help' for the commands.\n");
    return DS4_EXIT_WRONG;
}
