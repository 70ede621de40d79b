/* raw.c - bytes to a port of this machine, and what comes back; or what arrives at a socket.
 *
 *   raw PORT                sends standard input, closes its side, prints all that comes
 *   raw --datagrams PATH    prints what is sent to a socket at PATH, until it is killed */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int print_datagrams(const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    char               text[4096];
    const int          fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    if (strlen(path) >= sizeof at.sun_path) return 1;
    strcpy(at.sun_path, path);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof at) != 0) return 1;
    for (ssize_t n; (n = recv(fd, text, sizeof text, 0)) >= 0;) {
        fwrite(text, 1, (size_t)n, stdout);
        putchar('\n');
        fflush(stdout);
    }
    return 1;
}

static int talk(int port)
{
    const struct sockaddr_in at = { .sin_family = AF_INET,
                                    .sin_port = htons((unsigned short)port),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    char                     bytes[65536];
    const int                fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof at) != 0) return 1;
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, stdin)) > 0;) {
        if (send(fd, bytes, n, 0) != (ssize_t)n) return 1;
    }
    shutdown(fd, SHUT_WR);
    for (ssize_t n; (n = recv(fd, bytes, sizeof bytes, 0)) > 0;) {
        fwrite(bytes, 1, (size_t)n, stdout);
        fflush(stdout);
    }
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--datagrams")) return print_datagrams(argv[2]);
    if (argc == 2) return talk(atoi(argv[1]));
    fprintf(stderr, "usage: raw PORT | raw --datagrams PATH\n");
    return 2;
}
