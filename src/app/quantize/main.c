/* main.c - ds4-quantize: makes model files. */
#include <stdio.h>
#include <string.h>

#include "app/common/app.h"
#include "app/quantize/convert.h"
#include "app/quantize/file_commands.h"
#include "app/quantize/recipe_find.h"
#include "app/quantize/run_options.h"
#include "app/quantize/synth.h"
#include "app/quantize/vocab_put.h"
#include "base/team.h"

static const char program[] = "ds4-quantize";

/* ---- choices ---------------------------------------------------------------------------- */

typedef struct expert_choice {
    const char *name;
    uint32_t    gate_up, down;
    uint32_t    file_type;              /* as GGUF tools number the recipes */
} expert_choice;

static const expert_choice expert_choices[] = {
    { "mxfp4", DS4_MXFP4,   DS4_MXFP4, 38 },
    { "q2",    DS4_IQ2_XXS, DS4_Q2_K,  19 },
    { "q4",    DS4_Q4_K,    DS4_Q4_K,  15 },
    { "q8",    DS4_Q8_0,    DS4_Q8_0,  7 },
    { "bf16",  DS4_BF16,    DS4_BF16,  32 },
};

typedef struct dense_choice {
    const char *name;
    uint32_t    dense, wide, fine;
} dense_choice;

static const dense_choice dense_choices[] = {
    { "q8",     DS4_Q8_0, DS4_F16,  DS4_F16 },
    { "q8-all", DS4_Q8_0, DS4_Q8_0, DS4_F16 },
    { "bf16",   DS4_BF16, DS4_BF16, DS4_BF16 },
    { "f16",    DS4_F16,  DS4_F16,  DS4_F16 },
    { "f32",    DS4_F32,  DS4_F32,  DS4_F32 },
};

/* Embedding, compressors and indexer; then the small tensors of those, router and hyper-connections. */
static const char *const wide[] = { "token_embd", "*_compressor_kv", "*_compressor_gate",
                                    "indexer.attn_q_b" };
static const char *const fine[] = { "*hc_*_fn", "*_hc_fn", "*_compressor_ape", "indexer.proj",
                                    "ffn_gate_inp" };

static bool choose_experts(const char *name, ds4_recipe *types)
{
    for (size_t i = 0; i < sizeof expert_choices / sizeof expert_choices[0]; i++) {
        const expert_choice *c = &expert_choices[i];
        if (strcmp(name, c->name) != 0) continue;
        types->file_type = c->file_type;
        return ds4_recipe_add(types, "ffn_gate_exps", c->gate_up) &&
               ds4_recipe_add(types, "ffn_up_exps", c->gate_up) &&
               ds4_recipe_add(types, "ffn_down_exps", c->down);
    }
    return false;
}

static bool choose_dense(const char *name, ds4_recipe *types)
{
    for (size_t i = 0; i < sizeof dense_choices / sizeof dense_choices[0]; i++) {
        const dense_choice *c = &dense_choices[i];
        if (strcmp(name, c->name) != 0) continue;
        bool added = ds4_recipe_add(types, "*", c->dense);
        for (size_t k = 0; k < sizeof wide / sizeof wide[0]; k++)
            added &= ds4_recipe_add(types, wide[k], c->wide);
        for (size_t k = 0; k < sizeof fine / sizeof fine[0]; k++)
            added &= ds4_recipe_add(types, fine[k], c->fine);
        return added;
    }
    return false;
}

/* The recipe of the file, or the one that the two short options stand for. */
static int choose_types(const char *file, const char *experts, const char *dense, const char *argv0,
                        ds4_recipe *types)
{
    ds4_err err = { .code = DS4_OK };

    if (file && (experts || dense)) {
        ds4_app_say(program, "%s cannot be given with --recipe, which names all types",
                    experts ? "--experts" : "--dense");
        return DS4_EXIT_WRONG;
    }
    if (file) {
        if (recipe_find(types, file, argv0, &err) == DS4_OK) return DS4_EXIT_OK;
        ds4_app_failed(program, &err);
        return DS4_EXIT_WRONG;
    }
    *types = (ds4_recipe){ .name = "the options" };
    if (!dense) dense = "q8";
    if (!choose_dense(dense, types)) {
        ds4_app_say(program, "invalid value for --dense: %s", dense);
        return DS4_EXIT_WRONG;
    }
    if (choose_experts(experts, types)) return DS4_EXIT_OK;
    ds4_app_say(program, "invalid value for --experts: %s", experts);
    return DS4_EXIT_WRONG;
}

/* ---- convert ------------------------------------------------------------------------------ */

