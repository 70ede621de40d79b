/* schema_members.h - the members of an object, gathered from all schemas of a leaf. */
#ifndef DS4_TEXT_SCHEMA_MEMBERS_H
#define DS4_TEXT_SCHEMA_MEMBERS_H

#include "text/schema.h"

enum { DS4_NAME_BUCKETS = 1024 };

/* A member that is named, and by which of the schemas it is spoken of. */
typedef struct ds4_named {
    ds4_slice name;
    uint32_t  next;    /* in the bucket */
    uint32_t  covered; /* schema (number in the leaf, + 1) that has named it last */
    uint32_t  list;    /* `properties` that has named it last */
    bool      required, banned;
} ds4_named;

/* A member's value must fit a schema. */
typedef struct ds4_demand {
    uint32_t member, node, next; /* next: of that member, + 1 */
} ds4_demand;

typedef struct ds4_members {
    ds4_schema      *s;
    uint32_t         set;
    ds4_object_form *out;
    ds4_named       *list;
    ds4_demand      *demands;
    uint32_t        *first; /* [n] of each member, + 1 */
    uint32_t         n, cap, n_demands, cap_demands, cap_first;
    uint32_t         bucket[DS4_NAME_BUCKETS];
    bool             open, closed; /* others are spoken of, or forbidden */
    bool             listed;       /* there is a list of members, even an empty one */
    bool             additional;   /* additionalProperties allows what no pattern matches */
} ds4_members;

static inline const ds4_json_node *ds4_members_node(const ds4_members *m, uint32_t node)
{
    return &m->s->tree.node[node];
}

/* The keywords of schema i of the leaf. */
static inline ds4_words ds4_members_words(ds4_members *m, uint32_t i)
{
    return *ds4_schema_words(m->s, m->s->member[m->s->set[m->set].first + i]);
}

/* The number of a member, new or not; 0 also when memory is short or the work is paid up. */
uint32_t ds4_members_number(ds4_members *m, ds4_slice name);

/* Note the members that a schema names, and which it requires. */
void ds4_members_add_named(ds4_members *m, const ds4_words *w);

/* Note what schema `number` of the leaf demands of members that its own list does not name. */
void ds4_members_demand_unnamed(ds4_members *m, uint32_t number, const ds4_words *w);

/* Write the members that nobody names into m->out: for each set of patterns the language of their names,
 * within `names` (NULL: any name). */
void ds4_members_add_others(ds4_members *m, const ds4_lang *names);

#endif
