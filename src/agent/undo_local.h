/* undo_local.h - what the files of undo share: states of a name, the journal, what is remembered of it,
 * the list of the tree. */
#ifndef DS4_AGENT_UNDO_LOCAL_H
#define DS4_AGENT_UNDO_LOCAL_H

#include "agent/keep.h"
#include "agent/undo.h"

/* The state of a name: kind, permissions, content (of a link: where it leads). */
typedef struct undo_state {
    char     kind;      /* '-' nothing, 'f' file, 'l' link, 'd' folder, 'x' a file that was not kept */
    unsigned mode;
    uint8_t  hash[DS4_SHA256_BYTES];
} undo_state;

typedef struct undo_record {
    char      *name;
    undo_state was, now;
} undo_record;

/* A name of the tree and the facts by which it is known not to have changed. */
typedef struct undo_entry {
    char      *name;
    undo_state state;
    uint64_t   inode, n_bytes;
    int64_t    mtime_ns, ctime_ns;
    bool       fresh;           /* changed so lately that the facts may miss a change */
} undo_entry;

typedef struct undo_tree {
    undo_entry *entry;          /* [n], sorted by name once it is complete */
    size_t      n, capacity;
    char      **ignored;        /* [n_ignored] what .gitignore left out; sorted */
    size_t      n_ignored, ignored_capacity;
    size_t      n_large, n_unreadable;
    bool        bounded;
} undo_tree;

struct ds4_undo {
    const ds4_root *root;
    ds4_undo_limits limits;
    int             dir, journal;
    uint64_t        journal_bytes;
    ds4_keep       *keep;
    undo_record    *record;     /* [n_records] all changes since the beginning */
    size_t          n_records, records_capacity;
    size_t         *newest;     /* [n_newest] a hash table of names: the number of a record + 1, or 0 */
    size_t          n_newest;   /* a power of two, or 0 */
    uint64_t       *mark;       /* [n_marks] growing, and the records that came before each */
    size_t         *mark_at;
    size_t          n_marks, marks_capacity;
    uint64_t        next_mark;
    size_t          n_damaged;  /* lines of the journal that cannot be read */
    undo_tree       tree;       /* of the last look */
    bool            in_command; /* begun and not ended */
};

static inline bool undo_state_eq(const undo_state *a, const undo_state *b)
{
    if (a->kind != b->kind) return false;
    if (a->kind == '-') return true;
    if (a->mode != b->mode && a->kind != 'l') return false;
    if (a->kind == 'd') return true;
    for (int i = 0; i < DS4_SHA256_BYTES; i++) {
        if (a->hash[i] != b->hash[i]) return false;
    }
    return true;
}

/* ---- undo_journal.c ---- */

/* Append lines and sync them; on failure the journal is as before. */
DS4_MUST_CHECK ds4_status undo_journal_add(ds4_undo *u, const ds4_str *lines, ds4_err *err);
void undo_line_mark(ds4_str *lines, uint64_t mark);
void undo_line_back(ds4_str *lines, uint64_t mark);
void undo_line_command(ds4_str *lines, bool begins);
void undo_line_change(ds4_str *lines, const char *name, const undo_state *was, const undo_state *now);
DS4_MUST_CHECK ds4_status undo_journal_read(ds4_undo *u, ds4_err *err);

/* A state as text and back, also in the list of the tree. */
void        undo_state_write(ds4_str *out, const undo_state *s);
const char *undo_state_read(const char *at, undo_state *s);         /* behind it, or NULL */
void        undo_name_write(ds4_str *out, const char *name);        /* without spaces and line feeds */
/* the caller frees it; NULL: not a name */
char       *undo_name_read(const char *at, size_t n_bytes);

/* ---- undo_memory.c ---- */

/* Remember a change or a mark in memory. False without memory. */
bool undo_remember(ds4_undo *u, const char *name, const undo_state *was, const undo_state *now);
bool undo_remember_mark(ds4_undo *u, uint64_t mark);
void undo_forget_records(ds4_undo *u, size_t n_kept);               /* all but the first n_kept */
void undo_forget_marks(ds4_undo *u, uint64_t after);
void undo_memory_clear(ds4_undo *u);
/* The last change of a name, lent until the next one is remembered; NULL: there is none. Takes the same time
 * however many there are. */
const undo_record *undo_newest(const ds4_undo *u, const char *name);

/* ---- undo_tree.c ---- */

/* Look at the tree: entries of `old` whose facts agree keep their hash, others are read and kept. */
DS4_MUST_CHECK ds4_status undo_tree_look(ds4_undo *u, const undo_tree *old, undo_tree *out, ds4_err *err);
void undo_tree_clear(undo_tree *t);
bool undo_tree_ignores(const undo_tree *t, const char *name);       /* the name or a folder above it */
DS4_MUST_CHECK ds4_status undo_tree_save(ds4_undo *u, ds4_err *err);
DS4_MUST_CHECK ds4_status undo_tree_load(ds4_undo *u, ds4_err *err);

/* Find the state of a name now; its content is kept when `keep`. content receives the bytes of a file or
 * link; may be NULL. Large files are 'x'. */
DS4_MUST_CHECK ds4_status undo_state_now(ds4_undo *u, const char *name, uint64_t max_bytes, bool keep,
                                         undo_state *out, ds4_str *content, ds4_err *err);

#endif
