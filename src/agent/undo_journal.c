/* undo_journal.c - the journal of undo: lines of text, each with a checksum, synced before what they tell.
 *
 *   M 12 SUM                              a mark
 *   C STATE STATE NAME SUM                what a name was and what it becomes
 *   B SUM   E SUM                         a command begins, has ended
 *   R 12 SUM                              the files are those of a mark again; later marks are forgotten
 *
 * A STATE is kind:mode:hash, a NAME has %XX for everything but plain characters. */
#include "agent/undo_local.h"

#include "base/file_at.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUM_DIGITS = 16, MAX_JOURNAL_BYTES = 512 << 20 };
static const char hex_digits[] = "0123456789abcdef";

/* ---- texts ----------------------------------------------------------------------------- */

static int hex_value(char c)
{
    const char *at = c ? strchr(hex_digits, c) : NULL;
    return at ? (int)(at - hex_digits) : -1;
}

static void add_hex(ds4_str *out, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ds4_str_add_char(out, hex_digits[bytes[i] >> 4]);
        ds4_str_add_char(out, hex_digits[bytes[i] & 15]);
    }
}

void undo_state_write(ds4_str *out, const undo_state *s)
{
    ds4_str_addf(out, "%c:%o:", s->kind, s->mode);
    if (s->kind == 'f' || s->kind == 'l') add_hex(out, s->hash, sizeof s->hash);
}

const char *undo_state_read(const char *at, undo_state *s)
{
    char         *end = NULL;
    unsigned long mode;

    memset(s, 0, sizeof *s);
    if (!*at || !strchr("-flxd", *at) || at[1] != ':' || !isdigit((unsigned char)at[2])) return NULL;
    s->kind = *at;
    mode = strtoul(at + 2, &end, 8);
    if (*end != ':' || mode > 07777) return NULL;
    s->mode = (unsigned)mode;
    at = end + 1;
    if (s->kind != 'f' && s->kind != 'l') return at;
    for (int i = 0; i < DS4_SHA256_BYTES; i++, at += 2) {
        const int high = hex_value(at[0]), low = high < 0 ? -1 : hex_value(at[1]);
        if (low < 0) return NULL;
        s->hash[i] = (uint8_t)(high * 16 + low);
    }
    return at;
}

void undo_name_write(ds4_str *out, const char *name)
{
    for (; *name; name++) {
        const unsigned char c = (unsigned char)*name;
        if (c > ' ' && c < 127 && c != '%') {
            ds4_str_add_char(out, (char)c);
        } else {
            ds4_str_addf(out, "%%%c%c", hex_digits[c >> 4], hex_digits[c & 15]);
        }
    }
}

char *undo_name_read(const char *at, size_t n_bytes)
{
    char  *name = malloc(n_bytes + 1);
    size_t n = 0;

    for (size_t i = 0; name && i < n_bytes; i++) {
        int c = (unsigned char)at[i];
        if (c == '%') {
            const int high = i + 2 < n_bytes ? hex_value(at[i + 1]) : -1;
            c = high < 0 || hex_value(at[i + 2]) < 0 ? 0 : high * 16 + hex_value(at[i + 2]);
            i += 2;
        }
        if (c == 0) {
            free(name);
            return NULL;
        }
        name[n++] = (char)c;
    }
    if (name) name[n] = '\0';
    /* A name that leads elsewhere is not one that was written. */
    if (name && (n == 0 || n >= DS4_ROOT_NAME_BYTES || name[0] == '/')) {
        free(name);
        return NULL;
    }
    return name;
}

/* ---- lines ------------------------------------------------------------------------------- */

static void line_sum(const char *line, size_t n, char sum[SUM_DIGITS + 1])
{
    uint8_t hash[DS4_SHA256_BYTES];

    ds4_sha256(line, n, hash);
    for (int i = 0; i < SUM_DIGITS / 2; i++) {
        sum[2 * i] = hex_digits[hash[i] >> 4];
        sum[2 * i + 1] = hex_digits[hash[i] & 15];
    }
    sum[SUM_DIGITS] = '\0';
}

static void end_line(ds4_str *lines, size_t from)
{
    char sum[SUM_DIGITS + 1];

    if (lines->failed) return;
    ds4_str_add_char(lines, ' ');
    line_sum(lines->data + from, lines->n_bytes - from, sum);
    ds4_str_addf(lines, "%s\n", sum);
}

static void line_number(ds4_str *lines, char what, uint64_t mark)
{
    const size_t from = lines->n_bytes;
    ds4_str_addf(lines, "%c %llu", what, (unsigned long long)mark);
    end_line(lines, from);
}

