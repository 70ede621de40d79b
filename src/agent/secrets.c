/* secrets.c - see secrets.h. */
#include "agent/secrets.h"

#include "agent/walk.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MOST_VALUES = 512, MOST_VALUE_BYTES = 8192, LEAST_VALUE_BYTES = 8, MOST_FILE_BYTES = 256 << 10 };

typedef struct secret {
    char *name, *value;
    size_t n_bytes;
} secret;

struct ds4_secrets {
    secret secret[MOST_VALUES];
    size_t n;
};

ds4_secrets *ds4_secrets_create(void)
{
    return calloc(1, sizeof(ds4_secrets));
}

void ds4_secrets_free(ds4_secrets *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) {
        free(s->secret[i].name);
        free(s->secret[i].value);
    }
    free(s);
}

/* ---- names of files ------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);
    return n >= k && strcasecmp(text + n - k, end) == 0;
}

bool ds4_secret_name(const char *name)
{
    static const char *const whole[] = {
        ".env", ".envrc", ".netrc", "_netrc", ".npmrc", ".pypirc", ".git-credentials", ".htpasswd", ".pgpass",
        ".my.cnf", "credentials", "credentials.json", "credentials.toml", "credentials.yml", "secrets.json",
        "secrets.yml", "secrets.yaml", "secrets.toml", "secret.yml", "secret.yaml", "secret.json",
        "service-account.json", "master.key", "terraform.tfvars", ".dockercfg", ".vault-token",
    };
    static const char *const ends[] = { ".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk",
                                        ".tfvars" };
    static const char *const harmless[] = { ".example", ".sample", ".template", ".dist", ".defaults",
                                            ".schema" };
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;

    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
        if (ends_with(base, harmless[i])) return false;
    }
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        if (strcasecmp(base, whole[i]) == 0) return true;
    }
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (ends_with(base, ends[i])) return true;
    }
    if (strncasecmp(base, ".env.", 5) == 0 || ends_with(base, ".env")) return true;
    return strncmp(base, "id_", 3) == 0 && !ends_with(base, ".pub") &&
           (strcmp(base + 3, "rsa") == 0 || strcmp(base + 3, "dsa") == 0 ||
            strncmp(base + 3, "ecdsa", 5) == 0 ||
            strncmp(base + 3, "ed25519", 7) == 0);
}

/* ---- values ----------------------------------------------------------------------------------- */

static bool has_word(const char *name, size_t n, const char *word)
{
    const size_t k = strlen(word);
    for (size_t i = 0; i + k <= n; i++) {
        if (strncasecmp(name + i, word, k) == 0) return true;
    }
    return false;
}

/* Would hiding this value everywhere hide a key, and not "development"? */
static bool looks_secret(const char *name, size_t n_name, const char *value, size_t n)
{
    static const char *const words[] = { "key", "token", "secret", "pass", "pwd", "cred", "auth", "private",
                                         "salt", "dsn" };
    bool digit = false, letter = false, space = false;

    if (n < LEAST_VALUE_BYTES || n > MOST_VALUE_BYTES) return false;
    for (size_t i = 0; i < n; i++) {
        digit |= isdigit((unsigned char)value[i]) != 0;
        letter |= isalpha((unsigned char)value[i]) != 0;
        space |= isspace((unsigned char)value[i]) != 0;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (has_word(name, n_name, words[i])) return true;
    }
    return (memchr(value, '@', n) && memchr(value, ':', n)) || (n >= 16 && digit && letter && !space);
}

static void remember(ds4_secrets *s, const char *name, size_t n_name, const char *value, size_t n)
{
    if (!s || s->n == MOST_VALUES || !looks_secret(name, n_name, value, n)) return;
    for (size_t i = 0; i < s->n; i++) {
        if (s->secret[i].n_bytes == n && memcmp(s->secret[i].value, value, n) == 0) return;
    }
    secret new = { strndup(name, n_name), malloc(n), n };
    if (!new.name || !new.value) {
        free(new.name);
        free(new.value);
        return;
    }
    memcpy(new.value, value, n);
    s->secret[s->n++] = new;
}

