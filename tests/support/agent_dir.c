/* agent_dir.c - see agent_dir.h. */
#include "support/agent_dir.h"

#include "base/sha256.h"
#include "testing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    if (type == FTW_DNR || type == FTW_D) chmod(path, 0700);
    return remove(path) != 0 && errno != ENOENT ? -1 : 0;
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void agent_dir_make(agent_dir *d, const char *name)
{
    char path[256];

    test_temp_path(path, name);
    remove_tree(path);
    assert_int_equal(mkdir(path, 0755), 0);
    char *full = realpath(path, NULL);
    assert_non_null(full);
    assert_true(strlen(full) < sizeof d->top);
    snprintf(d->top, sizeof d->top, "%s", full);
    free(full);
    snprintf(d->root, sizeof d->root, "%s/root", d->top);
    snprintf(d->outside, sizeof d->outside, "%s/outside", d->top);
    snprintf(d->state, sizeof d->state, "%s/state", d->top);
    assert_int_equal(mkdir(d->root, 0755), 0);
    assert_int_equal(mkdir(d->outside, 0755), 0);
    assert_int_equal(mkdir(d->state, 0700), 0);
}

void agent_dir_remove(const agent_dir *d)
{
    remove_tree(d->top);
}

void agent_put(const char *folder, const char *name, const char *content)
{
    char path[1024];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
    FILE *fp = fopen(path, "wb");
    assert_non_null(fp);
    assert_int_equal(fwrite(content, 1, strlen(content), fp), strlen(content));
    assert_int_equal(fclose(fp), 0);
}

static bool read_path(const char *path, ds4_str *out)
{
    char   piece[4096];
    size_t n;
    FILE  *fp = fopen(path, "rb");

    ds4_str_truncate(out, 0);
    if (!fp) return false;
    while ((n = fread(piece, 1, sizeof piece, fp)) > 0) ds4_str_add(out, piece, n);
    fclose(fp);
    return !out->failed;
}

void agent_get(const char *folder, const char *name, ds4_str *out)
{
    char path[1024];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_true(read_path(path, out));
}

bool agent_is(const char *folder, const char *name, const char *content)
{
    char    path[1024];
    ds4_str text = { 0 };

    snprintf(path, sizeof path, "%s/%s", folder, name);
    const bool is = read_path(path, &text) && text.n_bytes == strlen(content) &&
                    memcmp(ds4_str_text(&text), content, text.n_bytes) == 0;
    ds4_str_clear(&text);
    return is;
}

bool agent_has(const char *folder, const char *name)
{
    char        path[1024];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return lstat(path, &st) == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void describe(const char *path, ds4_str *out)
{
    struct dirent *entry;
    char          *names[1024];
    int            n = 0;
    DIR           *dir = opendir(path);

    if (!dir) return;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        assert_true(n < 1024);
        names[n++] = strdup(entry->d_name);
    }
    closedir(dir);
    qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) {
        char        full[2048], link[1024];
        struct stat st;
        ds4_str     text = { 0 };
        snprintf(full, sizeof full, "%s/%s", path, names[i]);
        if (lstat(full, &st) == 0) {
            ds4_str_addf(out, "%s %o ", full, (unsigned)st.st_mode);
            if (S_ISREG(st.st_mode) && read_path(full, &text))
                ds4_str_add(out, ds4_str_text(&text), text.n_bytes);
            const ssize_t k = S_ISLNK(st.st_mode) ? readlink(full, link, sizeof link) : 0;
            if (k > 0) ds4_str_add(out, link, (size_t)k);
            ds4_str_add_char(out, '\n');
            if (S_ISDIR(st.st_mode)) describe(full, out);
        }
        ds4_str_clear(&text);
        free(names[i]);
    }
}

void agent_hash(const char *folder, char out[65])
{
    ds4_str all = { 0 };
    uint8_t sum[DS4_SHA256_BYTES];

    describe(folder, &all);
    ds4_sha256(ds4_str_text(&all), all.n_bytes, sum);
    for (int i = 0; i < DS4_SHA256_BYTES; i++) snprintf(out + 2 * i, 3, "%02x", sum[i]);
    ds4_str_clear(&all);
}
