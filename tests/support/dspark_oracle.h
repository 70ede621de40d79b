/* dspark_oracle.h - DSpark evaluated anew: plain loops in double precision, after the formulas of its
 * description and nothing of the engine. It reads float32 weights of a support file of layout A. */
#ifndef DS4_TESTS_DSPARK_ORACLE_H
#define DS4_TESTS_DSPARK_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

/* A tensor's values by its name; NULL: there is none. */
typedef const float *oracle_tensor(void *ctx, const char *name);

typedef struct dspark_oracle {
    /* of the support file, and token_embd.weight and output.weight of the model */
    oracle_tensor *tensor;
    void          *ctx;
    int n_embd, n_vocab, n_hc, n_iters, n_heads, n_head, n_rot, q_rank, o_groups, o_rank, n_window;
    int n_experts, n_used, n_stages, n_taps, n_block, n_rank, noise;
    double norm_eps, hc_eps, rope_base, clamp, expert_scale;
    bool   fp8;                     /* rows are rounded as the model was trained with */
} dspark_oracle;

/* Guess n_block tokens.
 *
 *   streams   [n_pos][n_taps][n_hc][n_embd] of the model after each tapped layer, for positions 0 .. n_pos
 * - 1
 *   from      positions before it are not in the window
 *   next      the token of position n_pos
 *   token, chance    [n_block] receive the guesses
 *   margin    [n_block] receives by how much the best logit led                              */
void dspark_oracle_draft(const dspark_oracle *o, const float *streams, int n_pos, int from, int next,
                         int *token,
                         double *chance, double *margin);

#endif
