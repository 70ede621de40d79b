/* ui_code.c - see ui_code.h. Words, strings, numbers and comments are told by a handful of rules that hold
 * for a family of languages; a wrong guess costs a colour and nothing else. */
#include "app/agent/ui_code.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { INSIDE_COMMENT = 1, INSIDE_QUOTES = 2, INSIDE_APOSTROPHES = 3, INSIDE_BACKTICKS = 4 };

/* Sorted; words of many languages, because in another one they are seldom names. */
static const char *const keywords[] = {
    "and",      "as",        "async",     "await",   "begin",    "bool",       "boolean", "break",
    "case",     "catch",     "char",      "class",   "const",    "continue",   "def",     "default",
    "defer",    "del",       "do",        "done",    "double",   "elif",       "else",    "end",
    "enum",     "esac",      "except",    "export",  "extends",  "extern",     "false",   "fi",
    "final",    "finally",   "float",     "fn",      "for",      "from",       "func",    "function",
    "global",   "go",        "goto",      "if",      "impl",     "implements", "import",  "in",
    "inline",   "int",       "interface", "is",      "lambda",   "let",        "local",   "long",
    "loop",     "match",     "mod",       "module",  "mut",      "namespace",  "new",     "nil",
    "none",     "not",       "null",      "nullptr", "or",       "override",   "package", "pass",
    "private",  "protected", "pub",       "public",  "raise",    "return",     "select",  "self",
    "short",    "signed",    "sizeof",    "static",  "string",   "struct",     "super",   "switch",
    "template", "then",      "this",      "throw",   "trait",    "true",       "try",     "type",
    "typedef",  "typeof",    "union",     "unsafe",  "unsigned", "use",        "using",   "var",
    "virtual",  "void",      "volatile",  "where",   "while",    "with",       "yield",
};

static int compare(const void *word, const void *entry)
{
    return strcmp(word, *(const char *const *)entry);
}

static bool is_keyword(const char *text, size_t n)
{
    char word[16];

    if (n >= sizeof word) return false;
    for (size_t i = 0; i < n; i++) word[i] = (char)tolower((unsigned char)text[i]);
    word[n] = '\0';
    return bsearch(word, keywords, sizeof keywords / sizeof *keywords, sizeof *keywords, compare) != NULL;
}

ui_code_family ui_code_of(ds4_slice name)
{
    static const struct { const char *names; ui_code_family family;
    } known[] = {
        { " c h cc cpp c++ cxx hpp cs csharp java js javascript jsx ts typescript tsx mjs go rust rs swift "
          "kotlin kt "
          "php scala dart json json5 jsonc zig css scss proto cuda cu metal objc ",
          UI_CODE_C },
        { " py python py3 sh bash zsh fish shell console rb ruby yaml yml toml make makefile mk perl pl r jl "
          "julia "
          "dockerfile cmake conf ini awk elixir ex nix tcl ",
          UI_CODE_HASH },
        { " sql lua hs haskell ada vhdl elm ", UI_CODE_DASH },
        { " diff patch ", UI_CODE_DIFF },
    };
    char word[24];

    if (name.n_bytes == 0 || name.n_bytes + 3 > sizeof word) return UI_CODE_NONE;
    word[0] = ' ';
    for (size_t i = 0; i < name.n_bytes; i++) word[i + 1] = (char)tolower((unsigned char)name.data[i]);
    memcpy(word + 1 + name.n_bytes, " ", 2);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strstr(known[i].names, word)) return known[i].family;
    }
    return UI_CODE_NONE;
}

/* ---- one line --------------------------------------------------------------------------------------- */

typedef struct line {
    const ui_look *look;
    const char    *text;
    size_t         n, at;
    ds4_str       *out;
} line;

static void give(line *l, ui_style style, size_t end)
{
    ui_styled(l->look, style, (ds4_slice){ l->text + l->at, end - l->at }, l->out);
    l->at = end;
}

static bool looking_at(const line *l, const char *text)
{
    const size_t n = strlen(text);
    return l->n - l->at >= n && memcmp(l->text + l->at, text, n) == 0;
}

/* To behind `close`, or to the end of the line. Returns whether it was found. */
static bool through(line *l, size_t from, const char *close, ui_style style)
{
    const size_t n_close = strlen(close);
    size_t       end = from;

    while (end + n_close <= l->n && memcmp(l->text + end, close, n_close) != 0)
        end += l->text[end] == '\\' ? 2 : 1;
    const bool found = end + n_close <= l->n;
    give(l, style, found ? end + n_close : l->n);
    return found;
}

