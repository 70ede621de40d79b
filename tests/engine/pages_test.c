/* pages_test.c - blocks that nobody holds give their memory back, whatever the system's page:
 * 4 KiB, or 16 and 64 KiB simulated by calls that behave as such a system's do. */
#include "testing.h"

#include "base/mem_pages.h"
#include "base/sysmem.h"
#include "engine/block_pool.h"
#include "kernels/kernels.h"
#include "model/kv_layout.h"

#include <errno.h>
#include <sys/mman.h>

enum { N_LAYERS = 43, N_BLOCKS = 64 };

#if defined(__linux__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) \
    && !defined(__SANITIZE_THREAD__)
#define CAN_SIMULATE 1
#include <sys/syscall.h>

extern long __sysconf(int name);

static uintptr_t page = 4096;
static uint32_t  n_refused;

long sysconf(int name)
{
    return name == _SC_PAGESIZE ? (long)page : __sysconf(name);
}

static bool is_aligned(const void *at)
{
    if ((uintptr_t)at % page == 0) return true;
    n_refused++;
    errno = EINVAL;
    return false;
}

int madvise(void *at, size_t n, int advice)
{
    return is_aligned(at) ? (int)syscall(SYS_madvise, at, n, advice) : -1;
}

/* Anonymous memory begins at a page; what is mapped besides stays mapped. */
void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
    if (flags & MAP_FIXED && !is_aligned(at)) return MAP_FAILED;
    if (flags & MAP_FIXED || !(flags & MAP_ANONYMOUS) || page == 4096) {
        return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, off);
    }
    const long got = syscall(SYS_mmap, at, n + page, prot, flags, fd, off);
    return got == -1 ? MAP_FAILED : (void *)(((uintptr_t)got + page - 1) / page * page);
}
#else
#define CAN_SIMULATE 0
static uintptr_t page;
static uint32_t  n_refused;
#endif

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

static void fill(const ds4_block_pool *p, const ds4_kv_block *b, const ds4_kv_layout *kv, uint8_t value)
{
    uint8_t *bytes = malloc(kv->cold_bytes + kv->warm_bytes);
    ds4_err  err = { 0 };

    memset(bytes, value, kv->cold_bytes + kv->warm_bytes);
    check(ds4_backend_write(p->backend, p->dev, b->at.cold, bytes, kv->cold_bytes, &err), &err);
    check(ds4_backend_write(p->backend, p->dev, b->at.warm, bytes, kv->warm_bytes, &err), &err);
    free(bytes);
}

static void assert_filled(const ds4_block_pool *p, const ds4_kv_block *b, const ds4_kv_layout *kv,
                          uint8_t value)
{
    uint8_t *bytes = malloc(kv->cold_bytes + kv->warm_bytes);
    ds4_err  err = { 0 };

    check(ds4_backend_read(p->backend, p->dev, b->at.cold, bytes, kv->cold_bytes, &err), &err);
    check(ds4_backend_read(p->backend, p->dev, b->at.warm, bytes + kv->cold_bytes, kv->warm_bytes, &err),
          &err);
    for (uint64_t i = 0; i < kv->cold_bytes + kv->warm_bytes; i++) assert_int_equal(bytes[i], value);
    free(bytes);
}

/* Every second block goes; their memory is the system's again, and the others are as they were. */
static void drop_half(const ds4_kv_layout *kv, ds4_dev *dev)
{
    ds4_block_pool pool;
    ds4_kv_block  *b[N_BLOCKS];
    ds4_err        err = { 0 };

    ds4_block_pool_init(&pool, &ds4_backend_cpu, dev, kv);
    check(ds4_block_pool_allow(&pool, N_BLOCKS, &err), &err);
    for (int i = 0; i < N_BLOCKS; i++) {
        check(ds4_block_take(&pool, &b[i], &err), &err);
        fill(&pool, b[i], kv, (uint8_t)(i + 1));
    }
    const uint64_t full = ds4_sysmem_used();
    n_refused = 0;
    for (int i = 0; i < N_BLOCKS; i += 2) ds4_block_drop(&pool, b[i]);
    const uint64_t half = ds4_sysmem_used(), dropped = N_BLOCKS / 2 * (kv->cold_bytes + kv->warm_bytes);
    assert_int_equal(n_refused, 0);
    if (full != 0 && full - half < dropped / 100 * 98) {
        fail_msg("%llu bytes came back of %llu", (unsigned long long)(full - half),
                 (unsigned long long)dropped);
    }
    for (int i = 1; i < N_BLOCKS; i += 2) assert_filled(&pool, b[i], kv, (uint8_t)(i + 1));
    for (int i = 1; i < N_BLOCKS; i += 2) ds4_block_drop(&pool, b[i]);
    ds4_block_pool_clear(&pool);
}

static void test_dropped_blocks_go_back(void **unused)
{
    const ds4_limits limits = { .n_threads = 1, .max_batch = 1 };
    ds4_shape        s = { .n_layers = N_LAYERS, .n_head = 512, .n_rot = 64, .n_window = 128,
                           .n_index = 128 };
    ds4_kv_layer     layer[N_LAYERS];
    ds4_kv_layout    kv;

    (void)unused;
    for (uint32_t i = 2; i < N_LAYERS; i++) s.ratio[i] = i % 2 == 0 ? 4 : 128;
    ds4_kv_layout_make(&s, DS4_KV_RECORDS, DS4_KV_RECORDS, layer, &kv);
    const uintptr_t pages[] = { 4096, 16384, 65536 };
    for (int i = 0; i < (CAN_SIMULATE ? 3 : 1); i++) {
        ds4_dev *dev;
        ds4_err  err = { 0 };
        page = pages[i];
        if (CAN_SIMULATE) assert_int_equal(ds4_page_bytes(), page);
        check(ds4_backend_cpu.open(0, &limits, &dev, &err), &err);
        drop_half(&kv, dev);
        ds4_backend_cpu.close(dev);
    }
}

/* Bytes around the pages that go back stay. */
static void test_only_whole_pages_go(void **unused)
{
    (void)unused;
    page = 4096;
    const uint64_t n = 4 * ds4_page_bytes();
    uint8_t       *at = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(at, MAP_FAILED);
    memset(at, 7, n);
    assert_true(ds4_pages_give_back(at + 1, n - 2));
    assert_int_equal(at[0], 7);
    assert_int_equal(at[n / 4 - 1], 7);
    assert_int_equal(at[n / 4], 0);
    assert_int_equal(at[3 * n / 4 - 1], 0);
    assert_int_equal(at[3 * n / 4], 7);
    assert_true(ds4_pages_give_back(at + 1, 10));
    assert_int_equal(at[1], 7);
    munmap(at, n);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_dropped_blocks_go_back),
    cmocka_unit_test(test_only_whole_pages_go),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
