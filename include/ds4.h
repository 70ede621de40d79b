/* ds4.h - the public library: one DeepSeek V4 model, many sessions, tokens in, logits out.
 *
 * An engine is one opened model file on one backend. A session is one conversation's
 * state. A step advances any mix of sessions by any number of tokens; what a session
 * gets does not depend on its company, on the cut of its prompt or on the thread count.
 *
 *
 *     ds4_engine_open()        a model file
 *     ds4_chat_prompt()        a conversation as tokens, or ds4_tokenize() for plain text
 *     ds4_session_create()     a conversation's state
 *     ds4_session_prefill()    the prompt goes in, the logits of its last token come out
 *     ds4_sample()             logits to a token
 *     ds4_engine_step()        the token goes in, the next logits come out; and so on
 *     ds4_token_bytes()        what the token says
 *
 * examples/ has whole programs. Functions that can fail return ds4_status and take a
 * ds4_err as their last parameter, which may be NULL; what they hand out through pointers
 * is written on success only, unless their comment says otherwise.
 *
 * Threads: an engine and its sessions belong to one thread at a time. Only
 * ds4_cancel may be touched from another thread or from a signal handler.
 * Nothing here prints, exits or reads the environment.                            */
#ifndef DS4_H
#define DS4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DS4_VERSION "0.1.0"

/* ---- errors ------------------------------------------------------------------- */

/* A status says what the caller can do about it, not where it happened. */
typedef enum ds4_status {
    DS4_OK            =  0,
    DS4_E_ARG         = -1,  /* the caller broke the documented contract: fix the call */
    DS4_E_NOMEM       = -2,  /* host or device memory exhausted: free some */
    DS4_E_IO          = -3,  /* the operating system refused; its reason is in the text */
    DS4_E_FORMAT      = -4,  /* bytes from outside do not parse: fix the file */
    DS4_E_UNSUPPORTED = -5,  /* well formed, but not something this build implements */
    DS4_E_LIMIT       = -6,  /* context, budget or size limit reached: shorten */
    DS4_E_DEVICE      = -7,  /* the backend failed: close the engine */
    DS4_E_CANCELLED   = -8,  /* the caller asked to stop; what was computed is kept */
} ds4_status;

/* Filled by the function that fails, left alone by those that succeed. */
typedef struct ds4_err {
    ds4_status  code;
    const char *file;        /* source file that raised it first */
    int         line;
    char        text[512];   /* one sentence, no newline, fit to show to a user */
} ds4_err;

#define DS4_MUST_CHECK __attribute__((warn_unused_result))

/* ---- engine ------------------------------------------------------------------- */

typedef struct ds4_engine  ds4_engine;
typedef struct ds4_session ds4_session;
typedef struct ds4_vocab   ds4_vocab;

/* The place of routed experts. */
typedef enum ds4_experts {
    DS4_EXPERTS_AUTO,           /* resident if everything fits the budget, else streamed */
    DS4_EXPERTS_RESIDENT,       /* mapped with the rest of the file */
    DS4_EXPERTS_STREAM,         /* read from disk into a cache as tokens need them */
    DS4_EXPERTS_HOST,           /* in the host's memory, where the device has memory of its own */
} ds4_experts;

/* Told while an engine opens how many bytes of weights have been copied to where the device reads
 * them, up to all; never where they stay in the mapped file. fn NULL: nobody is told. */
typedef struct ds4_loading {
    void (*fn)(void *ctx, uint64_t n_done, uint64_t n_total);
    void  *ctx;
} ds4_loading;

/* Zeroed, with a model_path, is a good choice. */
typedef struct ds4_engine_options {
    const char *model_path;     /* a GGUF file; required */
    const char *dspark_path;    /* a support file: a DSpark drafter for this model; NULL: none */
    const char *backend;        /* "cpu", or another that this build has; NULL: the first with a device */
    uint32_t    device;         /* of the backend, from 0; see ds4_device_get() */
    uint32_t    n_threads;      /* 0: one for each processor this process may use */
    uint32_t    max_batch;      /* most tokens in one step, 1..4096; 0: 256 */
    bool        exact;          /* diagnostic: leave out the trained-in roundings of KV rows */
    ds4_experts experts;
    uint64_t    expert_cache_bytes; /* for streamed experts; 0: what the budget leaves */
    uint64_t    mem_bytes;      /* budget for everything; 0: nine tenths of what the machine has free */
    uint64_t    device_mem_bytes;   /* budget for a device's own memory; 0: nine tenths of what is free.
                                   Not for a device that uses the host's memory */
    uint64_t    kv_mem_bytes;   /* budget for the sessions' KV rows in memory: the other rows lie in
                                   kv_dir. 0: all rows are in memory */
    const char *kv_dir;         /* a folder on a disk, for rows; NULL: all rows stay in memory */
    const char *steering_path;  /* a file of directions, see ds4_engine_steer(); NULL: none */
    uint32_t    plan_ctx;       /* context and sessions that the budget must hold; 0: 32,768 and 1 */
    uint32_t    plan_sessions;
    ds4_loading loading;
} ds4_engine_options;

