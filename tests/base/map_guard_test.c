/* map_guard_test.c - a mapped file that is cut reads as zeros and says so; faults elsewhere
 * still go to whoever handled them. */
#include "testing.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/output.h"
#include "ds4.h"

enum { PAGES = 64, PAGE = 4096 };

static char path[256];

static void write_file(uint64_t n_bytes)
{
    uint8_t *data = malloc(n_bytes);

    memset(data, 7, n_bytes);
    assert_int_equal(ds4_output_put(path, data, n_bytes, NULL), DS4_OK);
    free(data);
}

/* In a process of its own: the library may be asked once only, and a failure may be a signal.
 * Returns what waitpid() says. */
static int in_child(void (*body)(void))
{
    int         status = 0;
    const pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void must(bool what, int code)
{
    if (!what) _exit(code);
}

static uint64_t sum(const ds4_map *map)
{
    uint64_t total = 0;
    for (uint64_t i = 0; i < map->n_bytes; i++) total += map->data[i];
    return total;
}

static void cut_one_of_two(void)
{
    ds4_map map = { 0 }, other = { 0 };
    ds4_err err = { 0 };

    must(ds4_faults_catch(NULL) == DS4_OK && ds4_faults_catch(NULL) == DS4_OK, 10);
    must(ds4_map_open(&other, path, NULL) == DS4_OK, 11);
    write_file(PAGES * PAGE);                       /* another file under the same name */
    must(ds4_map_open(&map, path, NULL) == DS4_OK, 12);
    must(sum(&map) == 7ull * PAGES * PAGE && ds4_map_check(&map, path, &err) == DS4_OK, 13);
    must(truncate(path, 10 * PAGE) == 0, 14);
    must(map.data[9 * PAGE] == 7 && ds4_map_check(&map, path, &err) == DS4_OK, 15);
    must(sum(&map) == 7ull * 10 * PAGE, 16);
    must(ds4_map_check(&map, path, &err) == DS4_E_IO, 17);
    must(strstr(err.text, path) && strstr(err.text, "it had 262144 bytes and has 40960 now"), 18);
    must(ds4_map_check(&other, path, &err) == DS4_OK && sum(&other) == 7ull * PAGES * PAGE, 19);
    ds4_map_close(&map);
    must(ds4_map_open(&map, path, NULL) == DS4_OK && sum(&map) == 7ull * 10 * PAGE, 20);
    must(ds4_map_check(&map, path, &err) == DS4_OK, 21);
    ds4_map_close(&map);
    ds4_map_close(&other);
}

static volatile sig_atomic_t n_handled;

static void on_foreign(int number)
{
    (void)number;
    if (++n_handled == 1) _exit(42);
}

/* A page of a file that the library knows nothing of. */
static void touch_foreign(void)
{
    const int fd = open(path, O_RDONLY);
    must(ftruncate(fd, 0) != 0, 30);
    const uint8_t *p = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    must(p != MAP_FAILED && truncate(path, PAGE) == 0, 31);
    volatile uint8_t byte = p[5 * PAGE];
    (void)byte;
}

static void fault_elsewhere_with_handler(void)
{
    signal(SIGBUS, on_foreign);
    must(ds4_faults_catch(NULL) == DS4_OK, 32);
    touch_foreign();
}

static void fault_elsewhere_without(void)
{
    signal(SIGBUS, SIG_DFL);
    must(ds4_faults_catch(NULL) == DS4_OK, 32);
    touch_foreign();
}

static void own_handler(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (!ds4_faults_take(info->si_addr)) _exit(50);
}

static void handler_of_the_program(void)
{
    struct sigaction action = { .sa_flags = SA_SIGINFO, .sa_sigaction = own_handler };
    ds4_map          map = { 0 };

    sigaction(SIGBUS, &action, NULL);
    must(ds4_map_open(&map, path, NULL) == DS4_OK && truncate(path, 10) == 0, 51);
    must(sum(&map) == 70 && ds4_map_check(&map, path, NULL) == DS4_E_IO, 52);
    ds4_map_close(&map);
}

static void test_lost_pages_are_zeros(void **state)
{
    (void)state;
    write_file(PAGES * PAGE);
    assert_int_equal(in_child(cut_one_of_two), 0);
}

static void test_other_faults_are_handed_on(void **state)
{
    (void)state;
    write_file(PAGES * PAGE);
    const int status = in_child(fault_elsewhere_with_handler);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    write_file(PAGES * PAGE);
    const int death = in_child(fault_elsewhere_without);
    assert_true(WIFSIGNALED(death) && WTERMSIG(death) == SIGBUS);
}

static void test_programs_may_use_their_own_handler(void **state)
{
    (void)state;
    write_file(PAGES * PAGE);
    assert_int_equal(in_child(handler_of_the_program), 0);
}

static int set_path(void **state)
{
    (void)state;
    test_temp_path(path, "guard.bin");
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_lost_pages_are_zeros),
    cmocka_unit_test(test_other_faults_are_handed_on),
    cmocka_unit_test(test_programs_may_use_their_own_handler),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_path, remove_file);
}
