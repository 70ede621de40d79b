/* look_commands.c - ds4-quantize inspect and verify; see file_commands.h. */
#include "app/quantize/file_commands.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "app/common/app.h"
#include "app/common/gguf_show.h"
#include "app/common/options.h"
#include "app/common/program_dir.h"
#include "app/quantize/verify.h"
#include "base/file.h"
#include "base/team.h"

static const char program[] = "ds4-quantize";

enum { MAX_THREADS = 256, MAX_LIST = 1 << 20, DIGITS = 2 * DS4_SHA256_BYTES };

static int failed(const ds4_err *err)
{
    const int code = ds4_app_failed(program, err);
    return err->code == DS4_E_FORMAT || err->code == DS4_E_UNSUPPORTED ? DS4_EXIT_WRONG : code;
}

/* Parse a command with one word, its file. Returns -1 to go on, else an exit code. */
static int parse(const ds4_command *command, int argc, char **argv, const char *file[1])
{
    uint32_t n = 0;

    switch (ds4_command_parse(command, argc, argv, file, &n)) {
    case DS4_PARSED_DONE:  return DS4_EXIT_OK;
    case DS4_PARSED_WRONG: return DS4_EXIT_WRONG;
    case DS4_PARSED_RUN:   break;
    }
    if (n == 1) return -1;
    ds4_app_say(program, "missing model file");
    return DS4_EXIT_WRONG;
}

/* ---- inspect ------------------------------------------------------------------------------------ */

int inspect_main(int argc, char **argv)
{
    static const ds4_option none[] = { { .kind = DS4_OPTION_END } };
    const ds4_command       command = {
        .name = "ds4-quantize inspect",
        .usage = "ds4-quantize inspect FILE",
        .about = "Prints keys and tensors of any GGUF file, also of one that is no whole model. What a\n"
                 "model is made of: ds4 -m FILE --inspect.",
        .options = none,
        .max_words = 1,
    };
    const char *file[1] = { NULL };
    ds4_gguf   *g = NULL;
    ds4_err     err = { .code = DS4_OK };

    const int code = parse(&command, argc, argv, file);
    if (code >= 0) return code;
    if (ds4_gguf_open(file[0], &g, &err) != DS4_OK) return failed(&err);
    printf("file        ");
    ds4_app_print(stdout, ds4_gguf_path(g));
    printf("\nbytes       %llu in %u file%s\n", (unsigned long long)ds4_gguf_file_bytes(g),
           ds4_gguf_n_files(g), ds4_gguf_n_files(g) == 1 ? "" : "s");
    ds4_gguf_show_keys(g);
    ds4_gguf_show_types(g);
    ds4_gguf_show_tensors(g);
    ds4_gguf_close(g);
    return ds4_app_flush(program) ? DS4_EXIT_OK : DS4_EXIT_FAILURE;
}

/* ---- verify ------------------------------------------------------------------------------------- */

static void show_progress(void *ctx, uint64_t n_done, uint64_t n_total, const char *what)
{
    (void)ctx;
    ds4_term_progress("%u %%  %s", (unsigned)(100 * (n_done >> 10) / ((n_total >> 10) + 1)), what);
}

/* The list of published files beside the program, in the tree or installed; empty if it is not there. */
static void read_list(const char *argv0, ds4_str *list)
{
    static const char *const places[] = { "models", "../models", "../../models", "../share/ds4" };
    ds4_str                  dir = { 0 }, path = { 0 };
    ds4_err                  ignored = { .code = DS4_OK };

    ds4_program_dir(argv0, &dir);
    for (size_t i = 0; i < sizeof places / sizeof places[0] && dir.n_bytes > 0; i++) {
        ds4_str_truncate(&path, 0);
        ds4_str_addf(&path, "%s/%s/published.txt", ds4_str_text(&dir), places[i]);
        if (!ds4_file_exists(ds4_str_text(&path))) continue;
        if (ds4_file_read(ds4_str_text(&path), MAX_LIST, list, &ignored) == DS4_OK) break;
    }
    ds4_str_clear(&dir);
    ds4_str_clear(&path);
}