static bool choose_part(const char *name, file_part *out)
{
    static const char *const names[] = {
        [PART_MODEL] = "model", [PART_MTP] = "mtp", [PART_DSPARK] = "dspark",
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (file_part)i;
        return true;
    }
    ds4_app_say(program, "invalid value for --part: %s", name);
    return false;
}

static void show_progress(void *ctx, const convert_progress *p)
{
    (void)ctx;
    ds4_term_progress("%u of %u  %s", p->i_tensor + 1, p->n_tensors, p->name);
}

static void show_note(void *ctx, const char *text)
{
    (void)ctx;
    ds4_term_progress_end();
    ds4_app_say(program, "%s", text);
}

/* The exit code that fits: 2 when the input is to blame. */
static int failed(const ds4_err *err)
{
    const int code = ds4_app_failed(program, err);
    return err->code == DS4_E_FORMAT || err->code == DS4_E_UNSUPPORTED ? DS4_EXIT_WRONG : code;
}

static int convert(convert_options *o, const char *imatrix)
{
    importance     weights = { 0 };
    convert_result done;
    ds4_err        err = { .code = DS4_OK };

    if (o->types->needs_importance && !imatrix) {
        ds4_app_say(program, "recipe %s needs --imatrix; ds4-eval imatrix makes such a file", o->types->name);
        return DS4_EXIT_WRONG;
    }
    if (o->n_threads > MAX_THREADS) o->n_threads = MAX_THREADS;
    o->cancel = ds4_interrupt_catch_all();
    o->weights = &weights;
    ds4_status st = imatrix ? importance_open(&weights, imatrix, &err) : DS4_OK;
    if (st == DS4_OK) st = convert_checkpoint(o, &done, &err);
    ds4_term_progress_end();
    importance_close(&weights);
    if (st != DS4_OK) return failed(&err);
    ds4_app_say(program, "%s: %u tensors, %llu bytes", o->out, done.n_tensors,
                (unsigned long long)done.file_bytes);
    return DS4_EXIT_OK;
}

static int run_convert(int argc, char **argv)
{
    const char       *experts = NULL, *dense = NULL, *file = NULL, *imatrix = NULL, *part = "model";
    int               encoder = DS4_ENCODE_BEST;
    ds4_recipe            types;
    convert_options   o = { .progress = show_progress, .note = show_note, .n_threads = ds4_cpu_count(),
                            .save_every = SAVE_EVERY, .types = &types };
    const ds4_option  options[] = {
        DS4_OPT_TEXT(0, "from", "DIR", &o.from,
                     "folder with config.json, tokenizer.json and\nsafetensors files"),
        DS4_OPT_TEXT('o', "out", "FILE", &o.out, "model file to write"),
        DS4_OPT_TEXT('r', "recipe", "NAME", &file,
                     "type of each tensor: q2, q2-imatrix, q2-q4, q2-fast, t2,\n"
                     "q4, native, or a file of your own, NAME.txt"),
        DS4_OPT_TEXT(0, "experts", "TYPE", &experts,
                     "in short, routed experts: mxfp4 (lossless from FP4), q2, q4,\nq8, bf16"),
        DS4_OPT_TEXT(0, "dense", "TYPE", &dense,
                     "all other matrices: q8 (attention, shared experts and\n"
                     "head; embedding, compressors, indexer F16; default),\n"
                     "q8-all (those too), bf16, f16, f32"),
        DS4_OPT_TEXT(0, "part", "PART", &part,
                     "model (default), or a support file without the model: mtp (its\n"
                     "block of the next token), dspark (its drafter)"),
        QUANTIZE_WEIGHT_OPTIONS(&imatrix, &encoder),
        DS4_OPT_TEXT(0, "name", "TEXT", &o.name, "name of the model (default: the folder's)"),
        RESUME_OPTION(&o),
        SAVE_OPTION(&o),
        THREADS_OPTION(&o),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = "ds4-quantize convert",
        .usage = "ds4-quantize convert --from DIR --out FILE --recipe NAME|--experts TYPE [options]",
        .about = "Makes a model file from a checkpoint in the official formats.",
        .options = options,
    };
    switch (ds4_command_parse(&command, argc, argv, NULL, NULL)) {
    case DS4_PARSED_DONE:  return DS4_EXIT_OK;
    case DS4_PARSED_WRONG: return DS4_EXIT_WRONG;
    case DS4_PARSED_RUN:   break;
    }
    if (!o.from || !o.out || (!experts && !file)) {
        ds4_app_say(program, "missing option %s",
                    !o.from  ? "--from"
                    : !o.out ? "--out"
                             : "--recipe or --experts");
        return DS4_EXIT_WRONG;
    }
    if (!choose_part(part, &o.part)) return DS4_EXIT_WRONG;
    const int chosen = choose_types(file, experts, dense, argv[0], &types);
    if (chosen != DS4_EXIT_OK) return chosen;
    o.effort = (ds4_encode_effort)encoder;
    return convert(&o, imatrix);
}

