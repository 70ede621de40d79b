/* options.c - see options.h. */
#include "app/common/options.h"

#include "ds4.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes the place of a word of argv, which outlives the parsing; never changed. */
static char spelled_system[] = "--system";

enum { MAX_OPTIONS = 64, HELP_VALUE = 1000, VERSION_VALUE, FIRST_VALUE };

bool ds4_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        const uint64_t digit = (uint64_t)(*text - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    if (value < min || value > max) return false;
    *out = value;
    return true;
}

static bool parse_f32(const char *text, double min, double max, float *out)
{
    char *end;

    if (!*text || text[strspn(text, "0123456789+-.eE")] != '\0') return false;
    const double value = strtod(text, &end);
    if (*end || !isfinite(value) || !(value >= min && value <= max)) return false;
    *out = (float)value;
    return true;
}

/* Bytes as "4096", "512M" or "1.5G" (powers of 1024), more than 0. */
static bool parse_size(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    char             *end;

    if (*text < '0' || *text > '9') return false;
    double      value = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (strspn(text, "0123456789.") != (size_t)(end - text) || (*end && (!unit || end[1]))) return false;
    if (unit) value = ldexp(value, 10 * (int)(unit - units + 1));
    if (!(value >= 1.0 && value < 0x1p60)) return false;
    *out = (uint64_t)value;
    return true;
}

static bool store_name(const ds4_option *o, const char *text)
{
    for (int i = 0; o->names[i]; i++) {
        if (strcmp(o->names[i], text) != 0) continue;
        *(int *)o->to = i;
        return true;
    }
    return false;
}

static bool takes_value(const ds4_option *o)
{
    return o->kind != DS4_OPTION_FLAG && o->kind != DS4_OPTION_CHOICE && o->kind != DS4_OPTION_SHOW;
}

/* Store one value. Returns false when it is not one that the option takes. */
static bool store(const ds4_option *o, const char *text)
{
    uint64_t number = 0;

    switch (o->kind) {
    case DS4_OPTION_FLAG:
        *(bool *)o->to = true;
        return true;
    case DS4_OPTION_CHOICE:
        *(int *)o->to = o->choice;
        return true;
    case DS4_OPTION_TEXT:
        *(const char **)o->to = text;
        return true;
    case DS4_OPTION_TEXTS: {
        ds4_option_texts *texts = o->to;
        if (!*text || texts->n == DS4_OPTION_MAX_TEXTS) return false;
        texts->item[texts->n++] = text;
        return true;
    }
    case DS4_OPTION_U32:
        if (!ds4_parse_u64(text, (uint64_t)o->min, (uint64_t)o->max, &number)) return false;
        *(uint32_t *)o->to = (uint32_t)number;
        return true;
    case DS4_OPTION_U64: {
        ds4_option_u64 *to = o->to;
        to->given = ds4_parse_u64(text, 0, UINT64_MAX, &to->value);
        return to->given;
    }
    case DS4_OPTION_F32: {
        ds4_option_f32 *to = o->to;
        to->given = parse_f32(text, o->min, o->max, &to->value);
        return to->given;
    }
    case DS4_OPTION_SIZE:
        return parse_size(text, o->to);
    case DS4_OPTION_NAME:
        return store_name(o, text);
    case DS4_OPTION_SHOW:
    case DS4_OPTION_END:
        break;
    }
    return false;
}

/* ---- help ------------------------------------------------------------------------------- */

enum { HELP_COLUMN = 28 };

static void help_line(char letter, const char *name, const char *arg, const char *help)
{
    char head[96], dash[8] = "    ";

    if (letter) snprintf(dash, sizeof dash, "-%c, ", letter);
    const int n =
        snprintf(head, sizeof head, "  %s--%s%s%s", dash, name, arg ? " " : "", arg ? arg : "");
    printf("%-*s", HELP_COLUMN, head);
    if (n >= HELP_COLUMN) printf("\n%*s", HELP_COLUMN, "");
    for (;;) {
        const size_t line = strcspn(help, "\n");
        printf("%.*s\n", (int)line, help);
        if (!help[line]) return;
        help += line + 1;
        printf("%*s", HELP_COLUMN, "");
    }
}

static void print_help(const ds4_command *cmd)
{
    printf("Usage: %s\n\n%s\n\nOptions:\n", cmd->usage, cmd->about);
    for (const ds4_option *o = cmd->options; o->kind != DS4_OPTION_END; o++) {
        help_line(o->letter, o->name, o->arg, o->help);
    }
    help_line('h', "help", NULL, "print this and exit");
    help_line(0, "version", NULL, "print the version and exit");
    if (cmd->after) printf("\n%s\n", cmd->after);
}

/* ---- parsing ---------------------------------------------------------------------------- */

/* A table of options in the two forms that getopt_long takes. */
typedef struct tables {
    struct option longs[MAX_OPTIONS + 3];
    char          shorts[2 * MAX_OPTIONS + 8];
    uint32_t      n;
} tables;