/* The file's description of itself. Strings live as long as the engine. */
typedef struct ds4_model_info {
    const char *path, *name;    /* name is "" when the file has none */
    uint64_t    file_bytes, n_params, n_params_active;
    uint32_t    n_layers, n_embd, n_vocab, n_experts, n_experts_used;
    uint32_t    least_experts;  /* of a layer; n_experts is the most, and pruned files have fewer in some */
    const char *unused;         /* tensors that text does not need, such as those for images; "": none */
    uint32_t    max_context;    /* positions the model was made for */
    bool        has_mtp;
    uint32_t    n_draft;        /* tokens that the drafter guesses at once; 0: there is none */
    float       temperature, top_p, min_p;   /* advised by the file, else 1, 1, 0.05 */
} ds4_model_info;

/* Map and validate a model file and prepare to run it.
 *
 *   out   receives the engine; untouched on failure
 *   opt   read during the call only
 *
 * Returns DS4_OK; DS4_E_IO, DS4_E_FORMAT or DS4_E_UNSUPPORTED for a bad file (the text
 * names file, field, found and expected); DS4_E_NOMEM.                              */
DS4_MUST_CHECK ds4_status ds4_engine_open(ds4_engine **out, const ds4_engine_options *opt, ds4_err *err);
void                      ds4_engine_close(ds4_engine *e);      /* after its sessions; NULL is fine */
const ds4_model_info     *ds4_engine_info(const ds4_engine *e);
const ds4_vocab          *ds4_engine_vocab(const ds4_engine *e);
uint32_t                  ds4_engine_threads(const ds4_engine *e);
uint32_t                  ds4_engine_max_batch(const ds4_engine *e);

/* A prompt may be cut into steps at positions that are multiples of it, without changing a bit;
 * 1, as on a CPU: anywhere. */
uint32_t                  ds4_engine_cut(const ds4_engine *e);

/* ---- devices ---------------------------------------------------------------------- */

/* The devices that can run steps. */
typedef struct ds4_device {
    const char *backend;        /* for ds4_engine_options, with index as its device */
    uint32_t    index;
    char        name[96];       /* of the hardware; "" when the system does not tell */
    char        family[64];     /* devices that say the same give the same bits */
    uint64_t    mem_total, mem_free;        /* bytes; 0: unknown */
    bool        unified;        /* its memory is the machine's */
} ds4_device;

/* Device i of all backends of this build, the preferred ones first. Returns false, and leaves
 * *out, behind the last one. */
bool ds4_device_get(uint32_t i, ds4_device *out);

/* ---- files that are cut ---------------------------------------------------------- */

/* Weights stay in the mapped model file. If somebody shortens that file while it is in use,
 * or its disk fails, touching a lost page raises SIGBUS, and that ends the process unless
 * somebody handles it. The library takes no signal by itself. A program that would rather
 * get an error calls this once, early: from then on such a fault in a file that the library
 * has mapped makes the opening or step return DS4_E_IO (the sentence names the file), and so
 * does every later step of that engine. Faults elsewhere go to the handler that was
 * there before, or do what they did without one.
 *
 * A program with a SIGBUS handler of its own calls ds4_faults_take() in it instead, with the
 * siginfo_t's si_addr: true means that the address was the library's and the handler should
 * return, false that it is somebody else's. It may be called from a handler, on any thread.
 *
 * Returns DS4_OK, also when called again; DS4_E_IO.                                      */
DS4_MUST_CHECK ds4_status ds4_faults_catch(ds4_err *err);
bool                      ds4_faults_take(const void *address);

/* ---- the plan ------------------------------------------------------------------ */

