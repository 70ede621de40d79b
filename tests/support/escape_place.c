/* escape_place.c - see escape_place.h. */
#include "support/escape_place.h"

#include "testing.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

agent_dir  escape_dir;
ds4_tools *escape_tools;

static pid_t bystander;
static int   tcp_port, udp_port, tcp_fd, udp_fd, unix_fd, abstract_fd;

static int listen_inet(int type, int *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          n = sizeof a;
    const int          fd = socket(AF_INET, type, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0) return fd;
    if (type == SOCK_STREAM) listen(fd, 5);
    getsockname(fd, (struct sockaddr *)&a, &n);
    *port = ntohs(a.sin_port);
    return fd;
}

/* Bound from its own folder: a socket's path has at most 107 bytes. */
static int listen_unix(bool abstract)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    const int          fd = socket(AF_UNIX, SOCK_STREAM, 0), here = open(".", O_RDONLY);
    int                n = snprintf(a.sun_path + abstract, sizeof a.sun_path - 1, abstract ?
                                    "ds4-escape-%d" : "socket", getpid());
    if (!abstract && chdir(escape_dir.outside) != 0) return fd;
    n += (int)offsetof(struct sockaddr_un, sun_path) + 1;
    (void)!bind(fd, (struct sockaddr *)&a, (socklen_t)n);
    listen(fd, 5);
    (void)!fchdir(here);
    close(here);
    return fd;
}

static bool anybody_came(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, 0) > 0;
}

void escape_shell(const char *fmt, ...)
{
    char    command[3000];
    va_list args;
    va_start(args, fmt);
    vsnprintf(command, sizeof command, fmt, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

static ds4_permission never(void *ctx, const ds4_question *q)
{
    (void)ctx;
    (void)q;
    return DS4_PERMISSION_DENY;
}

void escape_make(unsigned without)
{
    const char *out = getenv("OUT");
    char       *program;
    char        path[4096];
    ds4_err     err = { 0 };

    snprintf(path, sizeof path, "%s/tests/tools/escape_helper", out ? out : "build");
    program = realpath(path, NULL);
    assert_non_null(program);           /* make test-programs builds it */

    agent_dir_make(&escape_dir, "escape_test");
    /* Where the root's repository is broken, git must not find the one that this project lies in. */
    setenv("GIT_CEILING_DIRECTORIES", escape_dir.top, 1);
    agent_put(escape_dir.root, "a.txt", "inside\n");
    agent_put(escape_dir.root, "sub/b.txt", "inside\n");
    agent_put(escape_dir.outside, "secret", "KEEP-OUT-7391\n");
    agent_put(escape_dir.outside, "folder/file", "KEEP-OUT-7391\n");
    agent_put(escape_dir.outside, "hard", "KEEP-OUT-7391\n");
    escape_shell("cd '%s' && ln -s ../outside out && ln -s ../outside/secret out_file && ln ../outside/hard "
                 "hard && "
          "cp '%s' helper && git init -q . && git config user.email a@b && git config user.name n && "
          "git add -A && git commit -qm first", escape_dir.root, program);
    free(program);
    if (!tcp_fd) {
        tcp_fd = listen_inet(SOCK_STREAM, &tcp_port);
        udp_fd = listen_inet(SOCK_DGRAM, &udp_port);
    }
    bystander = fork();
    if (bystander == 0) {
#ifdef __linux__
        /* As in a container that gives this to everybody: it makes nobody a process of a command. */
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);      /* a test that fails does not come to end it */
#endif
        for (;;) pause();
    }
    unix_fd = listen_unix(false);
    abstract_fd = listen_unix(true);
    const ds4_tools_options opt = { .root = escape_dir.root, .undo_dir = escape_dir.state, .ask = never,
                                    .without = without };
    if (ds4_tools_open(&opt, &escape_tools, &err) != DS4_OK) fail_msg("%s", err.text);
}

void escape_leave(void)
{
    kill(bystander, SIGKILL);
    waitpid(bystander, NULL, 0);
    ds4_tools_close(escape_tools);
    escape_tools = NULL;
    close(unix_fd);
    close(abstract_fd);
    agent_dir_remove(&escape_dir);
}

bool escape_anybody_came(void)
{
    return anybody_came(unix_fd) || anybody_came(abstract_fd) || anybody_came(tcp_fd) || anybody_came(udp_fd);
}

static void fill(const char *arguments, int number, ds4_str *out)
{
    const int numbers[] = { 0, getpid(), tcp_port, udp_port };

    for (const char *p = arguments; *p; p++) {
        if (*p != '%' || !strchr("OSRABH", p[1])) {
            ds4_str_add_char(out, *p);
            continue;
        }
        switch (*++p) {
        case 'O': ds4_str_add_text(out, escape_dir.outside); break;
        case 'S': ds4_str_add_text(out, escape_dir.state); break;
        case 'R': ds4_str_add_text(out, escape_dir.root); break;
        case 'A': ds4_str_addf(out, "%d", getpid()); break;
        case 'B': ds4_str_addf(out, "%d", (int)bystander); break;
        default:  /* %H NAME */
            ds4_str_addf(out, "./helper '%s' %d", escape_dir.outside, numbers[number]);
        }
    }
}

/* Arguments as JSON; of bash, the command is made one. */
void escape_run(const char *tool, const char *arguments, int number, ds4_tool_result *result)
{
    ds4_str text = { 0 }, json = { 0 };

    fill(arguments, number, &text);
    if (strcmp(tool, "bash") == 0) {
        ds4_str_add_text(&json, "{\"command\":\"");
        for (const char *p = text.data; *p; p++) {
            if (*p == '\n') ds4_str_add_text(&json, "\\n");
            else {
                if (*p == '"' || *p == '\\') ds4_str_add_char(&json, '\\');
                ds4_str_add_char(&json, *p);
            }
        }
        ds4_str_add_text(&json, "\",\"seconds\":20}");
    } else {
        ds4_str_add(&json, text.data, text.n_bytes);
    }
    const ds4_tool_call call = { DS4_SLICE("1"), { tool, strlen(tool) }, { json.data, json.n_bytes } };
    ds4_tools_call(escape_tools, &call, NULL, NULL, result);
    ds4_str_clear(&text);
    ds4_str_clear(&json);
}

void escape_bash(const char *command)
{
    ds4_tool_result result = { 0 };
    escape_run("bash", command, 0, &result);
    if (result.failed) fail_msg("%s", result.text.data);
    ds4_tool_result_clear(&result);
}

bool escape_bystander_lives(void)
{
    return waitpid(bystander, NULL, WNOHANG | WUNTRACED) == 0;
}

ds4_sandbox_kind escape_kind(unsigned without)
{
    agent_dir        dir;
    ds4_root        *root = NULL;
    ds4_sandbox     *s = NULL;
    ds4_sandbox_kind kind;

    agent_dir_make(&dir, "escape_kind");
    assert_int_equal(ds4_root_open(&root, dir.root, NULL), DS4_OK);
    assert_int_equal(ds4_sandbox_open(&s, root, dir.top, NULL, without, NULL), DS4_OK);
    kind = ds4_sandbox_get_kind(s);
    print_message("# %s\n", ds4_sandbox_sentence(s));
    ds4_sandbox_close(s);
    ds4_root_close(root);
    agent_dir_remove(&dir);
    return kind;
}
