/* bench.h - what the files of ds4-bench share: options, rows of results, and who makes them. */
#ifndef DS4_APP_BENCH_H
#define DS4_APP_BENCH_H

#include "app/common/app.h"
#include "app/common/op_trace.h"
#include "app/common/options.h"

#define DS4_BENCH_NAME "ds4-bench"

enum { BENCH_MAX_BATCHES = 16, BENCH_MAX_SESSIONS = 256, BENCH_MAX_POINTS = 4096 };

typedef struct bench_options {
    ds4_app_model  model;
    const char    *prompt_path;             /* NULL: synthetic tokens */
    const char    *chat_path, *system;      /* a message of the user and what stands before it; NULL: none */
    const char    *logits_dir;              /* NULL: not wanted */
    const char    *csv_path, *json_path, *plot_path, *compare_path;     /* NULL: not wanted */
    const char    *trace_path;
    ds4_op_trace  *trace;                   /* NULL: none */
    const char    *batch_text;              /* "1,2,4" */
    uint32_t       ctx_start, ctx_max, ctx_alloc, step_incr, gen_tokens, n_repeats, chunk;
    ds4_option_f32 step_mul, max_loss;
    bool           warmup, ops;
    int            speculate;               /* a ds4_speculate: bench_speculate() instead; OFF: no */
    bool           speculate_cost;          /* the table of bench_rows() instead of all else */
    uint32_t       batch[BENCH_MAX_BATCHES];        /* sessions that decode together */
    uint32_t       n_batches, max_sessions;
} bench_options;

/* One context length and batch size. Speeds are medians over the repeats. */
typedef struct bench_row {
    uint32_t ctx_tokens, prefill_tokens, gen_tokens, batch;
    double   prefill_tps, prefill_tps_min;
    double   gen_tps, gen_tps_min;          /* tokens of all sessions together */
    double   ttft_ms;
    uint64_t kvcache_bytes;                 /* of one session */
    double   gbps;                          /* weights read while decoding */
    double   probe_gbps;                    /* memory read beside it, median; 0: nothing was decoded */
    double   bandwidth_share;               /* gbps over probe_gbps */
} bench_row;

/* The time of one kind of operation, or of a part of one, over the whole measurement. */
typedef struct bench_op {
    const char *name;
    uint64_t    n, ns, weight_bytes;
} bench_op;

enum { BENCH_PREFILL, BENCH_DECODE, BENCH_N_PHASES, BENCH_MAX_OPS = 96 };

/* Operations of a phase in the order of their first use. */
typedef struct bench_ops {
    bench_op op[BENCH_MAX_OPS];
    uint32_t n_ops;
    uint64_t n_tokens, n_steps;     /* of all sessions together; steps of the engine */
    uint64_t all_ns;                /* of the phase, with what no operation took */
    ds4_op_trace *trace;            /* told too; NULL: none */
} bench_ops;

typedef struct bench_result {
    const bench_options *options;
    char                 model[256];        /* general.name, else the path */
    uint64_t             file_bytes;
    uint32_t             n_threads;
    double               probe_gbps;        /* the best round of all */
    uint64_t             peak_bytes;        /* of this process, without the probe's buffer; 0: unknown */
    bench_row           *rows;              /* [n_rows] by context, then batch */
    uint32_t             n_rows;
    bench_ops           *ops;               /* [BENCH_N_PHASES]; NULL without --ops */
} bench_result;

/* ---- measuring ------------------------------------------------------------------------- */

/* Measure everything. The caller frees out->rows and out->ops, also after a failure.
 * Returns DS4_OK; DS4_E_LIMIT when the prompt is too short; DS4_E_CANCELLED; others. */
DS4_MUST_CHECK ds4_status bench_measure(const bench_options *o, ds4_engine *e, bench_result *out,
                                        ds4_err *err);

/* Measure steps of 1 to DS4_MAX_DRAFT tokens of one session, with the logits of each, at ctx_start:
 * gen_tokens steps of each, appended as lines of CSV. Returns as bench_measure(). */
DS4_MUST_CHECK ds4_status bench_rows(const bench_options *o, ds4_engine *e, ds4_str *out, ds4_err *err);

