/* sysmem.c - see sysmem.h. Linux tells through /proc and control groups, macOS through Mach. */
#include "base/sysmem.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __APPLE__

#include <mach/mach.h>
#include <sys/resource.h>
#include <sys/sysctl.h>

ds4_sysmem ds4_sysmem_get(void)
{
    ds4_sysmem             mem = { 0 };
    vm_statistics64_data_t vm;
    mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
    size_t                 size = sizeof mem.total_bytes;

    sysctlbyname("hw.memsize", &mem.total_bytes, &size, NULL, 0);
    if (host_statistics64(mach_host_self(), HOST_VM_INFO64, (host_info64_t)&vm, &count) == KERN_SUCCESS) {
        const uint64_t pages = (uint64_t)vm.free_count + vm.inactive_count + vm.purgeable_count;
        mem.free_bytes = pages * (uint64_t)vm_kernel_page_size;
    }
    return mem;
}

void ds4_sysmem_limit(ds4_sysmem *mem, const char *groups, const char *root)
{
    (void)mem, (void)groups, (void)root;            /* macOS has no control groups */
}

uint64_t ds4_sysmem_used(void)
{
    mach_task_basic_info_data_t info;
    mach_msg_type_number_t      count = MACH_TASK_BASIC_INFO_COUNT;

    if (task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)&info, &count) !=
        KERN_SUCCESS)
        return 0;
    return info.resident_size;
}

uint64_t ds4_sysmem_peak(void)
{
    struct rusage r;
    return getrusage(RUSAGE_SELF, &r) == 0 ? (uint64_t)r.ru_maxrss : 0;
}

#else

/* The number behind a name in a file of "Name number" lines, in the file's unit; 0 if absent. */
static uint64_t number_in(const char *path, const char *name)
{
    char     line[256];
    uint64_t value = 0;
    FILE    *file = fopen(path, "r");

    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        const size_t n = strlen(name);
        if (strncmp(line, name, n) != 0) continue;
        value = strtoull(line + n, NULL, 10);
        break;
    }
    fclose(file);
    return value;
}

/* The names of one version's files in a group's folder. */
typedef struct group_files {
    const char *folder;                 /* below the root */
    const char *most, *used;
    const char *reclaimable[3];         /* in memory.stat, of the group and those below it */
} group_files;

static const group_files version_2 = { "", "memory.max", "memory.current",
                                       { "inactive_file ", "active_file ", "slab_reclaimable " } };
static const group_files version_1 = { "/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                       { "total_inactive_file ", "total_active_file ", NULL } };

static uint64_t group_number(const char *folder, const char *file, const char *name)
{
    char      path[PATH_MAX];
    const int n = snprintf(path, sizeof path, "%s/%s", folder, file);

    return n > 0 && (size_t)n < sizeof path ? number_in(path, name) : 0;
}

static void apply_group(ds4_sysmem *mem, const group_files *f, const char *folder)
{
    const uint64_t most = group_number(folder, f->most, "");
    uint64_t       firm = group_number(folder, f->used, "");

    if (most == 0) return;              /* no such file, or "max" */
    for (int i = 0; i < 3 && f->reclaimable[i]; i++) {
        const uint64_t part = group_number(folder, "memory.stat", f->reclaimable[i]);
        firm -= part < firm ? part : firm;
    }
    const uint64_t left = most > firm ? most - firm : 0;
    if (most < mem->total_bytes || mem->total_bytes == 0) mem->total_bytes = most;
    if (left < mem->free_bytes || mem->free_bytes == 0) mem->free_bytes = left > 0 ? left : 1;
}

/* A group and all above it. In a container its own group is the root of what can be seen, and
 * the path that /proc names may not exist there: the root is looked at in any case. */
static void apply_groups(ds4_sysmem *mem, const group_files *f, const char *root, const char *path)
{
    char      folder[PATH_MAX];
    const int n_root = snprintf(folder, sizeof folder, "%s%s", root, f->folder);
    const int n = snprintf(folder, sizeof folder, "%s%s%s", root, f->folder, path);

    if (n_root < 0 || n < 0 || (size_t)n >= sizeof folder) return;
    for (char *end = folder + n; end > folder + n_root; *end = '\0') {
        apply_group(mem, f, folder);
        while (end > folder + n_root && *--end != '/') continue;
    }
    folder[n_root] = '\0';
    apply_group(mem, f, folder);
}

void ds4_sysmem_limit(ds4_sysmem *mem, const char *groups, const char *root)
{
    char  line[PATH_MAX];
    FILE *file = fopen(groups, "r");

    if (!file) return;
    while (fgets(line, sizeof line, file)) {        /* number:controllers:path */
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        if (strcmp(path, "/") == 0) *path = '\0';
        if (controllers[1] == '\0') apply_groups(mem, &version_2, root, path);
        else if (strstr(controllers, "memory")) apply_groups(mem, &version_1, root, path);
    }
    fclose(file);
}

ds4_sysmem ds4_sysmem_get(void)
{
    ds4_sysmem mem = {
        .total_bytes = number_in("/proc/meminfo", "MemTotal:") * 1024,
        .free_bytes = number_in("/proc/meminfo", "MemAvailable:") * 1024,
    };
    if (mem.total_bytes == 0) {
        const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
        if (pages > 0 && size > 0) mem.total_bytes = (uint64_t)pages * (uint64_t)size;
    }
    ds4_sysmem_limit(&mem, "/proc/self/cgroup", "/sys/fs/cgroup");
    return mem;
}

uint64_t ds4_sysmem_used(void)
{
    return number_in("/proc/self/status", "VmRSS:") * 1024;
}

uint64_t ds4_sysmem_peak(void)
{
    return number_in("/proc/self/status", "VmHWM:") * 1024;
}

#endif
