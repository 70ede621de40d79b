/* file_plan.h - which tensors a file has, where each comes from, and its element type.
 *
 * The list is docs/MODEL.md section 2 as a table; the sizes come from the configuration,
 * so that a checkpoint whose tensors do not fit together is refused before any work. */
#ifndef DS4_APP_FILE_PLAN_H
#define DS4_APP_FILE_PLAN_H

#include "app/quantize/hf_dspark.h"
#include "format/recipe.h"
#include "app/quantize/source.h"

/* A checkpoint becomes one of these. */
typedef enum file_part {
    PART_MODEL,                 /* the model, with the MTP block if there is one */
    PART_MTP,                   /* the MTP block alone: a support file for a model without it */
    PART_DSPARK,                /* the DSpark drafter alone */
} file_part;

/* One tensor to write. */
typedef struct tensor_plan {
    char     name[96];
    char     from[128];         /* source name; with one %u for stacked experts */
    uint32_t dtype;
    uint32_t wanted;            /* the recipe's type; another than dtype if rows are no whole blocks */
    uint32_t n_dims;            /* 1, 2, or 3 for stacked experts */
    uint64_t dim[3];            /* columns, rows, experts */
} tensor_plan;

typedef struct plan {
    uint32_t     n;
    tensor_plan *tensors;       /* [n], owned */
} plan;

/* Name every tensor. Optional ones are in the plan when the checkpoint has them; the MTP
 * block is when it has mtp.0.*. A recipe for the whole model serves a part as well.
 *
 *   out     zeroed; plan_clear() frees it, also after a failure
 *   dspark  of the drafter; NULL for another part
 *   types   its rules are marked as they are used
 *
 * Returns DS4_OK; DS4_E_FORMAT when the recipe leaves a tensor without a type, names none, or gives
 * two types to a layer's gate and up, or when the checkpoint lacks the part; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status plan_make(plan *out, file_part part, const hf_config *config,
                                    const hf_dspark *dspark, ds4_recipe *types, const ds4_checkpoint *c,
                                    ds4_err *err);
void                      plan_clear(plan *p);

/* The source name of expert i of a stacked tensor, or of any tensor. */
void plan_source_name(const tensor_plan *t, uint32_t expert, char out[160]);

#endif