static void end_inside(line *l, int *inside)
{
    static const char *const close[] = { "", "*/", "\"\"\"", "'''", "`" };

    if (through(l, l->at, close[*inside], *inside == INSIDE_COMMENT ? UI_COMMENT : UI_STRING)) *inside = 0;
}

/* A comment or a string that begins here. */
static bool begins(line *l, ui_code_family family, int *inside)
{
    const bool hash_alone = l->at == 0 || strchr(" \t;", l->text[l->at - 1]);

    if (family == UI_CODE_C && looking_at(l, "/*")) {
        *inside = through(l, l->at + 2, "*/", UI_COMMENT) ? 0 : INSIDE_COMMENT;
    } else if ((family == UI_CODE_C && looking_at(l, "//")) ||
               (family == UI_CODE_DASH && looking_at(l, "--")) ||
               (family == UI_CODE_HASH && looking_at(l, "#") && hash_alone)) {
        give(l, UI_COMMENT, l->n);
    } else if (family == UI_CODE_HASH && looking_at(l, "\"\"\"")) {
        *inside = through(l, l->at + 3, "\"\"\"", UI_STRING) ? 0 : INSIDE_QUOTES;
    } else if (family == UI_CODE_HASH && looking_at(l, "'''")) {
        *inside = through(l, l->at + 3, "'''", UI_STRING) ? 0 : INSIDE_APOSTROPHES;
    } else if (looking_at(l, "\"")) {
        through(l, l->at + 1, "\"", UI_STRING);
    } else if (looking_at(l, "'") && (l->at == 0 || !isalnum((unsigned char)l->text[l->at - 1]))) {
        /* Rust's lifetimes are no strings. */
        const bool whole = memchr(l->text + l->at + 1, '\'', l->n - l->at - 1) != NULL;
        if (whole) through(l, l->at + 1, "'", UI_STRING);
        else give(l, UI_PLAIN, l->at + 1);
    } else if (family == UI_CODE_C && looking_at(l, "`")) {
        *inside = through(l, l->at + 1, "`", UI_STRING) ? 0 : INSIDE_BACKTICKS;
    } else {
        return false;
    }
    return true;
}

static void word_or_sign(line *l)
{
    const char *text = l->text;
    size_t      end = l->at;

    if (isdigit((unsigned char)text[end])) {
        while (end < l->n && (isalnum((unsigned char)text[end]) || text[end] == '.' || text[end] == '_'))
            end++;
        give(l, UI_NUMBER, end);
    } else if (isalpha((unsigned char)text[end]) || text[end] == '_' || (text[end] & 0x80)) {
        while (end < l->n && (isalnum((unsigned char)text[end]) || text[end] == '_' || (text[end] & 0x80)))
            end++;
        give(l, is_keyword(text + l->at, end - l->at) ? UI_KEYWORD : UI_PLAIN, end);
    } else {
        while (end < l->n && !isalnum((unsigned char)text[end]) && !strchr("_\"'`#/-", text[end]) &&
               !(text[end] & 0x80)) end++;
        give(l, UI_PLAIN, end > l->at ? end : l->at + 1);
    }
}

static ui_style diff_style(ds4_slice text)
{
    if (text.n_bytes == 0) return UI_PLAIN;
    if (text.n_bytes > 2 && (memcmp(text.data, "+++", 3) == 0 || memcmp(text.data, "---", 3) == 0))
        return UI_BOLD;
    return text.data[0] == '+' ? UI_ADDED : text.data[0] == '-' ? UI_REMOVED : text.data[0] == '@' ? UI_PLACE
                                                                                                   : UI_PLAIN;
}

void ui_code_line(const ui_look *look, ui_code_family family, ds4_slice text, int *inside, ds4_str *out)
{
    line l = { .look = look, .text = text.data, .n = text.n_bytes, .out = out };

    if (family == UI_CODE_DIFF || family == UI_CODE_NONE) {
        ui_styled(look, family == UI_CODE_NONE ? UI_PLAIN : diff_style(text), text, out);
        return;
    }
    while (l.at < l.n) {
        if (*inside) end_inside(&l, inside);
        else if (!begins(&l, family, inside)) word_or_sign(&l);
    }
}
