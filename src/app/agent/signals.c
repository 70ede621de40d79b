/* signals.c - see program.h: signals reach the agent through a pipe and a thread that reads it, since a
 * handler may not take locks. */
#include "app/agent/program.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* A handler has no other way to reach what it must tell. */
static int                    pipe_end = -1;
static volatile sig_atomic_t  n_signals;

static pthread_mutex_t watched_lock = PTHREAD_MUTEX_INITIALIZER;
static ds4_agent      *watched;

static void on_signal(int number)
{
    const char byte = (char)number;

    if (n_signals++ > 0) _exit(DS4_EXIT_INTERRUPTED);
    if (write(pipe_end, &byte, 1) != 1) _exit(DS4_EXIT_INTERRUPTED);
}

static void *watch(void *ctx)
{
    const int *from = ctx;
    char       byte;

    while (read(*from, &byte, 1) == 1) {
        pthread_mutex_lock(&watched_lock);
        if (watched) {
            ds4_agent_interrupt(watched, false);
            ds4_agent_quit(watched);
        }
        pthread_mutex_unlock(&watched_lock);
    }
    return NULL;
}

static bool begin(void)
{
    static int       ends[2];
    struct sigaction action;
    pthread_t        thread;

    if (pipe(ends) != 0) return false;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    if (pthread_create(&thread, NULL, watch, &ends[0]) != 0) return false;
    pthread_detach(thread);
    pipe_end = ends[1];
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return true;
}

void ds4_agent_watch_signals(ds4_agent *agent)
{
    pthread_mutex_lock(&watched_lock);
    watched = agent;
    pthread_mutex_unlock(&watched_lock);
    if (agent && pipe_end < 0 && !begin()) ds4_app_say(DS4_AGENT_NAME, "Ctrl-C ends the program at once");
}