/* A plan's needs of one memory: host, device or disk. All in bytes. */
typedef struct ds4_plan_place {
    uint64_t weights;           /* that every token needs, and tables */
    uint64_t experts;           /* routed experts, or the cache of streamed ones */
    uint64_t kv, scratch;
    uint64_t total;             /* the sum of these */
    uint64_t budget;            /* may be taken; 0 for a place that is not there, and for the disk */
    uint64_t free;              /* now; 0: unknown */
} ds4_plan_place;

/* The memory that running a model takes, known before anything large is allocated. All in bytes. */
typedef struct ds4_plan {
    uint64_t dense;             /* weights that every token needs: the sum of the next six */
    uint64_t attention;         /* projections of queries, KV rows and outputs */
    uint64_t compressors;       /* of KV rows, and the indexer */
    uint64_t shared_experts;
    uint64_t head;              /* to the vocabulary */
    uint64_t other;             /* routers, hyper-connections, norms */
    uint64_t draft;             /* of a drafter, all of them */
    uint64_t embedding;         /* token table: stays in the file, only rows in use are read; a small one
                                   is in `other` instead, and this is 0 */
    uint64_t experts;           /* routed experts, all of them */
    uint64_t expert_cache;      /* for streamed experts; 0 when they are resident */
    uint64_t kv;                /* sessions at their full context */
    uint64_t kv_cold;           /* rows that may lie on disk have so much memory; part of kv */
    uint64_t kv_on_disk;        /* rows that lie on disk; not part of kv */
    uint64_t scratch;           /* activations and the threads' working memory */
    uint64_t tables;            /* the vocabulary, the file's directory, lists of operations */
    uint64_t total;             /* what will be in the machine's memory; the program itself is not in it */
    uint64_t taken;             /* of total, what is not in memory yet: this has to fit */
    uint64_t budget;            /* what may be taken */
    uint64_t machine, free;     /* of this machine, now; 0: unknown */
    ds4_plan_place host, device, disk;  /* the same by place; the device's is 0 where its memory is the
                                   host's */
    uint64_t per_token_kv;      /* KV bytes for one more token of context */
    uint32_t n_ctx, n_sessions; /* what kv was computed for */
    bool     stream;            /* routed experts are read from disk as they are needed */
    bool     file_in_memory;    /* the file lies on a RAM disk: its mapped weights take nothing more */
    bool     fits;
    char     advice[352];       /* when it does not fit: the numbers and what would; else "" */
} ds4_plan;

/* Compute the plan for a model file without loading it. ds4_engine_open() follows the same
 * plan and refuses, with its advice, what does not fit.
 *
 * Returns DS4_OK, also when it does not fit; errors as ds4_engine_open().               */
DS4_MUST_CHECK ds4_status ds4_plan_make(const ds4_engine_options *opt, ds4_plan *out, ds4_err *err);

/* The plan that an engine was opened by. */
const ds4_plan *ds4_engine_plan(const ds4_engine *e);

/* The numbers of streamed experts so far. "Needed" counts each expert once for each layer of a
 * step. */
typedef struct ds4_expert_stats {
    uint64_t    cache_bytes;        /* of all experts in it */
    uint32_t    n_entries;          /* experts that fit at once */
    uint32_t    n_experts;          /* of all layers */
    const char *method;             /* "io_uring" or "threads" */
    bool        is_direct;          /* reads bypass the page cache */
    uint64_t    n_hits;             /* experts needed that were in memory */
    uint64_t    n_prefetched;       /* that had been read ahead, or were being */
    uint64_t    n_misses;           /* that had to be read then */
    uint64_t    n_wasted;           /* read ahead and evicted or given up unused */
    uint64_t    bytes_needed;       /* of the experts that were not hits */
    uint64_t    bytes_read;         /* from the file, wrong guesses included */
    uint64_t    wait_ns;            /* computing stood still for the disk */
    uint64_t    busy_ns;            /* the disk had something to do */
} ds4_expert_stats;

/* Returns false, and leaves *out, when the experts are resident. */
bool ds4_engine_expert_stats(ds4_engine *e, ds4_expert_stats *out);

/* ---- steering ------------------------------------------------------------------ */

/* Directions that were loaded with the model (steering_path): with v of a layer and the output y of its
 * attention or of its experts, y becomes y - F v dot(v, y). 1 removes what lies along v, -1 doubles it, 0
 * does nothing. docs/STEERING.md says how directions are made. */
typedef struct ds4_steering {
    float attn, ffn;            /* F of each, -DS4_MAX_STEERING to DS4_MAX_STEERING */
} ds4_steering;
enum { DS4_MAX_STEERING = 100 };

