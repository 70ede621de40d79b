/* synth.c - see synth.h: the command line. */
#include "app/quantize/synth.h"

#include "app/common/app.h"
#include "app/common/options.h"
#include "app/quantize/synth_write.h"
#include "base/clock.h"
#include "base/team.h"

#include <string.h>

static const char program[] = "ds4-quantize";

enum { MAX_THREADS = 256 };

typedef struct synth_options {
    const char    *like, *out;
    uint32_t       n_layers, n_experts, n_threads;
    ds4_option_u64 seed;
    bool           dry_run;
} synth_options;

static void show_progress(uint64_t n_done, uint64_t n_total)
{
    ds4_term_progress("%.1f of %.1f GB", (double)n_done * 1e-9, (double)n_total * 1e-9);
}

static void print_sizes(const synth_model *m, uint64_t header_bytes)
{
    printf("%u tensors, %llu bytes, %llu with the header\n", m->n_tensors,
           (unsigned long long)m->data_bytes, (unsigned long long)(m->data_bytes + header_bytes));
}

static ds4_status dry_run(const synth_model *m, ds4_err *err)
{
    ds4_str          header = { 0 };
    const ds4_status st = synth_header(m, &header, err);

    if (st == DS4_OK) print_sizes(m, header.n_bytes);
    ds4_str_clear(&header);
    return st;
}

static ds4_status write_model(const synth_options *o, const synth_model *m, ds4_err *err)
{
    const synth_job job = { .model = m, .path = o->out, .seed = o->seed.given ? o->seed.value : 1,
                            .n_threads = o->n_threads ? o->n_threads : ds4_cpu_count(),
                            .cancel = ds4_interrupt_catch_all(), .progress = show_progress };
    const uint64_t  start_ns = ds4_now_ns();
    const ds4_status st = synth_write(&job, err);

    ds4_term_progress_end();
    if (st != DS4_OK) return st;
    const double seconds = (double)(ds4_now_ns() - start_ns) * 1e-9;
    ds4_app_say(program, "%s: %u tensors, %llu bytes, %.2f GB/s", o->out, m->n_tensors,
                (unsigned long long)m->data_bytes, (double)m->data_bytes * 1e-9 / seconds);
    return DS4_OK;
}

static int run(const synth_options *o)
{
    synth_model model;
    ds4_err     err = { .code = DS4_OK };
    ds4_status  st = synth_model_create(&model, o->like, o->n_layers, o->n_experts, &err);

    if (st == DS4_OK) st = o->dry_run ? dry_run(&model, &err) : write_model(o, &model, &err);
    synth_model_clear(&model);
    if (st == DS4_OK) return ds4_app_flush(program) ? DS4_EXIT_OK : DS4_EXIT_FAILURE;
    const int code = ds4_app_failed(program, &err);
    return st == DS4_E_ARG ? DS4_EXIT_WRONG : code;
}

int synth_main(int argc, char **argv)
{
    synth_options    o = { 0 };
    const ds4_option options[] = {
        { .kind = DS4_OPTION_TEXT, .name = "like", .arg = "MODEL", .to = &o.like,
          .help = "flash-q2, flash-q4, flash-t2 or pro-q2; dspark: a drafter\nfor those of Flash" },
        { .kind = DS4_OPTION_TEXT, .letter = 'o', .name = "out", .arg = "FILE", .to = &o.out,
          .help = "model file to write" },
        { .kind = DS4_OPTION_U32, .name = "layers", .arg = "N", .to = &o.n_layers, .min = 1,
          .max = DS4_MAX_LAYERS,
          .help = "the first N layers only; of a drafter: it is for a\nmodel of so many" },
        { .kind = DS4_OPTION_U32, .name = "experts", .arg = "N", .to = &o.n_experts, .min = 1,
          .max = 4096, .help = "routed experts in a layer [as published]" },
        { .kind = DS4_OPTION_U64, .name = "seed", .arg = "N", .to = &o.seed,
          .help = "another seed gives other weights [1]" },
        { .kind = DS4_OPTION_U32, .letter = 't', .name = "threads", .arg = "N", .to = &o.n_threads,
          .min = 1, .max = MAX_THREADS,
          .help = "threads [one for each processor]; the file does not\ndepend on it" },
        { .kind = DS4_OPTION_FLAG, .name = "dry-run", .to = &o.dry_run,
          .help = "print the number of tensors and bytes and write nothing" },
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = "ds4-quantize synth",
        .usage = "ds4-quantize synth --like MODEL --out FILE [options]",
        .about = "Makes a model file with exactly the tensors of a published one and random\n"
                 "weights of sensible size. It computes at the same speed and says nothing\n"
                 "meaningful: for measurements.",
        .options = options,
        .after = "The vocabulary has the bytes and the special tokens at their published ids.",
    };
    switch (ds4_command_parse(&command, argc, argv, NULL, NULL)) {
    case DS4_PARSED_DONE:  return DS4_EXIT_OK;
    case DS4_PARSED_WRONG: return DS4_EXIT_WRONG;
    case DS4_PARSED_RUN:   break;
    }
    if (!o.like || (!o.out && !o.dry_run)) {
        ds4_app_say(program, "missing option %s", !o.like ? "--like" : "--out");
        return DS4_EXIT_WRONG;
    }
    return run(&o);
}
