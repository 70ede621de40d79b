/* undo_fuzz.c - any bytes as the journal of undo and as its list of the tree: it opens, and what it restores
 * stays in the root.
 *
 * Up to a line with "=" the bytes are the journal, whose lines get the checksums that they need; the rest is
 * the list. */
#include "agent/undo.h"

#include "base/sha256.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static char folder[512];

static void require(bool holds)
{
    if (!holds) abort();
}

static void put(const char *name, const char *data, size_t n_bytes)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *fp = fopen(path, "wb");
    require(fp && fwrite(data, 1, n_bytes, fp) == n_bytes && fclose(fp) == 0);
}

static ds4_root *open_root(void)
{
    char        path[600];
    ds4_root   *root = NULL;
    const char *top = getenv("TMPDIR");

    snprintf(folder, sizeof folder, "%s/ds4-fuzz-XXXXXX", top ? top : P_tmpdir);
    require(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/root", folder);
    require(mkdir(path, 0700) == 0 && ds4_root_open(&root, path, NULL) == DS4_OK);
    snprintf(path, sizeof path, "%s/undo", folder);
    require(mkdir(path, 0700) == 0);
    put("outside", "outside", 7);
    return root;
}

/* The line with the checksum that the journal wants. */
static void add_line(ds4_str *out, const char *line, size_t n)
{
    uint8_t      sum[DS4_SHA256_BYTES];
    const size_t from = out->n_bytes;

    ds4_str_add(out, line, n);
    ds4_str_add_char(out, ' ');
    if (out->failed) return;
    ds4_sha256(out->data + from, out->n_bytes - from, sum);
    for (int i = 0; i < 8; i++) ds4_str_addf(out, "%02x", sum[i]);
    ds4_str_add_char(out, '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static ds4_root *root;
    const char      *text = (const char *)data, *end = text + n_bytes;
    ds4_str          journal = { 0 }, told = { 0 };
    ds4_undo        *u = NULL;
    char             path[600], outside[8] = { 0 };

    if (!root) root = open_root();
    while (text < end) {
        const char  *feed = memchr(text, '\n', (size_t)(end - text));
        const size_t n = feed ? (size_t)(feed - text) : (size_t)(end - text);
        const bool   over = n == 1 && text[0] == '=';
        if (!over) add_line(&journal, text, n);
        text += n + (feed ? 1 : 0);
        if (over) break;
    }
    put("undo/journal", ds4_str_text(&journal), journal.n_bytes);
    put("undo/tree", text < end ? text : "", (size_t)(end - text));
    snprintf(path, sizeof path, "%s/undo", folder);
    if (ds4_undo_open(&u, root, path, NULL, NULL) == DS4_OK) {
        (void)!ds4_undo_restore(u, 1, &told, NULL);
        ds4_undo_close(u);
    }
    snprintf(path, sizeof path, "%s/outside", folder);
    const int fd = open(path, O_RDONLY);
    require(fd >= 0 && read(fd, outside, 7) == 7 && strcmp(outside, "outside") == 0);
    close(fd);
    ds4_str_clear(&journal);
    ds4_str_clear(&told);
    return 0;
}