bool         ds4_engine_can_steer(const ds4_engine *e);         /* directions were loaded */
ds4_steering ds4_engine_steering(const ds4_engine *e);          /* both 0 at first */

/* Change it between two steps. Tokens that sessions hold stay as they were computed; those to come are
 * steered. Returns DS4_OK; DS4_E_ARG without directions or out of range; DS4_E_DEVICE.      */
DS4_MUST_CHECK ds4_status ds4_engine_steer(ds4_engine *e, ds4_steering to, ds4_err *err);

/* ---- text ---------------------------------------------------------------------- */

/* A vocabulary comes from ds4_engine_vocab() and lives as long as its engine. It never
 * changes: any thread may use it at any time.                                          */

/* The tokens of a text.
 *
 * Text stays text: what looks like a special token is encoded as its characters, so that
 * text from outside cannot speak as somebody else. Nothing is put in front of it.
 *
 *   text        [n_bytes] any bytes, UTF-8 as a rule
 *   tokens      [max_tokens] receives them; may be NULL with max_tokens 0
 *   n_tokens    receives how many tokens the text has, also with DS4_E_LIMIT: ask with
 *               max_tokens 0 first to learn it. Never more than n_bytes.
 *
 * Returns DS4_OK; DS4_E_LIMIT when they are more than max_tokens (tokens is unchanged);
 * DS4_E_NOMEM.
 * Source: docs/TOKENIZER.md.                                                            */
DS4_MUST_CHECK ds4_status ds4_tokenize(const ds4_vocab *v, const char *text, size_t n_bytes,
                                       int32_t *tokens, uint32_t max_tokens, uint32_t *n_tokens,
                                       ds4_err *err);

/* The bytes a token stands for, special tokens by their names; lent by v, not
 * zero-terminated. They may begin or end inside a UTF-8 character: a terminal puts it
 * together, other readers have to wait for the rest. n_bytes 0 for an id that is none.   */
const char *ds4_token_bytes(const ds4_vocab *v, int32_t token, size_t *n_bytes);

/* The text of tokens, special tokens left out.
 *
 *   text       [max_bytes] receives as much as fits, always zero-terminated; may be NULL
 *              with max_bytes 0
 *
 * Returns the bytes of the whole text without the final zero, as snprintf does.          */
size_t ds4_detokenize(const ds4_vocab *v, const int32_t *tokens, uint32_t n_tokens, char *text,
                      size_t max_bytes);

/* True for a token by which the model ends its answer; it is not part of it, but a session
 * that goes on to another turn has to hold it.                                            */
bool ds4_token_is_end(const ds4_vocab *v, int32_t token);

typedef enum ds4_speaker {
    DS4_SYSTEM,                     /* what holds for the whole conversation; first, if at all */
    DS4_USER,
    DS4_ASSISTANT,                  /* an answer of the model, without its reasoning */
} ds4_speaker;

typedef struct ds4_chat_turn {
    ds4_speaker who;
    const char *text;               /* zero-terminated */
} ds4_chat_turn;

typedef struct ds4_chat {
    const ds4_chat_turn *turns;     /* [n_turns], the last one by the user */
    uint32_t             n_turns;   /* >= 1 */
    bool                 thinking;  /* reason first: the answer begins with the reasoning, which ends
                                       with the token whose bytes are "</think>" */
} ds4_chat;

/* The tokens of a conversation in the form that the model was trained on, up to where it
 * has to answer. For tools, efforts and other parts of that form see docs/PROMPT.md; here
 * are those that a plain conversation needs.
 *
 *   tokens, max_tokens, n_tokens    as ds4_tokenize()
 *
 * A conversation that goes on need not be evaluated again: the tokens that a session
 * holds (ds4_session_tokens) and the new ones usually begin alike, and only what comes
 * after has to be appended. Where they part, go back to a snapshot or clear the session.
 *
 * Returns DS4_OK; DS4_E_LIMIT as ds4_tokenize(); DS4_E_ARG when the last turn is not the
 * user's; DS4_E_UNSUPPORTED when the file lacks the tokens of a conversation or speaks
 * another protocol; DS4_E_NOMEM.                                                          */
DS4_MUST_CHECK ds4_status ds4_chat_prompt(const ds4_engine *e, const ds4_chat *chat, int32_t *tokens,
                                          uint32_t max_tokens, uint32_t *n_tokens, ds4_err *err);

/* ---- sampling ----------------------------------------------------------------- */