/* Say what the digest tells. Returns an exit code. */
static int judge(const char *path, uint64_t n_bytes, const char *digest, const char *wanted,
                 const char *argv0)
{
    ds4_str list = { 0 };
    char    name[64] = "";
    int     code = DS4_EXIT_OK;

    printf("%s  ", digest);
    ds4_app_print(stdout, path);
    printf("\n");
    read_list(argv0, &list);
    const verify_known known = verify_look_up((ds4_slice){ list.data, list.n_bytes }, n_bytes, digest, name);
    ds4_str_clear(&list);
    if (wanted && strcasecmp(wanted, digest) != 0) {
        ds4_app_say(program, "%s: another file than wanted, or a damaged one: its SHA-256 is not %s", path,
                    wanted);
        code = DS4_EXIT_WRONG;
    } else if (known == VERIFY_PUBLISHED) {
        ds4_app_say(program, "%s: the published file %s", path, name);
    } else if (known == VERIFY_SAME_SIZE) {
        ds4_app_say(program, "%s: as large as the published file %s, but not that file", path, name);
    }
    return code;
}

static int verify(const char *path, const char *wanted, uint32_t n_threads, const char *argv0)
{
    verify_options o = { .n_threads = n_threads,
                         .cancel = ds4_interrupt_catch_all(),
                         .progress = show_progress };
    uint8_t        digest[DS4_SHA256_BYTES];
    char           text[DIGITS + 1];
    ds4_gguf      *g = NULL;
    ds4_err        err = { .code = DS4_OK };
    int            code = DS4_EXIT_OK;

    if (ds4_gguf_open(path, &g, &err) != DS4_OK) return failed(&err);
    const uint32_t n_files = ds4_gguf_n_files(g);
    ds4_status     st = verify_weights(g, &o, &err);
    for (uint32_t i = 0; i < n_files && st == DS4_OK; i++) {
        ds4_file_facts facts;
        const char    *file = ds4_gguf_file(g, i, &facts);
        st = verify_digest(file, &o, digest, &err);
        ds4_term_progress_end();
        if (st != DS4_OK) break;
        ds4_sha256_text(digest, text);
        const int said = judge(file, facts.n_bytes, text, n_files == 1 ? wanted : NULL, argv0);
        if (said != DS4_EXIT_OK) code = said;
    }
    ds4_term_progress_end();
    ds4_gguf_close(g);
    if (st != DS4_OK) return failed(&err);
    if (code == DS4_EXIT_OK) ds4_app_say(program, "%s: whole, and every weight is a finite number", path);
    return ds4_app_flush(program) ? code : DS4_EXIT_FAILURE;
}

int verify_main(int argc, char **argv)
{
    const char       *wanted = NULL, *file[1] = { NULL };
    uint32_t          n_threads = ds4_cpu_count();
    const ds4_option  options[] = {
        DS4_OPT_TEXT(0, "sha256", "DIGEST", &wanted, "fail unless the file has this digest"),
        DS4_OPT_U32('t', "threads", "N", &n_threads, 1, MAX_THREADS, "threads (default: all processors)"),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = "ds4-quantize verify",
        .usage = "ds4-quantize verify FILE [--sha256 DIGEST]",
        .about = "Looks at every byte of a model file: its structure, parts that were never written, NaN\n"
                 "and infinity among the weights, and the SHA-256, which is compared with those of the\n"
                 "published files.",
        .options = options,
        .max_words = 1,
    };
    const int code = parse(&command, argc, argv, file);
    if (code >= 0) return code;
    if (wanted && (strlen(wanted) != DIGITS || strspn(wanted, "0123456789abcdefABCDEF") != DIGITS)) {
        ds4_app_say(program, "invalid value for --sha256: %s", wanted);
        return DS4_EXIT_WRONG;
    }
    return verify(file[0], wanted, n_threads < MAX_THREADS ? n_threads : MAX_THREADS, argv[0]);
}
