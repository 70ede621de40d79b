/* program_dir.c - see program_dir.h. */
#include "app/common/program_dir.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

/* The program's own path, perhaps through links; false when the system does not say. */
static bool own_path(const char *argv0, char *path, uint32_t n_bytes)
{
#ifdef __APPLE__
    (void)argv0;
    return _NSGetExecutablePath(path, &n_bytes) == 0;
#else
    const ssize_t n = readlink("/proc/self/exe", path, n_bytes - 1);
    if (n > 0) {
        path[n] = '\0';
        return true;
    }
    /* A name without a slash was found along PATH, which says nothing about its folder. */
    if (!argv0 || !strchr(argv0, '/') || strlen(argv0) >= n_bytes) return false;
    memcpy(path, argv0, strlen(argv0) + 1);
    return true;
#endif
}

void ds4_program_dir(const char *argv0, ds4_str *dir)
{
    char path[PATH_MAX];

    if (!own_path(argv0, path, sizeof path)) return;
    char *real = realpath(path, NULL);
    if (!real) return;
    char *slash = strrchr(real, '/');
    if (slash) ds4_str_add(dir, real, slash == real ? 1 : (size_t)(slash - real));
    free(real);
}