typedef struct ds4_sampling {
    float    temperature;       /* 0: the most likely token, lowest id on a tie */
    float    top_p;             /* 0 < top_p <= 1 */
    float    min_p;             /* 0 .. 1, relative to the most likely token */
    uint32_t top_k;             /* 0: no limit */
} ds4_sampling;

typedef struct ds4_candidate { float value; int32_t id; } ds4_candidate;

/* A step's settings for choosing a token itself, so that logits need not leave the device. */
typedef struct ds4_pick {
    ds4_sampling    how;
    double          u;          /* 0 <= u < 1, drawn by the caller; not used at temperature 0 */
    const uint32_t *mask;       /* bit id % 32 of word id / 32: the token may be chosen; NULL: all may */
    bool            logprobs;   /* tell how likely the token was, and n_top others */
    uint32_t        n_top;      /* 0 .. DS4_PICK_MAX_TOP */
} ds4_pick;

enum { DS4_PICK_MAX_TOP = 20 };

/* A choice. Log-probabilities are the model's, without temperature, filters and mask. */
typedef struct ds4_picked {
    int32_t       token;        /* -1: the mask allows none */
    float         logprob;
    uint32_t      n_top;
    ds4_candidate top[DS4_PICK_MAX_TOP];    /* the likeliest first; value is a log-probability */
} ds4_picked;

/* ---- sessions ----------------------------------------------------------------- */

/* Create an empty session for up to n_ctx tokens. Places for its KV rows are reserved; their
 * memory is taken from the device as the conversation grows, which may fail (see
 * ds4_engine_step) where a device has no more. After this call no step of the session
 * allocates anything else.
 *
 *   n_ctx   1 .. 1,048,576
 *
 * Returns DS4_OK; DS4_E_ARG for n_ctx out of range; DS4_E_NOMEM.                    */
DS4_MUST_CHECK ds4_status ds4_session_create(ds4_engine *e, uint32_t n_ctx, ds4_session **out, ds4_err *err);
void                      ds4_session_free(ds4_session *s);     /* NULL is fine */
void                      ds4_session_clear(ds4_session *s);    /* back to zero tokens */
uint32_t                  ds4_session_pos(const ds4_session *s);        /* tokens held */
uint32_t                  ds4_session_capacity(const ds4_session *s);   /* n_ctx */
const int32_t            *ds4_session_tokens(const ds4_session *s);     /* [pos], lent until the next step */

/* Tokens that can always be taken back after they were evaluated, if the session was not
 * restored in between: see ds4_session_rewind(). */
#define DS4_MAX_DRAFT 16

/* Take back the last n_tokens tokens: guesses that were refused, a stop text. The session then
 * is, bit for bit, what it was before them; no numbers are computed. Possible are the tokens
 * that came after the session was created, cleared or restored, as far as they are among the
 * last DS4_MAX_DRAFT of all that were evaluated, taken back or not: after taking back 10
 * tokens, 6 more are possible, and 16 again when 10 others have been evaluated.
 * ds4_session_rewindable() says how many that is now. Snapshots are not affected.
 *
 * Returns DS4_OK, also for 0 tokens; DS4_E_LIMIT for more than are possible; DS4_E_ARG after a
 * step that failed; DS4_E_NOMEM, DS4_E_IO or DS4_E_DEVICE when a block that a snapshot shares
 * cannot be copied. Then the session is unchanged.                                         */
DS4_MUST_CHECK ds4_status ds4_session_rewind(ds4_session *s, uint32_t n_tokens, ds4_err *err);
uint32_t                  ds4_session_rewindable(const ds4_session *s);

/* A position of a conversation to come back to. It shares the compressed rows of whole
 * blocks of 256 tokens with its session and others, and owns a tail: a few megabytes,
 * whatever the length. Snapshots are freed before their engine is closed. */
typedef struct ds4_snapshot ds4_snapshot;

/* Keep the session's position. The snapshot outlives the session, not the engine.
 * Returns DS4_OK; DS4_E_NOMEM; DS4_E_DEVICE. */
DS4_MUST_CHECK ds4_status ds4_session_snapshot(ds4_session *s, ds4_snapshot **out, ds4_err *err);

/* Make a session what another (or it itself) was when the snapshot was taken: the next
 * logits are bit for bit those of a session that never left. Rewinds and forks.
 *
 * Returns DS4_OK; DS4_E_LIMIT when the context is too small, DS4_E_ARG for a snapshot of
 * another engine (the session is unchanged); DS4_E_NOMEM, DS4_E_IO or DS4_E_DEVICE (the
 * session is empty).                                                                      */
