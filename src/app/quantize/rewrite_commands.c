/* rewrite_commands.c - ds4-quantize requantize, splice, split and merge; see file_commands.h. */
#include "app/quantize/file_commands.h"

#include <string.h>

#include "app/common/app.h"
#include "app/quantize/recipe_find.h"
#include "app/quantize/rewrite.h"
#include "app/quantize/run_options.h"
#include "base/team.h"

static const char program[] = "ds4-quantize";

/* The options of all four commands fill this. */
typedef struct wanted {
    enum { REQUANTIZE, SPLICE, SPLIT, MERGE } kind;
    const char      *from, *other, *out, *recipe, *imatrix;
    int              encoder;           /* a ds4_encode_effort */
    ds4_option_texts take;
    uint64_t         piece_bytes, save_every;
    bool             resume;
    uint32_t         n_threads;
} wanted;

#define FROM_OPTION(w)                                                                                       \
    DS4_OPT_TEXT(0, "from", "FILE", &(w)->from, "model file to read; of one in pieces, any piece")
#define OUT_OPTION(w)  DS4_OPT_TEXT('o', "out", "FILE", &(w)->out, "model file to write")

static void show_progress(void *ctx, uint64_t n_done, uint64_t n_total, const char *name)
{
    (void)ctx;
    ds4_term_progress("%u %%  %s", (unsigned)(n_total ? 100 * (n_done >> 10) / ((n_total >> 10) + 1) : 100),
                      name);
}

/* A wrong file is the user's to mend, as a wrong option is. */
static int failed(const ds4_err *err)
{
    const int code = ds4_app_failed(program, err);
    return err->code == DS4_E_FORMAT || err->code == DS4_E_UNSUPPORTED || err->code == DS4_E_LIMIT
               ? DS4_EXIT_WRONG : code;
}

/* Patterns as a recipe whose types mean nothing; "ffn_*_exps@37-42" is for those layers. */
static bool take_patterns(const ds4_option_texts *patterns, ds4_recipe *take, ds4_err *err)
{
    ds4_str text = { 0 };

    for (uint32_t i = 0; i < patterns->n; i++) {
        const char  *item = patterns->item[i], *at = strchr(item, '@');
        const size_t n = at ? (size_t)(at - item) : strlen(item);
        ds4_str_addf(&text, "%.*s f32 %s\n", (int)n, item, at ? at + 1 : "");
    }
    const ds4_status st = ds4_recipe_parse(take, "--take", (ds4_slice){ text.data, text.n_bytes }, err);
    ds4_str_clear(&text);
    return st == DS4_OK;
}

static ds4_status rewrite(const wanted *w, rewrite_options *o, rewrite_result *done, ds4_err *err)
{
    ds4_gguf *from = NULL, *other = NULL;

    ds4_status st = ds4_gguf_open(w->from, &from, err);
    if (st == DS4_OK && w->other) st = ds4_gguf_open(w->other, &other, err);
    o->from = from;
    o->other = other;
    o->out = w->out;
    o->piece_bytes = w->piece_bytes;
    o->n_threads = w->n_threads;
    o->resume = w->resume;
    o->save_every = w->save_every;
    o->progress = show_progress;
    if (st == DS4_OK) {
        o->cancel = ds4_interrupt_catch_all();
        st = rewrite_model(o, done, err);
        ds4_term_progress_end();
    }
    ds4_gguf_close(from);
    ds4_gguf_close(other);
    return st;
}

static int run(const wanted *w, const char *argv0)
{
    rewrite_options o = { .out = w->out };
    rewrite_result  done;
    importance      weights = { 0 };
    ds4_recipe          types, take;
    ds4_err         err = { .code = DS4_OK };

    if (w->other) {
        if (!take_patterns(&w->take, &take, &err)) {
            ds4_app_failed(program, &err);
            return DS4_EXIT_WRONG;
        }
        o.take = &take;
    }
    if (w->recipe) {
        if (recipe_find(&types, w->recipe, argv0, &err) != DS4_OK) {
            ds4_app_failed(program, &err);
            return DS4_EXIT_WRONG;
        }
        o.types = &types;
        if (types.needs_importance && !w->imatrix) {
            ds4_app_say(program, "recipe %s needs --imatrix; ds4-eval imatrix makes such a file", w->recipe);
            return DS4_EXIT_WRONG;
        }
    }
    ds4_status st = DS4_OK;
    if (w->imatrix) st = importance_open(&weights, w->imatrix, &err);
    o.weights = &weights;
    o.effort = (ds4_encode_effort)w->encoder;
    if (st == DS4_OK) st = rewrite(w, &o, &done, &err);
    importance_close(&weights);
    if (st != DS4_OK) return failed(&err);
    ds4_app_say(program, "%s: %u tensors, %u of them changed, %llu bytes in %u file%s", w->out,
                done.n_tensors, done.n_changed, (unsigned long long)done.file_bytes, done.n_files,
                done.n_files == 1 ? "" : "s");
    return DS4_EXIT_OK;
}

