/* terminal_test.c - ds4 on a terminal: what a person sees is the whole answer. */
#include "testing.h"

#include "base/str.h"
#include "support/open_pty.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

enum { WAIT_MS = 60000 };

static char        program[512];
static const char *model = "models/ds4-mini.gguf";

/* ---- a terminal ----------------------------------------------------------------------------- */

typedef struct terminal {
    int     fd;
    pid_t   pid;
    ds4_str seen;               /* everything that came, as it came */
} terminal;

static void start(terminal *t, char *const argv[])
{
    int slave;

    *t = (terminal){ .fd = test_open_pty(&slave) };
    if (t->fd < 0) fail_msg("there is no terminal to be had");
    t->pid = fork();
    assert_true(t->pid >= 0);
    if (t->pid == 0) {
        test_become_of_pty(t->fd, slave);
        signal(SIGINT, SIG_DFL);        /* a shell may have had it ignored */
        setenv("TERM", "xterm", 1);
        setenv("HOME", "/nonexistent", 1);
        execv(program, argv);
        _exit(127);
    }
    close(slave);
}

/* Take what comes until the text is there; NULL: until the end. */
static void expect(terminal *t, const char *text)
{
    char          part[4096];
    struct pollfd wait = { .fd = t->fd, .events = POLLIN };

    while (!text || !strstr(ds4_str_text(&t->seen), text)) {
        if (poll(&wait, 1, WAIT_MS) != 1) fail_msg("no '%s' in: %s", text, ds4_str_text(&t->seen));
        const ssize_t n = read(t->fd, part, sizeof part);
        if (n <= 0 && !text) return;            /* the other side is closed */
        if (n <= 0) fail_msg("it ended before '%s': %s", text, ds4_str_text(&t->seen));
        ds4_str_add(&t->seen, part, (size_t)n);
    }
}

static void type(terminal *t, const char *text)
{
    ds4_str_truncate(&t->seen, 0);
    assert_int_equal(strlen(text), write(t->fd, text, strlen(text)));
}

static int end(terminal *t)
{
    int status = -1;

    expect(t, NULL);
    waitpid(t->pid, &status, 0);
    close(t->fd);
    return status;
}

/* The text that is left on the screen: carriage returns go back, "\033[K" wipes to the end of the line,
 * other escape sequences do not show. */
static void screen(const ds4_str *seen, ds4_str *out)
{
    size_t      begin = 0, at = 0;      /* of the line; the cursor */
    const char *s = ds4_str_text(seen);

    for (; *s; s++) {
        if (*s == '\r') {
            at = begin;
        } else if (*s == '\n') {
            ds4_str_add_char(out, '\n');
            begin = at = out->n_bytes;
        } else if (*s == '\033' && s[1] == '[') {
            s += 2 + strspn(s + 2, "0123456789;?");
            if (*s == 'K') ds4_str_truncate(out, at);
        } else if (at < out->n_bytes) {
            out->data[at++] = *s;
        } else {
            ds4_str_add_char(out, *s);
            at = out->n_bytes;
        }
    }
}

static void assert_on_screen(const ds4_str *seen, const char *text)
{
    ds4_str shown = { 0 };

    screen(seen, &shown);
    if (!strstr(ds4_str_text(&shown), text)) {
        fail_msg("'%s' is not on the screen:\n%s", text, ds4_str_text(&shown));
    }
    ds4_str_clear(&shown);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static const char question[] = "Hello! Who are you?";

/* Ask for the answer through a pipe, and drop the newline at its end. */
static void piped_answer(char answer[4096])
{
    char command[1200];

    snprintf(command, sizeof command, "'%s' -m %s --temp 0 --nothink -p '%s' 2>&-", program, model, question);
    FILE        *pipe = popen(command, "r");
    const size_t n = fread(answer, 1, 4095, pipe);
    assert_int_equal(0, pclose(pipe));
    answer[n] = '\0';
    answer[strcspn(answer, "\n")] = '\0';
    assert_true(n > 0 && answer[0]);
}

static void test_an_answer_stays_on_the_screen(void **state)
{
    char *const argv[] = { program, "-m", (char *)(uintptr_t)model, "--temp", "0", "--nothink", "-p",
                           (char *)(uintptr_t)question, NULL };
    char        answer[4096];
    terminal    t;

    (void)state;
    piped_answer(answer);
    start(&t, argv);
    assert_int_equal(0, end(&t));
    assert_on_screen(&t.seen, answer);
    ds4_str_clear(&t.seen);
}

static void test_a_conversation_stays_on_the_screen(void **state)
{
    char *const argv[] = { program, "-m", (char *)(uintptr_t)model, "--temp", "0", "--nothink", NULL };
    char        answer[4096], line[128];
    terminal    t;

    (void)state;
    piped_answer(answer);
    start(&t, argv);
    expect(&t, "ds4> ");
    snprintf(line, sizeof line, "%s\r", question);
    type(&t, line);
    expect(&t, "\r\nds4> ");
    assert_on_screen(&t.seen, answer);
    type(&t, "\003");
    expect(&t, "press Ctrl-C again");
    expect(&t, "\r\nds4> ");
    type(&t, "/think\r/nothink\r/quit\r");      /* commands are no lines of a message */
    assert_int_equal(0, end(&t));
    assert_on_screen(&t.seen, "from now on with reasoning");
    assert_on_screen(&t.seen, "from now on without reasoning");
    ds4_str_clear(&t.seen);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_an_answer_stays_on_the_screen),
    cmocka_unit_test(test_a_conversation_stays_on_the_screen),
};

int main(void)
{
    const char *out = getenv("OUT");

    snprintf(program, sizeof program, "%.480s/ds4", out ? out : "build");
    if (access(model, R_OK) != 0) model = "tests/golden/flashlike.gguf";
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
