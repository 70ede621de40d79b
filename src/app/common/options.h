/* options.h - command lines from one table: parsing with strict values, and the help text.
 *
 * A wrong command line gives one line on standard error, as
 *     ds4: unknown option --foo
 *     ds4: missing value for -n
 *     ds4: invalid value for --temp: abc
 * and exit code 2. */
#ifndef DS4_APP_OPTIONS_H
#define DS4_APP_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum ds4_option_kind {
    DS4_OPTION_END,             /* the last entry of a table */
    DS4_OPTION_FLAG,            /* bool *to becomes true */
    DS4_OPTION_CHOICE,          /* int *to becomes `choice`; the last one given holds */
    DS4_OPTION_TEXT,            /* const char **to */
    DS4_OPTION_TEXTS,           /* ds4_option_texts *to grows with each one given; "" is refused */
    DS4_OPTION_U32,             /* uint32_t *to, decimal digits only, min..max */
    DS4_OPTION_U64,             /* ds4_option_u64 *to, decimal digits only */
    DS4_OPTION_F32,             /* ds4_option_f32 *to, decimal and finite, min..max */
    DS4_OPTION_SIZE,            /* uint64_t *to, bytes: a number, or one with K, M, G or T (powers of 1024) */
    DS4_OPTION_NAME,            /* int *to becomes the place of the value in `names` */
    DS4_OPTION_SHOW,            /* show() prints something, and the program ends */
} ds4_option_kind;

enum { DS4_OPTION_MAX_TEXTS = 64 };

typedef struct ds4_option_texts {
    const char *item[DS4_OPTION_MAX_TEXTS];
    uint32_t    n;
} ds4_option_texts;

typedef struct ds4_option_u64 {
    bool     given;
    uint64_t value;
} ds4_option_u64;

typedef struct ds4_option_f32 {
    bool  given;
    float value;
} ds4_option_f32;

typedef struct ds4_option {
    ds4_option_kind kind;
    char            letter;     /* 0: none */
    const char     *name;       /* without dashes */
    const char     *arg;        /* what the help calls the value, e.g. "FILE"; NULL without one */
    const char     *help;       /* lines parted by \n */
    void           *to;
    int             choice;
    double          min, max;
    const char *const *names;   /* ended by NULL */
    void          (*show)(void);
} ds4_option;

/* Entries of a table; `letter` is 0 for none. */
#define DS4_OPT(kind_, letter_, name_, arg_, to_, help_) \
    .kind = (kind_), .letter = (letter_), .name = (name_), .arg = (arg_), .to = (to_), .help = (help_)
#define DS4_OPT_FLAG(letter, name, to, help) \
    { DS4_OPT(DS4_OPTION_FLAG, letter, name, NULL, to, help) }
#define DS4_OPT_CHOICE(name, to, value, help) \
    { DS4_OPT(DS4_OPTION_CHOICE, 0, name, NULL, to, help), .choice = (value) }
#define DS4_OPT_TEXT(letter, name, arg, to, help) \
    { DS4_OPT(DS4_OPTION_TEXT, letter, name, arg, to, help) }
#define DS4_OPT_TEXTS(letter, name, arg, to, help) \
    { DS4_OPT(DS4_OPTION_TEXTS, letter, name, arg, to, help) }
#define DS4_OPT_U64(letter, name, arg, to, help) \
    { DS4_OPT(DS4_OPTION_U64, letter, name, arg, to, help) }
#define DS4_OPT_U32(letter, name, arg, to, least, most, help) \
    { DS4_OPT(DS4_OPTION_U32, letter, name, arg, to, help), .min = (least), .max = (most) }
#define DS4_OPT_F32(letter, name, arg, to, least, most, help) \
    { DS4_OPT(DS4_OPTION_F32, letter, name, arg, to, help), .min = (least), .max = (most) }

#define DS4_OPT_SIZE(letter, name, arg, to, help) \
    { DS4_OPT(DS4_OPTION_SIZE, letter, name, arg, to, help) }
#define DS4_OPT_NAME(name, arg, to, names_, help) \
    { DS4_OPT(DS4_OPTION_NAME, 0, name, arg, to, help), .names = (names_) }
#define DS4_OPT_SHOW(name, show_, help) \
    { DS4_OPT(DS4_OPTION_SHOW, 0, name, NULL, NULL, help), .show = (show_) }

/* A program or one of its subcommands. */
typedef struct ds4_command {
    const char       *name;     /* "ds4", "ds4-eval": begins every message */
    const char       *usage;    /* "ds4 [options]" */
    const char       *about;    /* what it does; lines parted by \n */
    const ds4_option *options;  /* up to DS4_OPTION_END; --help and --version are added */
    const char       *after;    /* end of the help; NULL: nothing */
    uint32_t          min_words, max_words;     /* arguments that are no options */
} ds4_command;

typedef enum ds4_parsed {
    DS4_PARSED_RUN,             /* go on */
    DS4_PARSED_DONE,            /* help, version or the like was printed: exit 0 */
    DS4_PARSED_WRONG,           /* said so on standard error: exit 2 */
} ds4_parsed;

/* Parse argv[1..argc). Names must be written in full; "-sys" stands for "--system" where a
 * table has that.
 *
 *   argv    may be reordered in place of "-sys" only
 *   words   [max_words] receives the arguments that are no options; NULL with max_words 0
 *   n_words receives their number; may be NULL with max_words 0                       */
ds4_parsed ds4_command_parse(const ds4_command *cmd, int argc, char **argv, const char **words,
                             uint32_t *n_words);

/* A whole decimal number, digits only. Returns false for anything else. */
bool ds4_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif
