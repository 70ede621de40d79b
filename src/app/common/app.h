/* app.h - what all programs share: exit codes, messages, the terminal, interruption. */
#ifndef DS4_APP_APP_H
#define DS4_APP_APP_H

#include "app/common/options.h"
#include "base/err.h"
#include "base/str.h"
#include "service/model_open.h"

#include <stdio.h>

enum {
    DS4_EXIT_OK          = 0,
    DS4_EXIT_FAILURE     = 1,       /* something went wrong while working */
    DS4_EXIT_WRONG       = 2,       /* a wrong command line or a bad model file */
    DS4_EXIT_INTERRUPTED = 130,     /* as shells say it: 128 + SIGINT */
};

/* Write a text from outside, a file's name or what a model file says: bytes that would steer a
 * terminal become '?', and so do newlines. */
void ds4_app_print(FILE *file, const char *text);

/* One line on standard error: "program: text". */
void ds4_app_say(const char *program, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* From now on messages go to this function and not to standard error: a log has a form of its own. */
typedef void ds4_app_say_fn(const char *text);
void         ds4_app_say_with(ds4_app_say_fn *say);

/* Say what failed and give the exit code that fits: DS4_EXIT_INTERRUPTED for a
 * cancellation, else DS4_EXIT_FAILURE. Bytes of a bad file that are not printable become '?'. */
int ds4_app_failed(const char *program, const ds4_err *err);

/* The first thing a program does: errors and warnings of the library go to standard error,
 * a mapped file that is cut becomes an error, and Ctrl-C says so before it ends the program.
 * `program` must stay. */
void ds4_app_begin(const char *program);

/* ---- model --------------------------------------------------------------------------- */

typedef struct ds4_app_model {
    const char *program;
    const char *argv0;
    const char *path;               /* NULL: the default, which is then named on standard error */
    const char *dspark;             /* a support file with a drafter; NULL: none */
    const char *backend;            /* NULL: the first of this build that has a device */
    uint32_t    device;
    uint32_t    n_threads, max_batch;
    uint32_t    n_ctx, n_sessions;  /* that the memory must hold; 0: the usual context, one */
    bool        exact;
    int         experts;            /* a ds4_experts */
    uint64_t    mem_bytes, device_mem_bytes, expert_cache_bytes;    /* 0: as the machine allows */
    uint64_t    kv_mem_bytes;       /* see ds4_engine_options */
    const char *kv_dir;
    const char *steering_path;      /* NULL: nothing is steered */
    ds4_option_f32 steering_ffn, steering_attn;     /* 1 and 0 where they are not given */
} ds4_app_model;

/* Entries of an option table that decide where steps run; m is a ds4_app_model *. */
#define DS4_APP_DEVICE_OPTIONS(m)                                                              \
    DS4_OPT_U32('t', "threads", "N", &(m)->n_threads, 1, 256,                                  \
                "threads [one for each processor]"),                                           \
    DS4_OPT_TEXT(0, "backend", "NAME", &(m)->backend,                                          \
                 "what computes, as cpu [the first that has a device]"),                       \
    DS4_OPT_U32(0, "device", "N", &(m)->device, 0, 1023, "device of the backend [0]"),         \
    DS4_OPT_SHOW("devices", ds4_app_show_devices, "print backends and devices and exit")

/* The devices of all backends on standard output, a line for each. */
void ds4_app_show_devices(void);

/* Entries of an option table that decide about memory; m is a ds4_app_model *. */
#define DS4_APP_MEMORY_OPTIONS(m)                                                              \
    DS4_OPT_SIZE(0, "mem", "SIZE", &(m)->mem_bytes,                                            \
                 "memory that may be used, as 12G or 900M\n[nine tenths of what is free]"),    \
    DS4_OPT_SIZE(0, "device-mem", "SIZE", &(m)->device_mem_bytes,                              \
                 "the same for a device with memory of its own"),                              \
    DS4_OPT_NAME("experts", "auto|resident|stream|host", &(m)->experts, ds4_experts_names,     \
                 "routed experts: resident, stream from disk as tokens\n"                      \
                 "need them, host: beside a device with memory of its\n"                       \
                 "own, or auto [auto]"),                                                       \
    DS4_OPT_SIZE(0, "expert-cache", "SIZE", &(m)->expert_cache_bytes,                          \
                 "memory for streamed experts [what --mem leaves]")

/* Entries of an option table about steering; m is a ds4_app_model *. */
#define DS4_APP_STEERING_OPTIONS(m)                                                            \
    DS4_OPT_TEXT(0, "dir-steering-file", "FILE", &(m)->steering_path,                          \
                 "directions in the layers' outputs that are taken out,\n"                     \
                 "as 'ds4-eval steer' makes them [none]"),                                     \
    DS4_OPT_F32(0, "dir-steering-ffn", "X", &(m)->steering_ffn, -DS4_MAX_STEERING,             \
                DS4_MAX_STEERING,                                                              \
                "how much of it in outputs of experts: 1 takes it\n"                           \
                "out, -1 doubles it, 0 does nothing [1]"),                                     \
    DS4_OPT_F32(0, "dir-steering-attn", "X", &(m)->steering_attn, -DS4_MAX_STEERING,           \
                DS4_MAX_STEERING, "the same in outputs of attention [0]")

extern const char *const ds4_experts_names[];   /* "auto", "resident", "stream", "host", NULL */

/* The engine options that say the same; path stays the caller's. */
ds4_engine_options ds4_app_engine_options(const ds4_app_model *want, const char *path);

/* The most memory that this process had in use, the program itself included (ds4_sysmem_peak()),
 * beside the plan. most_bytes 0: not known, nothing is said. */
void ds4_app_say_memory(const char *program, const ds4_engine *engine, uint64_t most_bytes);

/* Print the numbers of streamed experts so far, in one line; nothing when they are resident. */
void ds4_app_say_experts(const char *program, ds4_engine *engine);

/* Entries of an option table for guessing tokens; to is an int * that receives a ds4_speculate of
 * speculation.h, m a ds4_app_model *. */
#define DS4_APP_SPECULATE_OPTIONS(to, m)                                                       \
    DS4_OPT_NAME("speculate", "auto|off|suffix|dspark", to, ds4_speculate_names,               \
                 "guess tokens and evaluate several in a step: faster\n"                       \
                 "where guesses come true, never another answer [auto]"),                      \
    DS4_APP_DSPARK_OPTION(m)
#define DS4_APP_DSPARK_OPTION(m)                                                               \
    DS4_OPT_TEXT(0, "dspark", "FILE", &(m)->dspark,                                            \
                 "support file of the model's DSpark drafter: it guesses,\n"                   \
                 "beside what the text had before (on the CPU only)")

/* Find and open a model. Returns DS4_EXIT_OK, or the exit code after saying what is wrong. */
int ds4_app_open(const ds4_app_model *want, ds4_model *out);

/* The path of the model that ds4_app_open() would take; the caller clears *path. */
int ds4_app_find(const ds4_app_model *want, ds4_str *path);

/* ---- terminal ------------------------------------------------------------------------ */

bool ds4_term_is(FILE *file);           /* a terminal */
bool ds4_term_knows_codes(FILE *file);  /* one that understands escape sequences (TERM) */
bool ds4_term_colour(FILE *file);       /* one that is to get colours (TERM, NO_COLOR) */

/* A line on a terminal that is written over again and again; nothing when standard error
 * is no terminal or knows no escape sequences. */
void ds4_term_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void ds4_term_progress_end(void);       /* wipes it, if it is there */

/* Standard output could take everything. Says so and returns false when it could not. */
bool ds4_app_flush(const char *program);

/* ---- interruption --------------------------------------------------------------------- */

/* From now on Ctrl-C ends the program at once with one line and DS4_EXIT_INTERRUPTED: while
 * it opens files there is nothing to undo. */
void ds4_interrupt_quit(const char *program);

/* From now on Ctrl-C sets the flag; once more, before the flag was cleared, ends the
 * program with DS4_EXIT_INTERRUPTED.
 *
 *   restart  true: system calls go on after it; false: a read from the terminal ends
 *
 * Returns the flag, which is the same each time.                                       */
ds4_cancel *ds4_interrupt_catch(bool restart);

/* Catch SIGTERM and SIGHUP too, and restart system calls: for work of hours that leaves a large
 * file behind when it is killed. A SIGHUP that is ignored, as under nohup, stays so. */
ds4_cancel *ds4_interrupt_catch_all(void);

#endif
