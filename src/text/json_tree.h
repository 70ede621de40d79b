/* json_tree.h - a JSON text as a tree, read once: its values by number.
 *
 * Slices point into the text, which the caller keeps, or into the tree. */
#ifndef DS4_TEXT_JSON_TREE_H
#define DS4_TEXT_JSON_TREE_H

#include "text/pyjson.h"

#include <stdint.h>

typedef struct ds4_json_node {
    ds4_json_kind kind;
    uint32_t      first, next, n; /* first child, next sibling (0: none), children */
    ds4_slice     text;           /* the value as it is written */
    ds4_slice     name;           /* of a member, decoded */
    ds4_slice     string;         /* of a string, decoded */
} ds4_json_node;

typedef struct ds4_json_tree {
    ds4_json_node *node; /* [n]; 0 is none, 1 the whole */
    uint32_t       n, capacity;
    ds4_str        decoded;
} ds4_json_tree;

/* Read a text; to be cleared in every case.
 *
 *   most  values that it may have
 *
 * Returns DS4_OK; as ds4_pyjson_check(); DS4_E_LIMIT.                                      */
DS4_MUST_CHECK ds4_status ds4_json_tree_read(ds4_slice json, uint32_t most, ds4_json_tree *out,
                                             ds4_err *err);
void                      ds4_json_tree_clear(ds4_json_tree *t);

/* The last member of that name, or 0. */
uint32_t ds4_json_tree_member(const ds4_json_tree *t, uint32_t object, ds4_slice name);

#endif
