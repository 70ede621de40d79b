/* http_head.c - see http_head.h. */
#include "app/server/http_head.h"

#include <string.h>
#include <strings.h>

static const char digits[] = "0123456789";
static const char alphanumeric[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static bool refuse(ds4_http_fault *fault, int status, const char *message)
{
    *fault = (ds4_http_fault){ status, message };
    return false;
}

/* RFC 9110, 5.6.2. */
static bool is_token(const char *text)
{
    const char *at = text;

    while (*at && (strchr(alphanumeric, *at) || strchr("!#$%&'*+-.^_`|~", *at))) at++;
    return at > text && !*at;
}

size_t ds4_http_head_end(const char *bytes, size_t n, size_t *seen, ds4_http_fault *fault)
{
    for (size_t i = *seen; i < n; i++) {
        if (bytes[i] != '\n') continue;
        if (i == 0 || bytes[i - 1] != '\r') {
            refuse(fault, 400, "a line of the request does not end with CR LF");
            return 0;
        }
        if (i >= 3 && bytes[i - 2] == '\n') return i + 1;
    }
    *seen = n;
    return 0;
}

/* ---- host ------------------------------------------------------------------------------------ */

static bool is_port(const char *text)
{
    const size_t n = strspn(text, digits);
    unsigned     port = 0;

    if (n > 5 || text[n]) return false;
    for (size_t i = 0; i < n; i++) port = port * 10 + (unsigned)(text[i] - '0');
    return port <= 65535;
}

/* Is it HOST or HOST:PORT: a name, an IPv4 address, or an IPv6 address in brackets? */
static bool is_authority(const char *text)
{
    size_t n;

    if (*text == '[') {
        n = strspn(text + 1, "0123456789abcdefABCDEF:.");
        if (n < 2 || text[n + 1] != ']') return false;
        n += 2;
    } else {
        n = strcspn(text, ":");
        for (size_t i = 0; i < n; i++) {
            if (!strchr(alphanumeric, text[i]) && !strchr("-._~%!$&'()*+,;=", text[i]))
                return false;
        }
        if (n == 0) return false;
    }
    return !text[n] || (text[n] == ':' && is_port(text + n + 1));
}

/* ---- request line ----------------------------------------------------------------------------- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool is_escape(const char *text)
{
    const int high = hex_value(text[1]);
    const int low = high < 0 ? -1 : hex_value(text[2]);

    return low >= 0 && high * 16 + low > 0;
}

/* Resolve percent escapes in place; false, with the text as it was, when one is none or gives a zero
 * byte. */
static bool unescape(char *path)
{
    char *out = path;

    for (const char *in = path; *in; in++) {
        if (*in == '%' && !is_escape(in)) return false;
    }
    for (const char *in = path; *in; in++) {
        if (*in != '%') {
            *out++ = *in;
            continue;
        }
        *out++ = (char)(hex_value(in[1]) * 16 + hex_value(in[2]));
        in += 2;
    }
    *out = '\0';
    return true;
}

/* The parameters of a query, as forms write them. One that is badly escaped stays as it is. */
static void read_query(char *at, ds4_http_head *head)
{
    while (*at && head->n_params < DS4_HTTP_MAX_PARAMS) {
        char *next = at + strcspn(at, "&");
        if (*next) *next++ = '\0';
        char *value = at + strcspn(at, "=");
        if (*value) *value++ = '\0';
        for (char *c = value; *c; c++) *c = *c == '+' ? ' ' : *c;
        unescape(at);
        unescape(value);
        head->param[head->n_params++] = (ds4_http_field){ at, value };
        at = next;
    }
}

/* The path of a target, and the authority of one in absolute form (RFC 9112, 3.2.2): proxies ask
 * for "http://host:port/path". */
static bool read_target(char *target, ds4_http_head *head, const char **authority,
                        ds4_http_fault *fault)
{
    const size_t scheme = !strncasecmp(target, "http://", 7)    ? 7
                          : !strncasecmp(target, "https://", 8) ? 8
                                                                : 0;
    char        *path = target;

    target[strcspn(target, "#")] = '\0';
    char      *query = target + strcspn(target, "?");
    const bool has_query = *query != '\0';
    *query = '\0';
    if (has_query) read_query(query + 1, head);
    if (scheme) {
        const size_t n = strcspn(target + scheme, "/");
        char        *host = target + scheme - 1; /* moved by one: a zero byte fits behind it */
        path = target + scheme + n;
        memmove(host, target + scheme, n);
        host[n] = '\0';
        if (!is_authority(host)) return refuse(fault, 400, "the target names no host");
        *authority = host;
    } else if (*path != '/' && (strcmp(path, "*") != 0 || strcmp(head->method, "OPTIONS") != 0)) {
        return refuse(fault, 400, "the target is no path");
    }
    if (!unescape(path)) return refuse(fault, 400, "the path has a bad percent escape");
    head->path = *path ? path : "/";
    return true;
}

static bool read_version(const char *version, ds4_http_head *head, ds4_http_fault *fault)
{
    if (strncmp(version, "HTTP/", 5) || strspn(version + 5, digits) != 1 || version[6] != '.' ||
        strspn(version + 7, digits) != 1 || version[8]) {
        return refuse(fault, 400, "the request line has no version of HTTP");
    }
    if (version[5] != '1') return refuse(fault, 505, "this server speaks HTTP/1.1");
    head->minor = (uint32_t)(version[7] - '0');
    return true;
}

static bool read_request_line(char *line, ds4_http_head *head, const char **authority,
                              ds4_http_fault *fault)
{
    char *target = strchr(line, ' ');
    char *version = target ? strchr(target + 1, ' ') : NULL;

    if (!version) return refuse(fault, 400, "the first line is no request line");
    *target++ = *version++ = '\0';
    if (!is_token(line)) return refuse(fault, 400, "the method is no word");
    head->method = line;
    for (const char *at = target; *at; at++) {
        if ((unsigned char)*at <= ' ' || *at == 0x7f) {
            return refuse(fault, 400, "the target holds a control character");
        }
    }
    if (!read_version(version, head, fault)) return false;
    return read_target(target, head, authority, fault);
}

/* ---- fields ----------------------------------------------------------------------------------- */

static bool read_field(char *line, ds4_http_head *head, ds4_http_fault *fault)
{
    char *colon = strchr(line, ':');

    if (*line == ' ' || *line == '\t') return refuse(fault, 400, "a header line is folded");
    if (!colon) return refuse(fault, 400, "a header line has no colon");
    *colon = '\0';
    if (!is_token(line)) return refuse(fault, 400, "the name of a header is no word");
    char  *value = colon + 1 + strspn(colon + 1, " \t");
    size_t n = strlen(value);
    while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t')) n--;
    value[n] = '\0';
    for (const char *at = value; *at; at++) {
        if (((unsigned char)*at < ' ' && *at != '\t') || *at == 0x7f) {
            return refuse(fault, 400, "a header holds a control character");
        }
    }
    if (head->n_fields == DS4_HTTP_MAX_FIELDS)
        return refuse(fault, 431, "there are more than 100 headers");
    head->field[head->n_fields++] = (ds4_http_field){ line, value };
    return true;
}

static uint32_t count(const ds4_http_head *head, const char *name)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < head->n_fields; i++) n += !strcasecmp(head->field[i].name, name);
    return n;
}

