/* encode_t66_search.h - the search for the codes of a T66 block: Viterbi's algorithm over the 2^16
 * states of the trellis; seen by src/format only.
 *
 * A state is eight digits of two bits, the oldest d0 lowest; a step shifts d0 out and d7 in. What
 * is kept between two steps is the least cost for each of the 4^7 values that seven digits can
 * have, with d0 in the highest bits of the index: the four costs that meet in a step lie in four
 * quarters, and new costs lie as they are made.
 *
 * Costs are bytes, for the search is bound by the bytes that it moves. All of it is exact
 * arithmetic, so each instruction set finds the same path. Source: docs/MODEL.md section 9.  */
#ifndef DS4_FORMAT_ENCODE_T66_SEARCH_H
#define DS4_FORMAT_ENCODE_T66_SEARCH_H

#include <stdint.h>

enum {
    T66_BLOCK    = 256,
    T66_ENDS     = 1 << 14,     /* values of seven digits */
    T66_CHUNK    = 64,          /* new costs that are made together, of 16 old ones in each quarter */
    T66_CHUNKS   = T66_ENDS / T66_CHUNK,
    T66_CLASSES  = 128,         /* of codes: k and k + 1 cost the same, k even */
    T66_MOST     = 254,         /* the largest cost of one weight */
    T66_NEVER    = 255,         /* the cost of what must not be, and of what is hopeless */
};

/* The least of four old costs, a bit for each new cost: is the second less than the first, the
 * fourth less than the third, the lesser of the last two less than that of the first two? */
typedef struct t66_choice {
    uint64_t second, fourth, last;
} t66_choice;

typedef struct t66_search {
    _Alignas(64) uint8_t class_of[4 * T66_ENDS];    /* (k + 126) / 2; d0 in the highest bits */
    _Alignas(64) uint8_t cost[2][T66_ENDS];         /* less the least of them */
    t66_choice choice[T66_BLOCK][T66_CHUNKS];
} t66_search;

/* One step: d7 is chosen. */
typedef struct t66_step {
    _Alignas(64) uint8_t price[T66_CLASSES];        /* of each class, at most T66_MOST */
    uint8_t banned[4];          /* T66_NEVER for a digit that must not be chosen, else 0 */
    /* The prices came from these: ((256 i - target) * factor / 2^15)^2 / 2^16 for class i, the root
     * doubled n_doubled times, all in saturating words of 16 bits. */
    int16_t target, factor;
    int     n_doubled;
} t66_step;

/* Make the costs [!from] and the choices [T66_CHUNKS] out of the costs [from]. All versions give
 * the same. */
typedef void t66_step_fn(t66_search *s, t66_choice *choice, int from, const t66_step *step);
t66_step_fn t66_step_plain;
#if defined(__x86_64__)
t66_step_fn t66_step_avx2, t66_step_vbmi;
#endif

#endif
