/* interrupt.c - see app.h: Ctrl-C. */
#include "app/common/app.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* A signal handler has no other way to reach what it must set. */
static ds4_cancel    interrupt_flag;
static volatile bool interrupt_has_colour;
static volatile bool interrupt_ends_read;

static char          quit_line[128];
static size_t        quit_bytes;

static void on_quit(int signal_number)
{
    (void)signal_number;
    if (write(STDERR_FILENO, quit_line, quit_bytes) < 0) _exit(DS4_EXIT_INTERRUPTED);
    _exit(DS4_EXIT_INTERRUPTED);
}

void ds4_interrupt_quit(const char *program)
{
    struct sigaction action;

    snprintf(quit_line, sizeof quit_line, "%.100s: interrupted\n", program);
    quit_bytes = strlen(quit_line);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_quit;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

static void on_interrupt(int signal_number)
{
    static const char plain[] = "\033[0m\n";

    (void)signal_number;
    if (interrupt_flag.stop) {
        if (interrupt_has_colour && write(STDOUT_FILENO, plain, sizeof plain - 1) < 0) {
            _exit(DS4_EXIT_INTERRUPTED);
        }
        _exit(DS4_EXIT_INTERRUPTED);
    }
    interrupt_flag.stop = 1;
    if (interrupt_ends_read) alarm(1);
}

/* Only ends a read that had not begun yet when Ctrl-C came, and so was not ended by it. */
static void on_alarm(int signal_number)
{
    (void)signal_number;
}

ds4_cancel *ds4_interrupt_catch(bool restart)
{
    struct sigaction action;

    alarm(0);
    interrupt_has_colour = ds4_term_colour(stdout);
    interrupt_ends_read = !restart;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_alarm;
    sigaction(SIGALRM, &action, NULL);
    action.sa_handler = on_interrupt;
    action.sa_flags = restart ? SA_RESTART : 0;
    sigaction(SIGINT, &action, NULL);
    return &interrupt_flag;
}

ds4_cancel *ds4_interrupt_catch_all(void)
{
    ds4_cancel      *flag = ds4_interrupt_catch(true);
    struct sigaction as_interrupt, hang_up;

    sigaction(SIGINT, NULL, &as_interrupt);
    sigaction(SIGTERM, &as_interrupt, NULL);
    sigaction(SIGHUP, NULL, &hang_up);
    if (hang_up.sa_handler != SIG_IGN) sigaction(SIGHUP, &as_interrupt, NULL);
    return flag;
}