void undo_line_mark(ds4_str *lines, uint64_t mark) { line_number(lines, 'M', mark); }
void undo_line_back(ds4_str *lines, uint64_t mark) { line_number(lines, 'R', mark); }

void undo_line_command(ds4_str *lines, bool begins)
{
    const size_t from = lines->n_bytes;
    ds4_str_add_char(lines, begins ? 'B' : 'E');
    end_line(lines, from);
}

void undo_line_change(ds4_str *lines, const char *name, const undo_state *was, const undo_state *now)
{
    const size_t from = lines->n_bytes;
    ds4_str_add_text(lines, "C ");
    undo_state_write(lines, was);
    ds4_str_add_char(lines, ' ');
    undo_state_write(lines, now);
    ds4_str_add_char(lines, ' ');
    undo_name_write(lines, name);
    end_line(lines, from);
}

ds4_status undo_journal_add(ds4_undo *u, const ds4_str *lines, ds4_err *err)
{
    if (lines->failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for the journal of changes");
    if (ds4_write_at(u->journal, lines->data, lines->n_bytes, u->journal_bytes) && fsync(u->journal) == 0) {
        u->journal_bytes += lines->n_bytes;
        return DS4_OK;
    }
    const int e = errno;
    (void)!ftruncate(u->journal, (off_t)u->journal_bytes);
    return ds4_fail(err, DS4_E_IO, "the journal of changes cannot be written: %s", strerror(e));
}

/* ---- reading ---------------------------------------------------------------------------------- */

/* Take in one line without its checksum. False when it is none of ours. */
static bool take_line(ds4_undo *u, char *line)
{
    undo_state  was, now;
    char       *end = NULL;

    switch (line[0]) {
    case 'B':
    case 'E':
        u->in_command = line[0] == 'B';
        return line[1] == '\0';
    case 'M':
    case 'R': {
        if (line[1] != ' ' || !isdigit((unsigned char)line[2])) return false;
        const uint64_t mark = strtoull(line + 2, &end, 10);
        if (*end || mark >= UINT64_MAX - 1) return false;
        if (line[0] == 'M') return undo_remember_mark(u, mark);
        undo_forget_marks(u, mark);
        return true;
    }
    case 'C': {
        const char *at = line[1] == ' ' ? undo_state_read(line + 2, &was) : NULL;
        at = at && *at == ' ' ? undo_state_read(at + 1, &now) : NULL;
        if (!at || *at != ' ') return false;
        char *name = undo_name_read(at + 1, strlen(at + 1));
        const bool ok = name && undo_remember(u, name, &was, &now);
        free(name);
        return ok;
    }
    default:
        return false;
    }
}

static bool check_line(ds4_undo *u, char *line, size_t n)
{
    char sum[SUM_DIGITS + 1];

    if (n < SUM_DIGITS + 2 || memchr(line, '\0', n)) return false;
    line_sum(line, n - SUM_DIGITS, sum);
    if (memcmp(sum, line + n - SUM_DIGITS, SUM_DIGITS) != 0) return false;
    line[n - SUM_DIGITS - 1] = '\0';        /* the space before the sum */
    return take_line(u, line);
}

ds4_status undo_journal_read(ds4_undo *u, ds4_err *err)
{
    const off_t size = lseek(u->journal, 0, SEEK_END);

    if (size < 0) return ds4_fail(err, DS4_E_IO, "the journal of changes: %s", strerror(errno));
    if (size > MAX_JOURNAL_BYTES)
        return ds4_fail(err, DS4_E_LIMIT, "the journal of changes has %lld bytes", (long long)size);
    char *all = malloc((size_t)size + 1);
    if (!all) return ds4_fail(err, DS4_E_NOMEM, "no memory for the journal of changes");
    const size_t done = ds4_read_at(u->journal, all, (size_t)size, 0);
    size_t       at = 0;
    for (;;) {
        char *end = at < done ? memchr(all + at, '\n', done - at) : NULL;
        if (!end) break;                    /* a last line that was not finished never happened */
        const size_t n = (size_t)(end - (all + at));
        if (!check_line(u, all + at, n)) u->n_damaged++;
        at += n + 1;
    }
    free(all);
    u->journal_bytes = at;
    if (at < (size_t)size && ftruncate(u->journal, (off_t)at) != 0)
        return ds4_fail(err, DS4_E_IO, "the journal of changes: %s", strerror(errno));
    return DS4_OK;
}