DS4_MUST_CHECK ds4_status ds4_session_restore(ds4_session *s, const ds4_snapshot *p, ds4_err *err);
void                      ds4_snapshot_free(ds4_snapshot *p);               /* NULL is fine */
uint32_t                  ds4_snapshot_pos(const ds4_snapshot *p);          /* tokens held */
const int32_t            *ds4_snapshot_tokens(const ds4_snapshot *p);       /* [pos] */

/* The part of one step that belongs to one session. */
typedef struct ds4_work {
    ds4_session   *session;     /* at most once in a step */
    const int32_t *tokens;      /* [n_tokens] appended at the session's position */
    uint32_t       n_tokens;    /* >= 1; the sum over a step is at most max_batch */
    float         *logits;      /* [n_vocab] of the last token, or [n_tokens][n_vocab]
                                   with all_logits; NULL: none are computed */
    bool           all_logits;
    bool           decode;      /* the tokens are an answer's, sampled or drafted, and not a prompt's:
                                   a device may compute the two in different ways */
    const ds4_pick *pick;       /* choose a token behind the last one; NULL: none is chosen */
    ds4_picked     *picked;     /* receives it */
} ds4_work;

/* Run one step over n_work sessions.
 *
 * On success every session holds its new tokens. On failure no session advanced.
 * Each session's numbers are bit for bit those of the same tokens run alone.
 *
 * Returns DS4_OK; DS4_E_ARG for a bad token id, an empty or repeated entry or too many
 * tokens; DS4_E_LIMIT when a session's context is full; DS4_E_NOMEM when the device has no
 * memory for the rows of more tokens, and the sessions may go on later; DS4_E_DEVICE for a number that
 * is not finite; DS4_E_IO when streamed experts cannot be read, or after
 * ds4_faults_catch() when the file was cut. After the last two the sessions of the step must
 * be freed, cleared or restored.
 * Source: docs/MODEL.md section 3.                                                   */
DS4_MUST_CHECK ds4_status ds4_engine_step(ds4_engine *e, const ds4_work *work, uint32_t n_work, ds4_err *err);

/* A flag that asks a long call to stop. Set it from any thread or signal handler. */
typedef struct ds4_cancel {
    volatile int stop;          /* 0, or not 0 to stop */
} ds4_cancel;

/* Called between chunks with the tokens done so far and the total. */
typedef void ds4_progress_fn(void *ctx, uint32_t n_done, uint32_t n_total);

typedef struct ds4_prefill {
    const int32_t    *tokens;       /* [n_tokens] */
    uint32_t          n_tokens;     /* >= 1 */
    uint32_t          chunk;        /* tokens in one step; 0: max_batch */
    float            *logits;       /* [n_vocab] of the last token, or NULL */
    const ds4_cancel *cancel;       /* NULL: never */
    ds4_progress_fn  *progress;     /* NULL: silent */
    void             *progress_ctx;
} ds4_prefill;

/* Append tokens to a session in chunks: ds4_engine_step() for a prompt of any length.
 *
 * Returns as ds4_engine_step() does; DS4_E_LIMIT when the prompt does not fit (nothing was
 * appended); DS4_E_CANCELLED: the session holds the chunks that were finished, see
 * ds4_session_pos(), and can go on from there.                                           */
DS4_MUST_CHECK ds4_status ds4_session_prefill(ds4_session *s, const ds4_prefill *p, ds4_err *err);

/* ---- sampling on the host ---------------------------------------------------- */

typedef struct ds4_rng { uint64_t state[4]; } ds4_rng;
void ds4_rng_seed(ds4_rng *rng, uint64_t seed);         /* any seed, 0 too */

/* Draw a token. The same logits, settings and generator state give the same token.
 *
 *   logits    [n_vocab], finite; not changed
 *   n_vocab   ds4_model_info.n_vocab
 *   how       a zeroed one is greedy; what the file advises is in ds4_model_info
 *   rng       seeded once; not used at temperature 0
 *   scratch   [n_vocab] overwritten
 *
 * Returns the token id, or -1 if a logit is not finite.                             */
int32_t ds4_sample(const float *logits, uint32_t n_vocab, const ds4_sampling *how, ds4_rng *rng,
                   ds4_candidate *scratch);

#ifdef __cplusplus
}
#endif
#endif
