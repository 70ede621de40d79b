/* vocab_impl.h - the inside of a vocabulary, for the encoder only. */
#ifndef DS4_TEXT_VOCAB_IMPL_H
#define DS4_TEXT_VOCAB_IMPL_H

#include "text/pretok.h"
#include "text/vocab.h"

/* Two neighbouring tokens that may become one. */
typedef struct ds4_merge {
    int32_t  left, right;
    int32_t  product;           /* -1 in an empty slot */
    uint32_t rank;              /* lower merges first */
} ds4_merge;

/* Texts of special tokens as a tree of bytes; node 0 is none. */
typedef struct ds4_trie_node {
    uint8_t  byte;
    int32_t  id;                /* the token that ends here, or -1 */
    uint32_t child, sibling;
} ds4_trie_node;

struct ds4_vocab {
    uint32_t       n_tokens;
    char          *bytes;               /* all tokens in a row */
    uint32_t      *offsets;             /* [n_tokens + 1] into bytes */
    uint8_t       *types;               /* [n_tokens] ds4_token_type */
    int32_t       *slots;               /* [slot_mask + 1] normal and special ids by bytes, or -1 */
    uint32_t       slot_mask;
    ds4_merge     *merges;              /* [merge_mask + 1] by left and right */
    uint32_t       merge_mask;
    int32_t        byte_ids[256];       /* the token of a single byte, or -1 */
    ds4_trie_node *trie;                /* [n_trie] */
    uint32_t       n_trie, trie_capacity;
    uint32_t       trie_roots[256];     /* nodes by first byte, 0 for none */
    ds4_char_map  *map;
    ds4_specials   specials;
};

static inline uint32_t ds4_merge_hash(int32_t left, int32_t right)
{
    const uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return (uint32_t)((key * 0x9E3779B97F4A7C15u) >> 32);
}

/* The merge of two tokens, or NULL. */
static inline const ds4_merge *ds4_merge_find(const ds4_vocab *v, int32_t left, int32_t right)
{
    uint32_t i = ds4_merge_hash(left, right) & v->merge_mask;
    for (;; i = (i + 1) & v->merge_mask) {
        const ds4_merge *m = &v->merges[i];
        if (m->product < 0) return NULL;
        if (m->left == left && m->right == right) return m;
    }
}

/* The first special token in data, leftmost then longest: its id and place, or -1. */
int32_t ds4_vocab_next_special(const ds4_vocab *v, const char *data, size_t n_bytes, size_t *begin,
                               size_t *n_found);

#endif
