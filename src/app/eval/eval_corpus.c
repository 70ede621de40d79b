/* eval_corpus.c - ds4-eval corpus: conversations become the text that a model reads. */
#include "app/eval/eval.h"
#include "app/eval/mini_case.h"
#include "app/eval/texts.h"
#include "base/file.h"
#include "base/output.h"
#include "text/chat.h"

#include <string.h>

enum { MAX_FILE_BYTES = 1 << 30 };

typedef struct job {
    const char *cases_path, *out_path;
    uint32_t    every, first;       /* lines first, first + every, ... */
    ds4_output *out;
    uint32_t    n_lines, n_written;
} job;

/* A conversation up to where the model has to answer, and a line that parts it from the next. */
static ds4_status write_case(job *j, const ds4_case *c, ds4_err *err)
{
    ds4_segments           text = { 0 };
    const ds4_chat_options chat = { .thinking = c->thinking, .tools = c->tools, .n_tools = c->n_tools };

    ds4_status st = ds4_chat_render(c->history.messages, c->history.n, &chat, &text, err);
    if (st == DS4_OK && (text.failed || text.text.failed)) {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for a conversation");
    }
    if (st == DS4_OK) ds4_segments_own(&text, "\n" DS4_EVAL_SEPARATOR "\n");
    const ds4_slice all = ds4_segments_text(&text);
    if (st == DS4_OK) st = ds4_output_write(j->out, all.data, all.n_bytes, err);
    if (st == DS4_OK) j->n_written++;
    ds4_segments_clear(&text);
    return st;
}

static ds4_status take_line(job *j, ds4_slice line, ds4_err *err)
{
    ds4_case   c = { .tools = NULL };
    ds4_err    why = { .code = DS4_OK };
    ds4_status st = DS4_OK;

    j->n_lines++;
    if (line.n_bytes == 0 || (j->n_lines - 1) % j->every != j->first % j->every) return DS4_OK;
    st = ds4_case_read(line, &c, &why);
    if (st == DS4_OK) st = write_case(j, &c, &why);
    ds4_case_clear(&c);
    return st == DS4_OK ? st : ds4_fail(err, st, "%s: line %u: %s", j->cases_path, j->n_lines, why.text);
}

static ds4_status write_all(job *j, ds4_err *err)
{
    ds4_str cases = { 0 };

    ds4_status st = ds4_file_read(j->cases_path, MAX_FILE_BYTES, &cases, err);
    if (st == DS4_OK) st = ds4_output_open(&j->out, j->out_path, err);
    for (size_t at = 0; st == DS4_OK && at < cases.n_bytes;) {
        const char  *end = memchr(cases.data + at, '\n', cases.n_bytes - at);
        const size_t n = end ? (size_t)(end - cases.data) - at : cases.n_bytes - at;
        st = take_line(j, (ds4_slice){ cases.data + at, n }, err);
        at += n + 1;
    }
    if (st == DS4_OK) st = ds4_output_commit(j->out, err);
    else ds4_output_drop(j->out);
    ds4_str_clear(&cases);
    return st;
}

int ds4_eval_corpus(const char *argv0, int argc, char **argv)
{
    job     j = { .every = 1 };
    ds4_err err = { .code = DS4_OK };
    const ds4_option options[] = {
        DS4_OPT_TEXT(0, "cases", "FILE", &j.cases_path,
                     "conversations, one JSON object a line: messages, and\nperhaps tools and thinking"),
        DS4_OPT_TEXT('o', "out", "FILE", &j.out_path, "file to write; - for standard output"),
        DS4_OPT_U32(0, "every", "N", &j.every, 1, 1 << 20, "take one line in N [1]"),
        DS4_OPT_U32(0, "first", "K", &j.first, 0, 1 << 20, "with --every: begin behind K lines [0]"),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = DS4_EVAL_NAME,
        .usage = "ds4-eval corpus --cases FILE --out FILE [options]",
        .about = "Write conversations as the model reads them, for imatrix and kld with --special. The\n"
                 "cases of ds4-eval mini are in this form. Names of special tokens that somebody wrote\n"
                 "in a message become those tokens too.",
        .options = options,
    };
    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, NULL, NULL);

    (void)argv0;
    if (parsed != DS4_PARSED_RUN) return ds4_eval_parsed(parsed);
    if (!j.cases_path || !j.out_path) {
        ds4_app_say(DS4_EVAL_NAME, "corpus needs --cases and --out");
        return DS4_EXIT_WRONG;
    }
    if (write_all(&j, &err) != DS4_OK) {
        const int code = ds4_app_failed(DS4_EVAL_NAME, &err);
        return err.code == DS4_E_FORMAT ? DS4_EXIT_WRONG : code;
    }
    ds4_app_say(DS4_EVAL_NAME, "%s: %u conversations", j.out_path, j.n_written);
    return DS4_EXIT_OK;
}
