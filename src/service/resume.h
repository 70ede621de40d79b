/* resume.h - prompts go on from what is known of them: positions in memory and on disk, behind
 * one door.
 *
 * A caller asks for the tokens of a prompt (ds4_prompt_begin), has a session brought to the
 * longest beginning of it that the session itself, memory or the store has
 * (ds4_prompt_bring), and evaluates the rest, pausing where a position is worth keeping
 * (ds4_prompt_next, ds4_prompt_reached). While it answers it reports each token, and the end
 * of the turn. The logits that follow are those of a run that knew nothing. Seats do all of
 * this: see seat.h.
 *
 * Positions are kept at the end of system prompt and tools, where clients change what they sent
 * (prompt_marks.h), where a prompt parts from one that is known, before the last token of
 * each prompt, at the end of each turn, and every DS4_PROMPT_STEP tokens of a long prompt. On
 * disk they lie at multiples of DS4_EVEN, where a tail is smallest; the few tokens from there
 * to the end of the turn are stored as numbers and evaluated again.
 *
 * Belongs to the thread that owns the engine. What goes to the disk is written by another
 * one, see store_writer.h; freeing waits for it. */
#ifndef DS4_SERVICE_RESUME_H
#define DS4_SERVICE_RESUME_H

#include "service/kept.h"
#include "service/prompt_marks.h"
#include "service/store/store_writer.h"
#include "service/wording.h"

enum {
    DS4_EVEN = 128,
    DS4_PROMPT_STEP = 4096,             /* tokens between positions of a long prompt, in memory */
    DS4_PROMPT_STORE_STEP = 16384,      /* on disk */
    DS4_ANCHOR_MIN = 128,               /* least system prompt that is worth a position */
};
#define DS4_RESUME_MEM_BYTES   (UINT64_C(512) << 20)
#define DS4_RESUME_LEAST_BYTES (UINT64_C(32) << 20)

typedef struct ds4_resume ds4_resume;

typedef struct ds4_resume_options {
    ds4_engine *engine;         /* lent */
    uint64_t    mem_bytes;      /* of kept positions; 0: DS4_RESUME_MEM_BYTES, or less when memory
                                   is short, but DS4_RESUME_LEAST_BYTES */
    const char *dir;            /* of the store; NULL: none */
    uint64_t    dir_bytes;      /* see ds4_store_options */
    uint32_t    min_tokens;     /* the same */
} ds4_resume_options;

/* Returns DS4_OK; as ds4_store_open(); DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_resume_create(const ds4_resume_options *opt, ds4_resume **out,
                                            ds4_err *err);
void                      ds4_resume_free(ds4_resume *r);       /* NULL is fine */
ds4_kept                 *ds4_resume_kept(ds4_resume *r);
ds4_store                *ds4_resume_store(ds4_resume *r);      /* NULL: none */
void                      ds4_resume_settle(ds4_resume *r);     /* wait until all is on the disk */

/* Positions that no prompt is named for are this reader's from now on. */
void ds4_resume_read_for(ds4_resume *r, const ds4_kv_key *reader);

/* Any thread may call these. */
ds4_identity_names ds4_resume_names(ds4_resume *r);     /* of the model; zero without a store */
void ds4_resume_flush(ds4_resume *r);   /* store at once what waits, also after a failure */
bool ds4_resume_stores(const ds4_resume *r, uint64_t *n_failures);      /* false: no store, or it failed */

/* ---- a prompt that enters a session ---------------------------------------------------------- */

/* Zeroed is empty. */
typedef struct ds4_prompt {
    ds4_tokens tokens;          /* all of it */
    ds4_kv_key reader;          /* for whom: positions of another one are not taken; zero: of all */
    uint32_t   n_held;          /* of these in the session when evaluation begins */
    ds4_prompt_marks marks;     /* positions worth keeping */
    uint32_t   turn;            /* likewise, in front of the last token; 0: none */
    uint32_t   parting;         /* likewise, in front of the place where it leaves what is known; 0: none */
    ds4_stored pin;             /* where it was resumed on disk */
} ds4_prompt;

/* Choose the tokens of a text, as they were evaluated where that is known.
 *
 *   plain      its encoding, or NULL
 *   session    [n_sessions] whose tokens are known too
 *
 * Returns DS4_OK; DS4_E_ARG for an empty text; as ds4_segments_encode(); DS4_E_NOMEM.
 * Failures of the store are logged and do not matter.                                   */
DS4_MUST_CHECK ds4_status ds4_prompt_begin(ds4_resume *r, ds4_prompt *prompt, const ds4_segments *text,
                                           const ds4_tokens *plain, ds4_session *const *session,
                                           uint32_t n_sessions, ds4_err *err);

/* Take tokens as they are, whatever is known of their text: copied. Returns DS4_OK; DS4_E_ARG for none;
 * DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_prompt_exact(ds4_resume *r, ds4_prompt *prompt, const ds4_tokens *tokens,
                                           ds4_err *err);

/* Tokens of the prompt that a session holds as it is: its position if that is a beginning of
 * the prompt with something left to evaluate, else 0. has_logits: the logits of its last token
 * are there, so that nothing need be left. */
uint32_t ds4_prompt_held(const ds4_prompt *prompt, const ds4_session *s, bool has_logits);

/* Bring a session to the longest known beginning of the prompt; prompt->n_held says how long
 * that is. A conversation that the session leaves is kept in memory.
 *
 * Returns DS4_OK, also when there was none (the session is empty); DS4_E_LIMIT when the
 * context is too small for the prompt (the session is unchanged); DS4_E_DEVICE.         */
DS4_MUST_CHECK ds4_status ds4_prompt_bring(ds4_resume *r, ds4_prompt *prompt, ds4_session *s,
                                           bool has_logits, ds4_err *err);

/* The position behind pos where evaluation should pause: the end of the prompt, or one before it that
 * is a multiple of cut. */
uint32_t ds4_prompt_next(const ds4_prompt *prompt, uint32_t pos, uint32_t cut);

/* The session has evaluated the prompt to its position: keep it if it is worth it. */
void ds4_prompt_reached(ds4_resume *r, const ds4_prompt *prompt, ds4_session *s);

/* Evaluation was stopped: what was done stays, also on disk. */
void ds4_prompt_stopped(ds4_resume *r, const ds4_prompt *prompt, ds4_session *s);

void ds4_prompt_clear(ds4_prompt *prompt);

/* ---- an answer --------------------------------------------------------------------------------- */

/* The session holds one more token of the answer to a prompt. */
void ds4_resume_sampled(ds4_resume *r, const ds4_prompt *prompt, ds4_session *s);

/* The turn is over. */
void ds4_resume_turn_over(ds4_resume *r, ds4_prompt *prompt, ds4_session *s);

#endif
