/* dsml_scan.h - recognises tags and special tokens in output that is still arriving. */
#ifndef DS4_TEXT_DSML_SCAN_H
#define DS4_TEXT_DSML_SCAN_H

#include "base/str.h"
#include "text/vocab.h"

/* A special token that has a meaning for the reader. */
typedef enum ds4_sign {
    DS4_SIGN_NONE,
    DS4_SIGN_MORE,              /* the text ends inside what may become one */
    DS4_SIGN_THINK,
    DS4_SIGN_THINK_CLOSE,
    DS4_SIGN_DSML,
    DS4_SIGN_END,               /* EOS or EOT */
} ds4_sign;

typedef struct ds4_dsml_place {
    size_t   pos, n_bytes;
    ds4_sign sign;
} ds4_dsml_place;

/* The whole output so far. */
typedef struct ds4_dsml_text {
    ds4_str         bytes;
    ds4_dsml_place *places;     /* [n_places] special tokens by position, when tokens are read */
    size_t          n_places, capacity;
    const ds4_vocab *vocab;     /* NULL: special tokens are told from their spelling */
    bool            by_id;      /* tokens are read: a spelling alone is no special token */
    bool            final;      /* nothing more will come */
} ds4_dsml_text;

bool ds4_dsml_text_add_token(ds4_dsml_text *t, int32_t id);    /* false without memory */
void ds4_dsml_text_clear(ds4_dsml_text *t);

/* The special token at a place; n_bytes receives its length unless NONE or MORE. */
ds4_sign ds4_dsml_sign_at(const ds4_dsml_text *t, size_t at, size_t *n_bytes);

/* The next place from `at` on where a tag or a special token may begin; the end if none. */
size_t ds4_dsml_next_candidate(const ds4_dsml_text *t, size_t at);

typedef enum ds4_found {
    DS4_FOUND_NO,
    DS4_FOUND_MORE,             /* so far it fits, but the text ends */
    DS4_FOUND_YES,
} ds4_found;

/* Whether a parameter says that it is a string. */
typedef enum ds4_string_attr {
    DS4_STRING_UNSAID,
    DS4_STRING_TRUE,
    DS4_STRING_FALSE
} ds4_string_attr;

typedef struct ds4_dsml_tag {
    size_t          end;        /* behind the tag */
    ds4_slice       name;       /* of an invoke or parameter; points into the text */
    ds4_string_attr string;
    bool            real;       /* made with the special token */
    bool            odd;        /* not spelled as trained */
    bool            wrapped;    /* of an opener: it has the tool_calls tag */
} ds4_dsml_tag;

/* Match the opener of a block: the wrapper and the first invoke, or an invoke alone. The tag's end is
 * where the invoke begins.                                                            */
ds4_found ds4_dsml_match_opener(const ds4_dsml_text *t, size_t at, ds4_dsml_tag *tag);
ds4_found ds4_dsml_match_invoke(const ds4_dsml_text *t, size_t at, ds4_dsml_tag *tag);
ds4_found ds4_dsml_match_parameter(const ds4_dsml_text *t, size_t at, ds4_dsml_tag *tag);

/* The closing tags. real_only: the special token is required. */
ds4_found ds4_dsml_match_close_block(const ds4_dsml_text *t, size_t at, ds4_dsml_tag *tag);
ds4_found ds4_dsml_match_close_invoke(const ds4_dsml_text *t, size_t at, ds4_dsml_tag *tag);
ds4_found ds4_dsml_match_close_parameter(const ds4_dsml_text *t, size_t at, bool real_only,
                                         ds4_dsml_tag *tag);

/* Can a tool of this name be called, and the call be read back? A tag does not hold quotation marks,
 * angle brackets, control characters, and more than 512 bytes of a name. */
bool ds4_dsml_can_name(ds4_slice name);

/* True when a tag with the special token has begun at `at`, whatever it will become. */
bool ds4_dsml_tag_has_begun(const ds4_dsml_text *t, size_t at);

#endif