/* The first option that the command cannot do without; NULL: all are there. */
static const char *missing_option(const wanted *w)
{
    if (!w->from) return "--from";
    if (w->kind == REQUANTIZE && !w->recipe) return "--recipe";
    if (w->kind == SPLICE && !w->other) return "--with";
    if (w->kind == SPLICE && w->take.n == 0) return "--take";
    if (w->kind == SPLIT && w->piece_bytes == 0) return "--max-size";
    return w->out ? NULL : "--out";
}

static int parse_and_run(const ds4_command *command, int argc, char **argv, const wanted *w)
{
    switch (ds4_command_parse(command, argc, argv, NULL, NULL)) {
    case DS4_PARSED_DONE:  return DS4_EXIT_OK;
    case DS4_PARSED_WRONG: return DS4_EXIT_WRONG;
    case DS4_PARSED_RUN:   break;
    }
    const char *missing = missing_option(w);
    if (!missing) return run(w, argv[0]);
    ds4_app_say(program, "missing option %s", missing);
    return DS4_EXIT_WRONG;
}

int requantize_main(int argc, char **argv)
{
    wanted           w = { .kind = REQUANTIZE, .n_threads = ds4_cpu_count(), .save_every = SAVE_EVERY,
                             .encoder = DS4_ENCODE_BEST };
    const ds4_option options[] = {
        FROM_OPTION(&w), OUT_OPTION(&w),
        DS4_OPT_TEXT('r', "recipe", "NAME", &w.recipe,
                     "type of each tensor: q2, q2-imatrix, q2-q4, q2-fast, t2,\n"
                     "q4, native, or a file of your own, NAME.txt"),
        QUANTIZE_WEIGHT_OPTIONS(&w.imatrix, &w.encoder),
        RESUME_OPTION(&w), SAVE_OPTION(&w), THREADS_OPTION(&w),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = "ds4-quantize requantize",
        .usage = "ds4-quantize requantize --from FILE --recipe NAME --out FILE [options]",
        .about = "Makes a model file with other element types from a model file. Tensors that have the\n"
                 "recipe's type already are copied. What a small type has lost does not come back: the\n"
                 "best file is made from the checkpoint.",
        .options = options,
    };
    return parse_and_run(&command, argc, argv, &w);
}

int splice_main(int argc, char **argv)
{
    wanted           w = { .kind = SPLICE, .n_threads = 1, .save_every = SAVE_EVERY };
    const ds4_option options[] = {
        FROM_OPTION(&w),
        DS4_OPT_TEXT(0, "with", "FILE", &w.other, "model file that tensors are taken from"),
        DS4_OPT_TEXTS(
            0, "take", "PATTERN", &w.take,
            "tensors to take from it, as ffn_*_exps; @37-42 behind it\nnames layers; may be given again"),
        OUT_OPTION(&w), RESUME_OPTION(&w), SAVE_OPTION(&w),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = "ds4-quantize splice",
        .usage = "ds4-quantize splice --from FILE --with FILE --take PATTERN --out FILE",
        .about = "Makes a model file with some tensors of a second one, for example the experts of the\n"
                 "last layers from a larger file. Both are of one model.",
        .options = options,
    };
    return parse_and_run(&command, argc, argv, &w);
}

int split_main(int argc, char **argv)
{
    wanted           w = { .kind = SPLIT, .n_threads = 1, .save_every = SAVE_EVERY };
    const ds4_option options[] = {
        FROM_OPTION(&w),
        DS4_OPT_SIZE(0, "max-size", "SIZE", &w.piece_bytes, "most bytes of tensors in a piece, e.g. 40G"),
        DS4_OPT_TEXT('o', "out", "STEM", &w.out, "pieces are named STEM-00001-of-0000N.gguf"),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = "ds4-quantize split",
        .usage = "ds4-quantize split --from FILE --max-size SIZE --out STEM",
        .about = "Cuts a model file into pieces of whole tensors. All programs open them by the name of\n"
                 "any piece.",
        .options = options,
    };
    return parse_and_run(&command, argc, argv, &w);
}

int merge_main(int argc, char **argv)
{
    wanted           w = { .kind = MERGE, .n_threads = 1, .save_every = SAVE_EVERY };
    const ds4_option options[] = {
        FROM_OPTION(&w), OUT_OPTION(&w), RESUME_OPTION(&w), SAVE_OPTION(&w),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = "ds4-quantize merge",
        .usage = "ds4-quantize merge --from PIECE --out FILE",
        .about = "Makes one model file of its pieces.",
        .options = options,
    };
    return parse_and_run(&command, argc, argv, &w);
}