/* Is a word among the values of a field that is a list? */
static bool lists(const ds4_http_head *head, const char *name, const char *word)
{
    const size_t n_word = strlen(word);

    for (uint32_t i = 0; i < head->n_fields; i++) {
        if (strcasecmp(head->field[i].name, name)) continue;
        for (const char *at = head->field[i].value; *at; at += strcspn(at, ",")) {
            at += strspn(at, ", \t");
            if (strcspn(at, ", \t") == n_word && !strncasecmp(at, word, n_word)) return true;
        }
    }
    return false;
}

/* One Host and a whole one (RFC 9112, 3.2); that of a target in absolute form counts before it. */
static bool check_host(ds4_http_head *head, const char *authority, ds4_http_fault *fault)
{
    const uint32_t n = count(head, "Host");

    if (n > 1) return refuse(fault, 400, "there are two Host headers");
    if (n == 0 && head->minor > 0) return refuse(fault, 400, "the Host header is missing");
    for (uint32_t i = 0; i < head->n_fields; i++) {
        ds4_http_field *f = &head->field[i];
        if (strcasecmp(f->name, "Host")) continue;
        if (*f->value && !is_authority(f->value)) {
            return refuse(fault, 400, "the Host header is no host");
        }
        if (authority) f->value = authority;
    }
    return true;
}