static void make_tables(const ds4_command *cmd, tables *t)
{
    char *s = t->shorts;

    *s++ = '+';                 /* stop at the first word that is no option */
    *s++ = ':';                 /* tell a missing value from an unknown option */
    for (t->n = 0; t->n < MAX_OPTIONS && cmd->options[t->n].kind != DS4_OPTION_END; t->n++) {
        const ds4_option *o = &cmd->options[t->n];
        const int         has = takes_value(o) ? required_argument : no_argument;
        t->longs[t->n] = (struct option){ o->name, has, NULL, FIRST_VALUE + (int)t->n };
        if (o->letter) *s++ = o->letter;
        if (o->letter && takes_value(o)) *s++ = ':';
    }
    t->longs[t->n] = (struct option){ "help", no_argument, NULL, HELP_VALUE };
    t->longs[t->n + 1] = (struct option){ "version", no_argument, NULL, VERSION_VALUE };
    t->longs[t->n + 2] = (struct option){ NULL, 0, NULL, 0 };
    *s++ = 'h';
    *s = '\0';
}

static ds4_parsed wrong(const ds4_command *cmd, const char *what, const char *option,
                        const char *value)
{
    const size_t n = strncmp(option, "--", 2) == 0 ? strcspn(option, "=") : strlen(option);

    fprintf(stderr, "%s: %s %.*s%s%s\n", cmd->name, what, (int)n, option, value ? ": " : "",
            value ? value : "");
    fprintf(stderr, "Try '%s --help' for the options.\n", cmd->name);
    return DS4_PARSED_WRONG;
}

static const ds4_option *by_letter(const ds4_command *cmd, int letter)
{
    for (const ds4_option *o = cmd->options; o->kind != DS4_OPTION_END; o++) {
        if (o->letter == letter) return o;
    }
    return NULL;
}

/* getopt_long takes unique beginnings of names too; a script that used one would break
 * when an option is added. */
static bool written_in_full(const char *word, const char *name)
{
    const size_t n = strlen(name);
    return strncmp(word, "--", 2) != 0 ||
           (strncmp(word + 2, name, n) == 0 && (word[2 + n] == '\0' || word[2 + n] == '='));
}

/* Refuse a word that getopt_long could not read: `word` as the user wrote it. */
static ds4_parsed explain(const ds4_command *cmd, const tables *t, int found, const char *word)
{
    const bool is_long = strncmp(word, "--", 2) == 0;
    char       shorter[3] = { '-', (char)optopt, '\0' };

    if (found == ':') {
        return wrong(cmd, "missing value for",
                     word == spelled_system ? "-sys"
                     : is_long         ? word
                                       : shorter,
                     NULL);
    }
    for (uint32_t i = 0; is_long && i < t->n + 2; i++) {
        if (strchr(word, '=') && written_in_full(word, t->longs[i].name)) {
            return wrong(cmd, "no value is taken by", word, NULL);
        }
    }
    return wrong(cmd, "unknown option", is_long ? word : shorter, NULL);
}

static ds4_parsed take(const ds4_command *cmd, const tables *t, int found, const char *word)
{
    char shorter[3] = { '-', (char)found, '\0' };

    if (found == '?' || found == ':') return explain(cmd, t, found, word);
    const bool  is_long = found >= HELP_VALUE;
    const char *name = found == HELP_VALUE ? "help" : found == VERSION_VALUE ? "version"
                     : is_long ? cmd->options[found - FIRST_VALUE].name : NULL;
    if (is_long && !written_in_full(word, name)) return wrong(cmd, "unknown option", word, NULL);
    if (found == 'h' || found == HELP_VALUE) {
        print_help(cmd);
        return DS4_PARSED_DONE;
    }
    if (found == VERSION_VALUE) {
        printf("%s " DS4_VERSION "\n", cmd->name);
        return DS4_PARSED_DONE;
    }
    const ds4_option *o = is_long ? &cmd->options[found - FIRST_VALUE] : by_letter(cmd, found);
    if (o && o->kind == DS4_OPTION_SHOW) {
        o->show();
        return DS4_PARSED_DONE;
    }
    if (!o || !store(o, optarg)) {
        return wrong(cmd, "invalid value for", is_long ? word : shorter, optarg ? optarg : "");
    }
    return DS4_PARSED_RUN;
}

/* The one option that people know with a single dash. */
static void spell_system(const ds4_command *cmd, int argc, char **argv)
{
    bool has = false;

    for (const ds4_option *o = cmd->options; o->kind != DS4_OPTION_END; o++) {
        has |= strcmp(o->name, "system") == 0;
    }
    for (int i = 1; has && i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) return;
        if (strcmp(argv[i], "-sys") == 0) argv[i] = spelled_system;
    }
}

ds4_parsed ds4_command_parse(const ds4_command *cmd, int argc, char **argv, const char **words,
                             uint32_t *n_words)
{
    tables   t;
    uint32_t n = 0;
    bool     options_over = false;

    make_tables(cmd, &t);
    spell_system(cmd, argc, argv);
    opterr = 0;
    optind = 1;
    while (optind < argc) {
        const char *word = argv[optind];
        const bool  is_option = !options_over && word[0] == '-' && word[1] != '\0';
        if (is_option && strcmp(word, "--") == 0) {
            options_over = true;
            optind++;
        } else if (is_option) {
            const int found = getopt_long(argc, argv, t.shorts, t.longs, NULL);
            const ds4_parsed parsed = take(cmd, &t, found, word);
            if (parsed != DS4_PARSED_RUN) return parsed;
        } else if (n == cmd->max_words) {
            return wrong(cmd, "unexpected argument", word, NULL);
        } else {
            words[n++] = word;
            optind++;
        }
    }
    if (n < cmd->min_words) {
        fprintf(stderr, "%s: too few arguments\nUsage: %s\n", cmd->name, cmd->usage);
        return DS4_PARSED_WRONG;
    }
    if (n_words) *n_words = n;
    return DS4_PARSED_RUN;
}
