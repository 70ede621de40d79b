/* acp_fuzz.c - any bytes as what an editor says: each message that wants an answer gets one, all of it is
 * JSON-RPC, and the end is reached. */
#include "app/agent/acp.h"
#include "text/utf8.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static ds4_status open_none(void *ctx, const char *cwd, const char *id, const json_t *servers,
                            const ds4_front *front, ds4_agent **out, ds4_err *err)
{
    (void)ctx, (void)id, (void)servers, (void)front, (void)out;
    if (*cwd != '/') abort();
    return ds4_fail(err, DS4_E_IO, "%.100s: not opened", cwd);
}

static void count_answer(void *ctx, const ds4_rpc_message *m)
{
    size_t *n = ctx;

    if (m->kind != DS4_RPC_RESULT && m->kind != DS4_RPC_ERROR) abort();
    ++*n;
}

static void count_question(void *ctx, const ds4_rpc_message *m)
{
    size_t *n = ctx;

    *n += m->kind == DS4_RPC_REQUEST || m->kind == DS4_RPC_WRONG;
}

/* The lines of a text, counted by each(); those that are no JSON count as one. */
static size_t count(const char *data, size_t n_bytes, ds4_rpc_each_fn *each)
{
    ds4_rpc_lines l = { .max_bytes = 1 << 20 };
    ds4_slice     line;
    size_t        n = 0;

    ds4_rpc_lines_add(&l, data, n_bytes);
    while (ds4_rpc_lines_next(&l, &line)) n += ds4_rpc_each(line, each, &n, NULL) != DS4_OK;
    ds4_rpc_lines_clear(&l);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    ds4_err err = { .code = DS4_OK };
    FILE   *in = tmpfile(), *out = tmpfile();
    char   *answers = NULL;

    if (!in || !out || (n_bytes && fwrite(data, 1, n_bytes, in) != n_bytes)) abort();
    fflush(in);
    rewind(in);
    const ds4_acp_host host = { .open = open_none, .mode = "work", .in = fileno(in), .out = fileno(out) };
    if (lseek(host.in, 0, SEEK_SET) != 0 || ds4_acp_serve(&host, &err) != DS4_OK) abort();
    const off_t n_answers = lseek(host.out, 0, SEEK_END);
    answers = malloc((size_t)n_answers + 1);
    if (!answers || pread(host.out, answers, (size_t)n_answers, 0) != n_answers) abort();
    /* Sessions that wait to be opened when the input ends are not answered. */
    if (count(answers, (size_t)n_answers, count_answer) > count((const char *)data, n_bytes, count_question))
        abort();
    free(answers);
    fclose(in);
    fclose(out);
    return 0;
}
