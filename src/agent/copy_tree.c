/* copy_tree.c - see copy_tree.h. */
#include "agent/copy_tree.h"

#include "base/file.h"
#include "base/output.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FLOORS = 6 };
static const size_t MAX_BYTES = (size_t)1 << 30;

static ds4_status copy_file(const char *from, const char *to, bool may_share, ds4_err *err)
{
    ds4_str content = { 0 };

    if (may_share && link(from, to) == 0) return DS4_OK;
    ds4_status st = ds4_file_read(from, MAX_BYTES, &content, err);
    if (st == DS4_OK) st = ds4_output_put(to, ds4_str_text(&content), content.n_bytes, err);
    ds4_str_clear(&content);
    return st;
}

static ds4_status copy_floor(const char *from, const char *to, int floor, ds4_err *err);

static ds4_status copy_entry(const char *from, const char *to, int floor, ds4_err *err)
{
    struct stat facts;

    if (lstat(from, &facts) != 0) return ds4_fail(err, DS4_E_IO, "%s: %s", from, strerror(errno));
    if (S_ISDIR(facts.st_mode)) return copy_floor(from, to, floor + 1, err);
    return S_ISREG(facts.st_mode) ? copy_file(from, to, floor > 0, err) : DS4_OK;
}

static ds4_status copy_floor(const char *from, const char *to, int floor, ds4_err *err)
{
    ds4_str        a = { 0 }, b = { 0 };
    struct dirent *e;
    ds4_status     st = DS4_OK;

    if (floor > MAX_FLOORS) return ds4_fail(err, DS4_E_LIMIT, "%s: too many folders in each other", from);
    DIR *d = opendir(from);
    if (!d) return ds4_fail(err, DS4_E_IO, "%s: %s", from, strerror(errno));
    if (mkdir(to, 0700) != 0 && errno != EEXIST) st = ds4_fail(err, DS4_E_IO, "%s: %s", to, strerror(errno));
    while (st == DS4_OK && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        ds4_str_truncate(&a, 0);
        ds4_str_truncate(&b, 0);
        ds4_str_addf(&a, "%s/%s", from, e->d_name);
        ds4_str_addf(&b, "%s/%s", to, e->d_name);
        if (a.failed || b.failed) st = ds4_fail(err, DS4_E_NOMEM, "no memory for a path");
        else st = copy_entry(a.data, b.data, floor, err);
    }
    closedir(d);
    ds4_str_clear(&a);
    ds4_str_clear(&b);
    return st;
}

ds4_status ds4_copy_tree(const char *from, const char *to, ds4_err *err)
{
    struct stat facts;

    if (lstat(from, &facts) != 0 && errno == ENOENT) return DS4_OK;
    return copy_floor(from, to, 0, err);
}
