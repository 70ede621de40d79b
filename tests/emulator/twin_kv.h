/* twin_kv.h - sessions on two backends at once: the batch of a step, the state, and how it is
 * compared. */
#ifndef DS4_TESTS_EMULATOR_TWIN_KV_H
#define DS4_TESTS_EMULATOR_TWIN_KV_H

#include "emulator/twin.h"
#include "model/kv_layout.h"

enum { WALK_SESSIONS = 3, WALK_MAX_BLOCKS = 8, WALK_MAX_TOKENS = 256 };

typedef struct walk_session {
    uint32_t pos;                       /* tokens so far */
    twin_buf tail, cold, warm;          /* all blocks side by side */
    ds4_block block[TWIN_SIDES][WALK_MAX_BLOCKS];
} walk_session;

typedef struct walk {
    twin         *t;
    ds4_shape     shape;
    ds4_kv_layout kv;
    ds4_kv_layer  layers[DS4_MAX_LAYERS];
    walk_session  session[WALK_SESSIONS];
    twin_buf      freq, ape, row_norm, sink;
    uint32_t      most;                 /* tokens of a session in a step */
    /* The step. */
    uint32_t      n_tokens, n_spans;
    int32_t       token[WALK_MAX_TOKENS];
    uint32_t      pos[WALK_MAX_TOKENS], span_of[WALK_MAX_TOKENS];
    ds4_span      span[TWIN_SIDES][WALK_SESSIONS];
    ds4_batch     batch[TWIN_SIDES];
} walk;

void walk_open(walk *w, twin *t, const ds4_shape *shape, ds4_kv_form form, uint32_t most);
void walk_close(walk *w);

/* Choose who takes part in the next step, and with how many tokens. */
void             walk_advance(walk *w);
const ds4_batch *walk_batch(const walk *w, int side);

/* Weights of the indexer's heads for n tokens: such that scores are exact in float and many are equal. */
twin_buf walk_weights(const walk *w, uint32_t n);

/* Packed rows, and all state of a layer, agree up to neighbouring codes; side 1 gets what side 0 has. */
void walk_expect_rows(walk *w, twin_buf rows, uint32_t n, const char *what);
void walk_expect_state(walk *w, uint32_t layer);

/* Tokens that choose rows chose the same ones. */
void walk_expect_chosen(walk *w, twin_buf chosen);

#endif
