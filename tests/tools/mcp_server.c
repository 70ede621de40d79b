/* mcp_server.c - an MCP server for tests: well-behaved, or with a fault to order.
 *
 *   mcp_server FAULT           over standard input and output
 *   mcp_server FAULT http      at http://127.0.0.1:PORT/mcp; prints the port, serves until it is killed
 *
 * Faults: none silent dies junk huge deep pages version many flood deaf wrong older; of HTTP also: once
 * forgets stream cut redirect key. It finds what it needs in a request by looking for it: its client writes
 * plain JSON. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_MESSAGE = 4 << 20, HUGE = 12 << 20, DEEP = 100000 };

static const char *fault;
static int         n_calls, n_lists;
static bool        changed;             /* another tool is there */

static bool is(const char *name)
{
    return strcmp(fault, name) == 0;
}

/* The id as it stands in the text. */
static long id_of(const char *message)
{
    const char *at = strstr(message, "\"id\":");
    return at ? atol(at + 5) : -1;
}

/* A text member of the message; "" for none. */
static const char *member(const char *message, const char *name, char *out, size_t n_out)
{
    char        key[64];
    const char *at;
    size_t      n = 0;

    snprintf(key, sizeof key, "\"%s\":\"", name);
    at = strstr(message, key);
    if (at) {
        for (at += strlen(key); *at && *at != '"' && n + 1 < n_out; at++) out[n++] = *at;
    }
    out[n] = '\0';
    return out;
}

/* ---- sending --------------------------------------------------------------------------------- */

typedef struct channel {
    int  fd;                            /* of HTTP; -1: standard output */
    bool streams;                       /* events */
} channel;

static void put(const channel *c, const char *data, size_t n)
{
    while (n > 0) {
        const ssize_t w = write(c->fd < 0 ? 1 : c->fd, data, n);
        if (w <= 0) return;
        data += w;
        n -= (size_t)w;
    }
}

static void put_text(const channel *c, const char *text)
{
    put(c, text, strlen(text));
}

static void send_message(const channel *c, const char *json)
{
    if (c->streams) put_text(c, "event: message\r\nid: 7\ndata: ");
    put_text(c, json);
    put_text(c, c->streams ? "\n\n" : "\n");
}

static void send_result(const channel *c, long id, const char *result)
{
    char *text = malloc(strlen(result) + 128);

    sprintf(text, "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"result\":%s}", id, result);
    send_message(c, text);
    free(text);
}

static void send_notice(const channel *c, const char *method, const char *params)
{
    char text[512];

    snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"method\":\"%.60s\",\"params\":%.300s}", method,
             params);
    send_message(c, text);
}

/* ---- answers --------------------------------------------------------------------------------- */

#define TOOL(name, rest) "{\"name\":\"" name "\",\"description\":\"Does " name ".\",\"inputSchema\":" \
                         "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}}}" rest "}"

static void list(const channel *c, const char *message)
{
    char cursor[64];

    n_lists++;
    if (is("pages")) {
        char text[128];
        snprintf(text, sizeof text, "{\"tools\":[],\"nextCursor\":\"%d\"}", n_lists);
        send_result(c, id_of(message), text);
    } else if (is("many")) {
        char *text = malloc(400000), *at = text + sprintf(text, "{\"tools\":[");
        for (int i = 0; i < 2000; i++) {
            at += sprintf(at, "%s{\"name\":\"t%d\",\"inputSchema\":{\"type\":\"object\"}}", i ? "," : "", i);
        }
        strcpy(at, "]}");
        send_result(c, id_of(message), text);
        free(text);
    } else if (!*member(message, "cursor", cursor, sizeof cursor)) {
        send_result(c, id_of(message),
                    "{\"tools\":[" TOOL("echo", ",\"annotations\":{\"readOnlyHint\":true}") "," TOOL(
                        "fail", "") "," TOOL("slow", "") ",{\"name\":\"without a schema\"},17],"
                                                         "\"nextCursor\":\"second\"}");
    } else {
        send_result(c, id_of(message), changed ? "{\"tools\":[" TOOL("rich", "") "," TOOL("new.tool", "") "]}"
                                               : "{\"tools\":[" TOOL("rich", "") "," TOOL("asks", "") ","
                                                 TOOL("change", "") "," TOOL("die", "") "]}");
    }
}

