/* suffix_index.h - the longest end of a text that the text has had before.
 *
 * A suffix automaton over tokens, which grows with the text: a token costs some 100 ns, however
 * long the text is. Zeroed with max_tokens set is ready. */
#ifndef DS4_SERVICE_SUFFIX_INDEX_H
#define DS4_SERVICE_SUFFIX_INDEX_H

#include <stdbool.h>
#include <stdint.h>

typedef struct suffix_state suffix_state;
typedef struct suffix_edge  suffix_edge;

typedef struct suffix_index {
    uint32_t      max_tokens;   /* then the older half of the text is forgotten */
    int32_t      *text;         /* [n_text] */
    uint32_t      n_text, text_room;
    suffix_state *state;        /* [n_states]; 0 is the empty text */
    uint32_t      n_states, state_room;
    suffix_edge  *edge;         /* [n_edges] */
    uint32_t      n_edges, edge_room;
    uint32_t     *bucket;       /* [n_buckets] edges by state and token; a power of two */
    uint32_t      n_buckets;
    uint32_t      last;         /* the state of the whole text */
    uint32_t      match, match_end;     /* see suffix_index_match() */
    bool          failed;       /* memory was short: it has forgotten all, and stays empty */
} suffix_index;

void suffix_index_clear(suffix_index *x);       /* gives its memory back, and is as zeroed */

/* The text has one token more, any number; -1 stands for a gap that nothing is guessed over. */
void suffix_index_add(suffix_index *x, int32_t token);

/* Length of the longest end of the text that occurs earlier in it; 0: none. *end receives
 * the place in the text behind the last such place. */
uint32_t suffix_index_match(const suffix_index *x, uint32_t *end);

#endif