/* The length of the body (RFC 9112, 6). Lengths that are equal may be many. */
static bool read_length(ds4_http_head *head, ds4_http_fault *fault)
{
    const char *coding = ds4_http_head_get(head, "Transfer-Encoding");
    const char *first = ds4_http_head_get(head, "Content-Length");

    if (coding && first) return refuse(fault, 400, "the request has a length and is chunked too");
    if (coding && head->minor == 0) return refuse(fault, 400, "HTTP/1.0 has no Transfer-Encoding");
    if (coding) {
        head->chunked = true;
        if (count(head, "Transfer-Encoding") == 1 && !strcasecmp(coding, "chunked")) return true;
        if (lists(head, "Transfer-Encoding", "chunked")) {
            return refuse(fault, 400, "chunked must be the only Transfer-Encoding");
        }
        return refuse(fault, 501, "no Transfer-Encoding but chunked is known here");
    }
    for (uint32_t i = 0; i < head->n_fields; i++) {
        const char *value = head->field[i].value;
        if (strcasecmp(head->field[i].name, "Content-Length")) continue;
        if (strcmp(value, first)) return refuse(fault, 400, "there are two lengths that differ");
        const size_t n = strspn(value, digits);
        if (n == 0 || value[n]) return refuse(fault, 400, "the Content-Length is no number");
        if (n > 18) return refuse(fault, 413, "the Content-Length is too large");
    }
    for (const char *at = first; at && *at; at++)
        head->n_body = head->n_body * 10 + (uint64_t)(*at - '0');
    return true;
}

static bool read_meaning(ds4_http_head *head, const char *authority, ds4_http_fault *fault)
{
    const char *expect = ds4_http_head_get(head, "Expect");

    if (!check_host(head, authority, fault) || !read_length(head, fault)) return false;
    if (expect && strcasecmp(expect, "100-continue")) {
        return refuse(fault, 417, "no expectation but 100-continue is known here");
    }
    head->expects = expect && head->minor > 0;
    head->keep = head->minor > 0 ? !lists(head, "Connection", "close")
                                 : lists(head, "Connection", "keep-alive");
    return true;
}

bool ds4_http_head_read(char *bytes, size_t n, ds4_http_head *head, ds4_http_fault *fault)
{
    char       *end = bytes + n - 2; /* the empty line */
    const char *authority = NULL;

    *head = (ds4_http_head){ .method = "", .path = "" };
    if (memchr(bytes, 0, (size_t)(end - bytes)))
        return refuse(fault, 400, "the head holds a zero byte");
    *end = '\0';
    for (char *line = bytes; line < end;) {
        char *next = strchr(line, '\n') + 1;
        next[-2] = '\0';
        if (strchr(line, '\r')) return refuse(fault, 400, "a line of the head holds a CR");
        if (line == bytes ? !read_request_line(line, head, &authority, fault)
                          : !read_field(line, head, fault)) {
            return false;
        }
        line = next;
    }
    return read_meaning(head, authority, fault);
}

const char *ds4_http_head_get(const ds4_http_head *head, const char *name)
{
    for (uint32_t i = 0; i < head->n_fields; i++) {
        if (!strcasecmp(head->field[i].name, name)) return head->field[i].value;
    }
    return NULL;
}
