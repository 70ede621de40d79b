/* recipe.h - which element type each tensor of a model file gets: a small text file.
 *
 *     # a comment
 *     file-type 19                     the number that GGUF tools show for the recipe
 *     imatrix required                 the file is only worth making with importance
 *     *                 q8_0           a pattern and a type: the last line that fits a tensor decides
 *     ffn_down_exps     q4_k  37-42    only these layers
 *     ffn_*_exps        q4_k  mtp      only the block of the next tokens
 *
 * A pattern is a tensor's name without "blk.N." and without its end ".weight"; * stands for
 * any characters. Vectors are always f32, and the table of hashed experts is i32. */
#ifndef DS4_FORMAT_RECIPE_H
#define DS4_FORMAT_RECIPE_H

#include "base/err.h"
#include "base/str.h"
#include "format/dtype.h"

enum {
    DS4_RECIPE_MAX_RULES = 256,
    DS4_RECIPE_NO_LAYER  = 0xfffffffe,      /* embedding, output head */
    DS4_RECIPE_MTP       = 0xffffffff,      /* the block of the next tokens */
};

typedef struct ds4_recipe_rule {
    char     pattern[64];
    uint32_t dtype;
    uint32_t first, last; /* layers; DS4_RECIPE_MTP twice: that block; 0 and DS4_RECIPE_MTP: everywhere */
    uint32_t line;                      /* of the text; 0: not from a text */
    bool     used;                      /* some tensor fitted */
} ds4_recipe_rule;

typedef struct ds4_recipe {
    char        name[64];               /* in messages: a path, or words */
    uint32_t    file_type;
    bool        needs_importance;
    uint32_t    n_rules;
    ds4_recipe_rule rules[DS4_RECIPE_MAX_RULES];
} ds4_recipe;

/* Add a rule for all layers. Returns false when there are too many or the pattern is too long. */
bool ds4_recipe_add(ds4_recipe *r, const char *pattern, uint32_t dtype);

/* Read a text.
 *
 *   name   stands for the file in messages
 *
 * Returns DS4_OK; DS4_E_FORMAT with the line.                                          */
DS4_MUST_CHECK ds4_status ds4_recipe_parse(ds4_recipe *out, const char *name, ds4_slice text, ds4_err *err);

/* The type of a tensor, whose rule is marked as used.
 *
 *   base    the name without "blk.N." or "mtp.0." and without ".weight"
 *   layer   or DS4_RECIPE_NO_LAYER, DS4_RECIPE_MTP
 *
 * Returns false when no rule fits.                                                     */
bool ds4_recipe_type(ds4_recipe *r, const char *base, uint32_t layer, uint32_t *dtype);

/* Has every rule of the text fitted a tensor? A rule that fits none is a slip of the pen.
 * Rules for layers or blocks that this model lacks are fine.
 * Returns DS4_OK; DS4_E_FORMAT with the line.                                          */
DS4_MUST_CHECK ds4_status ds4_recipe_check_used(const ds4_recipe *r, ds4_err *err);

#endif