/* ---- vocab ---------------------------------------------------------------------------------- */

static ds4_status write_vocab(const char *tokenizer, const char *out, ds4_err *err)
{
    ds4_gguf_writer *w = NULL;

    DS4_TRY(ds4_gguf_writer_create(&w, 0, err));
    ds4_gguf_put_string(w, "general.architecture", DS4_SLICE("deepseek4"));
    ds4_gguf_put_string(w, "general.type", DS4_SLICE("vocab"));
    ds4_status st = vocab_put(tokenizer, 0, w, err);
    if (st == DS4_OK) st = ds4_gguf_writer_begin(w, out, err);
    if (st == DS4_OK) st = ds4_gguf_writer_finish(w, err);
    ds4_gguf_writer_free(w);
    return st;
}

static int run_vocab(int argc, char **argv)
{
    const char       *tokenizer = NULL, *out = NULL;
    ds4_err           err = { .code = DS4_OK };
    const ds4_option  options[] = {
        DS4_OPT_TEXT(0, "tokenizer", "FILE", &tokenizer, "a tokenizer.json"),
        DS4_OPT_TEXT('o', "out", "FILE", &out, "file to write"),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = "ds4-quantize vocab",
        .usage = "ds4-quantize vocab --tokenizer FILE --out FILE",
        .about = "Makes a model file that holds a vocabulary and no weights.",
        .options = options,
    };
    switch (ds4_command_parse(&command, argc, argv, NULL, NULL)) {
    case DS4_PARSED_DONE:  return DS4_EXIT_OK;
    case DS4_PARSED_WRONG: return DS4_EXIT_WRONG;
    case DS4_PARSED_RUN:   break;
    }
    if (!tokenizer || !out) {
        ds4_app_say(program, "missing option %s", !tokenizer ? "--tokenizer" : "--out");
        return DS4_EXIT_WRONG;
    }
    return write_vocab(tokenizer, out, &err) == DS4_OK ? DS4_EXIT_OK : failed(&err);
}

/* ---- the program ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    int       (*run)(int argc, char **argv);
} subcommands[] = {
    { "convert", run_convert },         { "vocab", run_vocab },     { "synth", synth_main },
    { "requantize", requantize_main },  { "splice", splice_main },  { "split", split_main },
    { "merge", merge_main },            { "inspect", inspect_main }, { "verify", verify_main },
};

int main(int argc, char **argv)
{
    static const ds4_option none[] = { { .kind = DS4_OPTION_END } };
    const ds4_command       command = {
        .name = program,
        .usage = "ds4-quantize COMMAND [options]",
        .about = "Makes model files and looks after them.\n\n"
                 "  convert     from a checkpoint folder\n"
                 "  requantize  from a model file, with other element types\n"
                 "  splice      with some tensors of a second model file\n"
                 "  split       into pieces\n"
                 "  merge       of pieces\n"
                 "  inspect     print keys and tensors\n"
                 "  verify      look at every byte, and compare with the published files\n"
                 "  vocab       a vocabulary without weights, from a tokenizer.json\n"
                 "  synth       random weights in the shape of a published model",
        .options = none,
        .after = "ds4-quantize COMMAND --help lists the options of a command.",
        .max_words = 1,
    };
    const char *words[1] = { "" };
    uint32_t    n_words = 0;

    ds4_app_begin(program);
    for (size_t i = 0; argc > 1 && i < sizeof subcommands / sizeof subcommands[0]; i++) {
        if (strcmp(argv[1], subcommands[i].name) == 0) return subcommands[i].run(argc - 1, argv + 1);
    }
    switch (ds4_command_parse(&command, argc, argv, words, &n_words)) {
    case DS4_PARSED_DONE:  return DS4_EXIT_OK;
    case DS4_PARSED_WRONG: return DS4_EXIT_WRONG;
    case DS4_PARSED_RUN:   break;
    }
    if (n_words == 0) ds4_app_say(program, "missing command; ds4-quantize --help lists them");
    else ds4_app_say(program, "unknown command %s; ds4-quantize --help lists them", words[0]);
    return DS4_EXIT_WRONG;
}
