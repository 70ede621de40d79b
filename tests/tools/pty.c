/* pty.c - run a command on a terminal of its own and copy what it writes there.
 *
 *   pty SECONDS COMMAND [ARG ...]      exit status of the command; 124 when the time is over
 *
 * The terminal's name for codes is the environment's TERM, as in a shell. */
#include "support/open_pty.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Until the command has closed the terminal: reading then fails with EIO or ends. */
static int copy(int master, time_t end)
{
    char          buf[4096];
    struct pollfd p = { .fd = master, .events = POLLIN };

    for (;;) {
        const time_t now = time(NULL);
        if (now >= end) return 124;
        if (poll(&p, 1, (int)(end - now) * 1000) <= 0) continue;
        const ssize_t n = read(master, buf, sizeof buf);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return 0;
        fwrite(buf, 1, (size_t)n, stdout);
    }
}

int main(int argc, char **argv)
{
    int       slave;
    const int master = test_open_pty(&slave);

    if (argc < 3 || master < 0) {
        fprintf(stderr, "pty: %s\n", argc < 3 ? "pty SECONDS COMMAND [ARG ...]" : "no terminal to be had");
        return 125;
    }
    const pid_t pid = fork();
    if (pid < 0) return 125;
    if (pid == 0) {
        test_become_of_pty(master, slave);
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    close(slave);

    int       status = 0;
    const int code = copy(master, time(NULL) + atoi(argv[1]));
    if (code) kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    fflush(stdout);
    return code ? code : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
