/* sysmem.c - see sysmem.h. Linux tells through /proc and control groups, macOS through Mach. */
#include "base/sysmem.h"

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

/* The number behind a name in a file of "Name: number" lines, in the file's unit; 0 if absent. */
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

/* Lower the numbers to what a control group allows, if this process lives in one. */
static void apply_group(ds4_sysmem *mem)
{
    const uint64_t most = number_in("/sys/fs/cgroup/memory.max", "");
    const uint64_t used = number_in("/sys/fs/cgroup/memory.current", "");
    const uint64_t cached = number_in("/sys/fs/cgroup/memory.stat", "inactive_file ");

    if (most == 0) return;              /* no group, or "max" */
    if (most < mem->total_bytes) mem->total_bytes = most;
    const uint64_t firm = used > cached ? used - cached : 0;
    const uint64_t left = most > firm ? most - firm : 0;
    if (left < mem->free_bytes) mem->free_bytes = left;
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
    apply_group(&mem);
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