/* Answer the prompt (o->chat_path or o->prompt_path) with gen_tokens greedy tokens, without guesses and
 * with them in turn, n_repeats times; a line of CSV for each pair. Returns as bench_measure(); DS4_E_DEVICE
 * when the answers differ. */
DS4_MUST_CHECK ds4_status bench_speculate(const bench_options *o, ds4_model *model, ds4_str *out,
                                          ds4_err *err);

/* The tokens of the prompt file after the beginning-of-sentence token, or of the chat file as
 * the message that a model answers without thinking, or synthetic ones.
 *
 *   out   [o->ctx_max] or more; the caller frees it
 *
 * Returns DS4_OK; DS4_E_LIMIT naming both lengths when the text is too short; DS4_E_IO;
 * DS4_E_UNSUPPORTED when the model knows no conversations; DS4_E_NOMEM.                  */
DS4_MUST_CHECK ds4_status bench_prompt(const ds4_engine *e, const bench_options *o, int32_t **out,
                                       ds4_err *err);

/* A probe of the memory's speed: a large buffer and as many threads as the engine has. On a
 * machine that others use too the answer changes within seconds, so it is asked beside what
 * it is compared with. */
typedef struct bench_probe bench_probe;

/* Takes a buffer beside what the engine has planned, at most a GiB. Between steps of the
 * engine, which is used during the call only.
 * Returns DS4_OK; DS4_E_NOMEM.                                                            */
DS4_MUST_CHECK ds4_status bench_probe_open(bench_probe **out, ds4_engine *e, ds4_err *err);
void                      bench_probe_close(bench_probe *p);        /* NULL is fine */

/* Read the buffer once with all threads; returns GB/s. Between steps of the engine: waits
 * until its threads sleep, and then until those of the probe do. */
double bench_probe_round(bench_probe *p);

/* The most memory that this process has used so far, without the buffer; 0: unknown. */
uint64_t bench_probe_peak(const bench_probe *p);

/* Weights as a decoding step reads them. */
typedef struct bench_weights {
    uint64_t dense;             /* read whatever the batch: all but the parts below */
    uint64_t expert;            /* one expert of every layer */
    double   n_experts;         /* of a layer, on average */
    uint32_t n_used;
    uint64_t index;             /* the indexer's queries, read from index_ctx tokens on */
    uint32_t index_ctx;
} bench_weights;

/* Returns DS4_OK; as ds4_gguf_open().                                                     */
DS4_MUST_CHECK ds4_status bench_weights_read(const char *path, bench_weights *out, ds4_err *err);

/* Bytes that one step reads when `batch` sessions of ctx tokens decode together. Experts are
 * counted as if each session chose at random: n (1 - (1 - used/n)^batch) different ones. */
double bench_step_bytes(const bench_weights *w, uint32_t batch, uint32_t ctx);

/* Count the steps of an engine towards one phase, until bench_ops_end(), and trace them.
 *
 *   ops, trace   NULL: not counted, not traced                                             */
void bench_ops_begin(bench_ops *ops, uint32_t phase, ds4_engine *e, ds4_op_trace *trace);
void bench_ops_end(bench_ops *ops, uint32_t phase, ds4_engine *e, uint64_t n_tokens, uint64_t n_steps,
                   double seconds);

/* ---- reporting ------------------------------------------------------------------------- */

void bench_csv(const bench_result *r, ds4_str *out);
void bench_svg(const bench_result *r, ds4_str *out);

/* A table for each phase: most time first, what no operation took last. */
void bench_ops_table(const bench_ops *ops, ds4_str *out);

/* Returns DS4_OK; DS4_E_NOMEM.                                                            */
DS4_MUST_CHECK ds4_status bench_json(const bench_result *r, ds4_str *out, ds4_err *err);

/* Compare with an earlier --json file, point by point; says on standard error what changed.
 *
 *   worse   becomes true when a speed is more than max_loss percent lower than it was
 *
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT for another kind of file or when no point is in
 * both.                                                                                   */
DS4_MUST_CHECK ds4_status bench_compare(const bench_result *r, const char *path, double max_loss,
                                        bool *worse, ds4_err *err);

#endif