static void rich(const channel *c, long id)
{
    send_result(
        c, id,
        "{\"content\":[{\"type\":\"text\",\"text\":\"one\\ud800\\u0000\"},"
        "{\"type\":\"image\",\"mimeType\":\"image/png\",\"data\":\"AAAABBBB\"},"
        "{\"type\":\"resource_link\",\"uri\":\"file:///a\",\"name\":\"a\",\"description\":\"a file\"},"
        "{\"type\":\"resource\",\"resource\":{\"uri\":\"mem:b\",\"mimeType\":\"text/"
        "plain\",\"text\":\"two\"}},"
        "{\"type\":\"hologram\"}],\"structuredContent\":{\"n\":184467440737095516160}}");
}

static void call(const channel *c, const char *message)
{
    const long id = id_of(message);
    char       name[64], text[4096], reply[8192];

    member(message, "name", name, sizeof name);
    member(message, "text", text, sizeof text);
    n_calls++;
    if (strcmp(name, "echo") == 0) {
        snprintf(reply, sizeof reply, "{\"content\":[{\"type\":\"text\",\"text\":\"echo: %s\"}]}", text);
        send_result(c, id, reply);
    } else if (strcmp(name, "fail") == 0) {
        send_result(c, id, "{\"content\":[{\"type\":\"text\",\"text\":\"it broke\"}],\"isError\":true}");
    } else if (strcmp(name, "slow") == 0) {
        snprintf(reply, sizeof reply, "{\"progressToken\":%ld,\"progress\":1}", id);
        for (int i = 0; i < (*text ? atoi(text) : 4); i++) {
            send_notice(c, "notifications/progress", reply);
            usleep(150000);
        }
        send_result(c, id, "{\"content\":[{\"type\":\"text\",\"text\":\"at last\"}]}");
    } else if (strcmp(name, "rich") == 0) {
        rich(c, id);
    } else if (strcmp(name, "change") == 0) {
        changed = true;
        send_notice(c, "notifications/tools/list_changed", "{}");
        send_result(c, id, "{\"content\":[]}");
    } else if (strcmp(name, "die") == 0 && c->fd < 0) {
        fputs("giving up\n", stderr);
        exit(1);
    } else {
        snprintf(reply, sizeof reply, "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"error\":{\"code\":-32602,"
                 "\"message\":\"no tool %s\"}}", id, name);
        send_message(c, reply);
    }
}

static void misbehave(const channel *c, long id)
{
    if (is("huge")) {
        char *text = malloc(HUGE + 1);
        memset(text, 'x', HUGE);
        text[HUGE] = '\n';
        put(c, text, HUGE + 1);
        free(text);
    } else if (is("deep")) {
        char *text = malloc(DEEP + 1);
        memset(text, '[', DEEP);
        text[DEEP] = '\0';
        send_message(c, text);
        free(text);
    } else if (is("flood")) {
        for (;;) send_notice(c, "notifications/message", "{\"level\":\"info\",\"data\":\"again\"}");
    } else if (is("older")) {
        send_message(c, "{\"jsonrpc\":\"1.0\",\"id\":1,\"result\":{}}");
    } else if (is("wrong")) {
        send_message(c, "{\"jsonrpc\":\"2.0\",\"id\":{\"a\":1},\"result\":{}}");
        send_message(c, "{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{}}");
        send_message(c, "[]");
        send_message(c, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":5}");
        send_message(c, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":1}}");
        send_result(c, id, "[\"no\",\"object\"]");
    }
}

static void begin(const channel *c, const char *message)
{
    if (is("silent")) return;
    if (is("dies")) {
        fputs("\033[31mno licence\033[0m\n", stderr);
        exit(1);
    }
    if (is("huge") || is("deep") || is("flood") || is("wrong") || is("older")) {
        misbehave(c, id_of(message));
        return;
    }
    if (is("junk")) put_text(c, "starting...\n\n\xff\xfe\r\n");
    send_result(c, id_of(message), is("version") ? "{\"protocolVersion\":\"1999-01-01\",\"capabilities\":{}}"
                : "{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{\"tools\":{\"listChanged\":true}},"
                  "\"serverInfo\":{\"name\":\"tests\",\"version\":\"1\"}}");
}

/* The tool "asks" sends requests of its own and answers when it has both replies. */
static bool asks(const channel *c, const char *message)
{
    static long waiting = -1;
    static int  n_replies;

    if (strstr(message, "\"name\":\"asks\"")) {
        waiting = id_of(message);
        n_replies = 0;
        send_message(c, "{\"jsonrpc\":\"2.0\",\"id\":\"r1\",\"method\":\"roots/list\"}");
        send_message(
            c, "{\"jsonrpc\":\"2.0\",\"id\":\"r2\",\"method\":\"sampling/createMessage\",\"params\":{}}");
        return true;
    }
    if (waiting < 0 || (!strstr(message, "\"r1\"") && !strstr(message, "\"r2\""))) return false;
    n_replies += strstr(message, "\"uri\":\"file:///") || strstr(message, "-32601");
    if (n_replies == 2) {
        send_result(c, waiting, "{\"content\":[{\"type\":\"text\",\"text\":\"both replied\"}]}");
        waiting = -1;
    }
    return true;
}

