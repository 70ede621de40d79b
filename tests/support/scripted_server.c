/* scripted_server.c - see scripted_server.h. */
#include "support/scripted_server.h"

#include "support/kv_dir.h"
#include "testing.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { START_MS = 60000 };

static void program_path(char path[512])
{
    const char *out = getenv("OUT");

    snprintf(path, 512, "%.480s/ds4-server-scripted", out ? out : "build");
}

static void inside(const scripted_server *s, const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", s->dir, name);
}

static void run_program(const scripted_server *s)
{
    const char *model = "models/ds4-mini.gguf";
    char        program[512], script[512], log[512], kept[512];

    program_path(program);
    inside(s, "script", script);
    inside(s, "log", log);
    inside(s, "kept", kept);
    if (access(model, R_OK) != 0) model = "tests/golden/flashlike.gguf";
    const int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0) _exit(126);
    execl(program, program, "-m", model, "--port", "0", "--ctx", "65536", "-t", "2", "--api-key",
          "sesame", "--kv-disk-dir", kept, "--script", script, (char *)NULL);
    _exit(127);
}

/* The port that it says it listens on, or 0 so far. */
static unsigned port_in_log(const scripted_server *s)
{
    char     path[512], line[1024];
    unsigned port = 0;

    inside(s, "log", path);
    FILE *file = fopen(path, "r");
    while (file && port == 0 && fgets(line, sizeof line, file)) {
        const char *at = strstr(line, "listening on http://127.0.0.1:");
        if (at && strchr(line, '\n')) port = (unsigned)strtoul(at + 30, NULL, 10);
    }
    if (file) fclose(file);
    return port;
}

static void launch(scripted_server *s)
{
    char path[512];

    inside(s, "log", path);
    unlink(path);
    s->port = 0;
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) run_program(s);
    for (int waited = 0; waited < START_MS && s->port == 0; waited += 10) {
        usleep(10 * 1000);
        s->port = port_in_log(s);
    }
    if (s->port == 0) fail_msg("the server did not start");
}

static bool end(scripted_server *s)
{
    int status = 0;

    if (s->pid <= 0) return true;
    kill(s->pid, SIGTERM);
    const bool found = waitpid(s->pid, &status, 0) == s->pid;
    s->pid = 0;
    return found && status == 0;
}

void scripted_server_start(scripted_server *s, const char *script)
{
    char path[512];

    program_path(path);
    if (access(path, X_OK) != 0) fail_msg("%s is not built", path);
    test_temp_path(s->dir, "scripted");
    assert_int_equal(0, mkdir(s->dir, 0700));
    inside(s, "script", path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(script, file) >= 0 && fclose(file) == 0);
    launch(s);
}

void scripted_server_restart(scripted_server *s)
{
    assert_true(end(s));
    launch(s);
}

bool scripted_server_stop(scripted_server *s)
{
    char       path[512];
    const bool well = end(s);

    if (!s->dir[0]) return well;
    inside(s, "kept", path);
    kv_dir_remove(path);
    kv_dir_remove(s->dir);
    s->dir[0] = '\0';
    return well;
}

uint32_t scripted_server_parted(const scripted_server *s, long *n_read)
{
    char     path[512], line[1024];
    uint32_t n_common = 0;

    inside(s, "log", path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(0, fseek(file, *n_read, SEEK_SET));
    while (fgets(line, sizeof line, file)) {
        const char *at = strstr(line, " cache "), *common = at ? strstr(at, " common=") : NULL;
        if (common) n_common = (uint32_t)strtoul(common + 8, NULL, 10);
    }
    *n_read = ftell(file);
    fclose(file);
    return n_common;
}

/* ---- one exchange --------------------------------------------------------------------------- */

static void send_all(int fd, const char *data, size_t n_bytes)
{
    while (n_bytes > 0) {
        const ssize_t n = send(fd, data, n_bytes, 0);
        assert_true(n > 0);
        data += n;
        n_bytes -= (size_t)n;
    }
}

/* The body, out of its chunks if it has any. */
static void take_body(const char *at, bool chunked, ds4_str *body)
{
    if (!chunked) {
        ds4_str_add_text(body, at);
        return;
    }
    for (;;) {
        char        *data;
        const size_t n = strtoul(at, &data, 16);
        assert_true(data != at && !strncmp(data, "\r\n", 2));
        if (n == 0) return;
        assert_true(strlen(data) >= n + 4);
        ds4_str_add(body, data + 2, n);
        at = data + 2 + n + 2;
    }
}

int scripted_server_ask(const scripted_server *s, const ds4_str *request, bool is_head, ds4_str *body)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)s->port),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    ds4_str            all = { 0 };
    char               part[8192];
    ssize_t            n;
    const int          fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(0, connect(fd, (const struct sockaddr *)&to, sizeof to));
    send_all(fd, request->data, request->n_bytes);
    while ((n = recv(fd, part, sizeof part, 0)) > 0) ds4_str_add(&all, part, (size_t)n);
    close(fd);
    const char *head = ds4_str_text(&all), *gap = strstr(head, "\r\n\r\n");
    if (n < 0 || !gap || strncmp(head, "HTTP/1.1 ", 9) != 0) fail_msg("no HTTP: %.200s", head);
    const char *chunked = strcasestr(head, "\r\nTransfer-Encoding: chunked");
    if (!is_head) take_body(gap + 4, chunked && chunked < gap, body);
    const int status = atoi(head + 9);
    ds4_str_clear(&all);
    return status;
}