size_t ds4_secrets_hide(const ds4_secrets *s, ds4_str *text)
{
    size_t n_hidden = 0;

    for (size_t i = 0; i < s->n && text->n_bytes > 0; i++) {
        const secret *x = &s->secret[i];
        ds4_str       out = { 0 };
        const char   *at = text->data, *end = text->data + text->n_bytes, *hit;
        while ((hit = memmem(at, (size_t)(end - at), x->value, x->n_bytes)) != NULL) {
            ds4_str_add(&out, at, (size_t)(hit - at));
            ds4_str_addf(&out, "<masked %s>", x->name);
            at = hit + x->n_bytes;
            n_hidden++;
        }
        if (out.n_bytes > 0) {
            ds4_str_add(&out, at, (size_t)(end - at));
            ds4_str_clear(text);
            *text = out;
        }
    }
    return n_hidden;
}

/* ---- lines ---------------------------------------------------------------------------------------- */

typedef struct masking {
    ds4_secrets *s;
    ds4_str     *out;
    bool         in_block;          /* between BEGIN and END of a key */
    char         quote;             /* of a value that goes on in the next lines, or 0 */
    bool         keys_only;         /* the whole file is a key */
} masking;

static void mask(masking *m, size_t n)
{
    if (n > 0) ds4_str_addf(m->out, "<masked, %zu characters>", n);
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

/* The end of the name that a line begins with ("export KEY", "\"key\"", "- key"), up to and with its sign;
 * 0 when the line has none. *name and *n_name receive the bare name. */
static size_t name_end(const char *line, size_t n, const char **name, size_t *n_name)
{
    size_t i = 0;

    while (i < n && (line[i] == ' ' || line[i] == '\t' || line[i] == '{' || line[i] == ',')) i++;
    if (n - i > 2 && line[i] == '-' && line[i + 1] == ' ') i += 2;
    if (n - i > 7 && strncmp(line + i, "export ", 7) == 0) i += 7;
    const char quote = i < n && (line[i] == '"' || line[i] == '\'') ? line[i] : 0;
    i += quote != 0;
    const size_t first = i;
    if (i >= n || isdigit((unsigned char)line[i])) return 0;
    /* npm writes "//registry/:_authToken=". */
    while (i < n && (is_name_char(line[i]) || (line[first] == '/' && line[i] != '='))) i++;
    *name = line + first;
    *n_name = i - first;
    if (quote && (i >= n || line[i++] != quote)) return 0;
    while (i < n && (line[i] == ' ' || line[i] == '\t')) i++;
    if (*n_name == 0 || i >= n || (line[i] != '=' && line[i] != ':')) return 0;
    return i + 1;
}

/* The value of a line that has a name. */
static void mask_value(masking *m, const char *name, size_t n_name, const char *value, size_t n)
{
    size_t i = 0;

    while (i < n && (value[i] == ' ' || value[i] == '\t')) i++;
    ds4_str_add(m->out, value, i);
    value += i;
    n -= i;
    const char quote = n > 0 && (value[0] == '"' || value[0] == '\'' || value[0] == '`') ? value[0] : 0;
    if (!quote) {
        /* The opening of a table or a block holds nothing yet. */
        if (n == 1 && strchr("{[|>", value[0])) {
            ds4_str_add(m->out, value, n);
            return;
        }
        remember(m->s, name, n_name, value, n);
        mask(m, n);
        return;
    }
    size_t end = 1;
    while (end < n && value[end] != quote) end += value[end] == '\\' ? 2 : 1;
    if (end >= n) {
        m->quote = quote;
        end = n;
    }
    remember(m->s, name, n_name, value + 1, end - 1);
    ds4_str_add_char(m->out, quote);
    mask(m, end - 1);
    if (end >= n) return;
    ds4_str_add_char(m->out, quote);
    /* A comma stays; what else follows may be more of the value. */
    const char *rest = value + end + 1;
    const size_t n_rest = n - end - 1;
    const size_t plain = n_rest <= 2 && strspn(rest, ",} \t;") >= n_rest ? n_rest : 0;
    ds4_str_add(m->out, rest, plain);
    mask(m, n_rest - plain);
}

static void mask_line(masking *m, const char *line, size_t n)
{
    const char *name = NULL;
    size_t      n_name = 0;
    const size_t blank = strspn(line, " \t{}[],") < n ? 0 : n;

    if (m->quote) {
        if (memchr(line, m->quote, n)) m->quote = 0;
        mask(m, n);
        return;
    }
    if (n > 10 && strncmp(line, "-----BEGIN ", 11) == 0) {
        m->in_block = true;
        ds4_str_add(m->out, line, n);
    } else if (n > 8 && strncmp(line, "-----END ", 9) == 0) {
        m->in_block = false;
        ds4_str_add(m->out, line, n);
    } else if (m->in_block || m->keys_only) {
        mask(m, n);
    } else if (blank == n || line[strspn(line, " \t")] == '#' || (line[0] == '[' && memchr(line, ']', n))) {
        /* A comment may be a value that was switched off. */
        const size_t sign = line[strspn(line, " \t")] == '#' ? strspn(line, " \t#") : n;
        const size_t end = sign < n ? name_end(line + sign, n - sign, &name, &n_name) : 0;
        if (end > 0 && line[sign + end - 1] == '=') {
            ds4_str_add(m->out, line, sign + end);
            mask_value(m, name, n_name, line + sign + end, n - sign - end);
        } else {
            ds4_str_add(m->out, line, n);
        }
    } else {
        const size_t end = name_end(line, n, &name, &n_name);
        ds4_str_add(m->out, line, end);
        if (end > 0) mask_value(m, name, n_name, line + end, n - end);
        else         mask(m, n);
    }
}

void ds4_secrets_mask(ds4_secrets *s, const char *name, ds4_slice text, ds4_str *out)
{
    masking m = { .s = s, .out = out };
    ds4_str copy = { 0 };

    /* Lines end in zero bytes here, so that no search leaves them. */
    m.keys_only = ends_with(name, ".key") || ends_with(name, ".pem") || ends_with(name, ".p12") ||
                  ends_with(name, ".pfx") || ends_with(name, ".jks") || ends_with(name, ".ppk") ||
                  strstr(name, "id_") != NULL;
    for (size_t at = 0; at < text.n_bytes; ) {
        const char  *end = memchr(text.data + at, '\n', text.n_bytes - at);
        size_t       n = end ? (size_t)(end - text.data) - at : text.n_bytes - at;
        const size_t next = at + n + (end ? 1 : 0);
        if (n > 0 && text.data[at + n - 1] == '\r') n--;
        ds4_str_truncate(&copy, 0);
        ds4_str_add(&copy, text.data + at, n);
        mask_line(&m, ds4_str_text(&copy), copy.n_bytes);
        ds4_str_add(out, text.data + at + n, next - at - n);
        at = next;
    }
    if (copy.failed) out->failed = true;
    ds4_str_clear(&copy);
}

/* ---- looking for them --------------------------------------------------------------------------------- */

typedef struct search {
    ds4_secrets    *s;
    const ds4_root *root;
} search;

static ds4_walk_next see(void *ctx, const ds4_walk_entry *e)
{
    search *x = ctx;
    ds4_str text = { 0 }, masked = { 0 };

    if (S_ISDIR(e->st->st_mode)) return strcmp(e->last, "node_modules") == 0 ? DS4_WALK_SKIP : DS4_WALK_ON;
    if (!S_ISREG(e->st->st_mode) || !ds4_secret_name(e->name)) return DS4_WALK_ON;
    if (ds4_root_read(x->root, e->name, MOST_FILE_BYTES, &text, NULL, NULL) == DS4_OK)
        ds4_secrets_mask(x->s, e->name, (ds4_slice){ ds4_str_text(&text), text.n_bytes }, &masked);
    ds4_str_clear(&text);
    ds4_str_clear(&masked);
    return DS4_WALK_ON;
}

void ds4_secrets_learn(ds4_secrets *s, const ds4_root *root)
{
    search                 x = { s, root };
    ds4_walk_end           end;
    const ds4_walk_options opt = { .all = true, .max_entries = 50000, .see = see, .ctx = &x };

    (void)!ds4_walk(root, ".", &opt, &end, NULL);
}