static void take(const channel *c, const char *message)
{
    if (asks(c, message)) return;
    if (strstr(message, "\"method\":\"initialize\"")) begin(c, message);
    else if (strstr(message, "\"method\":\"tools/list\"")) list(c, message);
    else if (strstr(message, "\"method\":\"tools/call\"")) call(c, message);
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

static void status(const channel *c, const char *line, const char *more)
{
    char head[512];

    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nConnection: close\r\n%s\r\n", line, more);
    put_text(c, head);
}

static void serve_post(channel *c, const char *head, const char *body)
{
    const bool begins = strstr(body, "\"method\":\"initialize\"") != NULL;

    if (is("redirect")) {
        status(c, "307 Elsewhere", "Location: http://127.0.0.1:1/stolen\r\n");
    } else if (is("key") && !strstr(head, "Authorization: Bearer sesame")) {
        status(c, "401 Unauthorized", "");
        put_text(c, "a key, please");
    } else if (!begins &&
               (!strstr(head, "Mcp-Session-Id: s-1") || !strstr(head, "MCP-Protocol-Version: 2025-06-18"))) {
        status(c, "400 Bad Request", "");
    } else if (is("forgets") && strstr(body, "tools/call") && n_calls++ == 0) {
        status(c, "404 Not Found", "");
    } else if (!strstr(body, "\"method\"") || id_of(body) < 0) {
        status(c, "202 Accepted", "Content-Length: 0\r\n");
        take(c, body);
    } else if (is("cut") && strstr(body, "tools/call")) {
        status(c, "200 OK", "Content-Type: text/event-stream\r\n");
        put_text(c, "id: 41\nretry: 50\ndata:\n\n");
        n_calls = (int)id_of(body);
    } else {
        c->streams = !is("once");
        char more[256];
        snprintf(more, sizeof more, "Content-Type: %s\r\n%s",
                 c->streams ? "text/event-stream; charset=utf-8" : "application/json",
                 begins ? "MCP-Session-Id: s-1\r\n" : "");
        status(c, "200 OK", more);
        if (c->streams) put_text(c, ": a comment\n\n");
        take(c, body);
    }
}

static void serve(int fd)
{
    static char buffer[MAX_MESSAGE];
    size_t      n = 0, want = 0;
    char       *body = NULL;
    channel     c = { .fd = fd };

    while (n + 1 < sizeof buffer && (!body || n < want)) {
        const ssize_t got = read(fd, buffer + n, sizeof buffer - 1 - n);
        if (got <= 0) return;
        n += (size_t)got;
        buffer[n] = '\0';
        if (body || !(body = strstr(buffer, "\r\n\r\n"))) continue;
        *body = '\0';
        body += 4;
        const char *length = strcasestr(buffer, "content-length:");
        want = (size_t)(body - buffer) + (length ? strtoul(length + 15, NULL, 10) : 0);
    }
    if (strncmp(buffer, "POST /mcp ", 10) == 0) {
        serve_post(&c, buffer, body);
    } else if (strncmp(buffer, "GET /mcp ", 9) == 0 && is("cut") && strstr(buffer, "Last-Event-ID: 41")) {
        c.streams = true;
        status(&c, "200 OK", "Content-Type: text/event-stream\r\n");
        send_result(&c, n_calls, "{\"content\":[{\"type\":\"text\",\"text\":\"taken up again\"}]}");
    } else {
        status(&c, strncmp(buffer, "DELETE ", 7) == 0 ? "200 OK" : "405 Method Not Allowed", "");
    }
}

static int serve_http(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          n = sizeof at;
    const int          fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *)&at, n) != 0 || listen(fd, 16) != 0) return 1;
    getsockname(fd, (struct sockaddr *)&at, &n);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        const int client = accept(fd, NULL, NULL);
        if (client < 0) continue;
        serve(client);
        close(client);
    }
}

int main(int argc, char **argv)
{
    const channel c = { .fd = -1 };
    char         *line = malloc(MAX_MESSAGE);

    fault = argc > 1 ? argv[1] : "none";
    signal(SIGPIPE, SIG_IGN);
    if (argc > 2) return serve_http();
    if (is("deaf")) pause();
    while (fgets(line, MAX_MESSAGE, stdin)) take(&c, line);
    free(line);
    return 0;
}
