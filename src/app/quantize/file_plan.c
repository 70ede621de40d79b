/* file_plan.c - see file_plan.h. */
#include "app/quantize/file_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/dtype.h"

/* The form in which a tensor is stored. */
typedef enum class { VECTOR, FINE, MATRIX, TABLE, EXPERT } class;

/* The layers in which a tensor occurs; FIRST and LAST are stages of the drafter. */
typedef enum where { ALL, COMP, INDEXED, HASHED, BIAS, MTP, FIRST, LAST } where;

/* Sizes by name, resolved for one layer. */
typedef enum size {
    ONE, THREE, N_EMBD, N_VOCAB, N_HC, HC_IN, HC_OUT, HEADS, HEAD, Q_RANK, Q_OUT, O_IN, O_MID,
    C_OUT, RATIO, INDEX, I_OUT, INDEX_N, INDEX_Q, EXPERTS, USED, FFN, TAPS, RANK, JUDGED,
} size;

typedef struct entry {
    const char *to;             /* without its end: ".bias" for BIAS, else ".weight" */
    const char *from;
    class       kind;
    size        in, out;        /* columns and rows; a vector has columns only */
    where       where;
} entry;

static const entry globals[] = {
    { "token_embd",      "embed.weight",  MATRIX, N_EMBD, N_VOCAB, ALL },
    { "output_norm",     "norm.weight",   VECTOR, N_EMBD, ONE,     ALL },
    { "output",          "head.weight",   MATRIX, N_EMBD, N_VOCAB, ALL },
    { "output_hc_fn",    "hc_head_fn",    FINE,   HC_IN,  N_HC,    ALL },
    { "output_hc_scale", "hc_head_scale", VECTOR, ONE,    ONE,     ALL },
    { "output_hc_base",  "hc_head_base",  VECTOR, N_HC,   ONE,     ALL },
};

static const entry layer[] = {
    { "hc_attn_fn",              "hc_attn_fn",                           FINE,    HC_IN,   HC_OUT,  ALL     },
    { "hc_attn_scale",           "hc_attn_scale",                        VECTOR,  THREE,   ONE,     ALL     },
    { "hc_attn_base",            "hc_attn_base",                         VECTOR,  HC_OUT,  ONE,     ALL     },
    { "attn_norm",               "attn_norm.weight",                     VECTOR,  N_EMBD,  ONE,     ALL     },
    { "attn_q_a",                "attn.wq_a.weight",                     MATRIX,  N_EMBD,  Q_RANK,  ALL     },
    { "attn_q_a_norm",           "attn.q_norm.weight",                   VECTOR,  Q_RANK,  ONE,     ALL     },
    { "attn_q_b",                "attn.wq_b.weight",                     MATRIX,  Q_RANK,  Q_OUT,   ALL     },
    { "attn_kv",                 "attn.wkv.weight",                      MATRIX,  N_EMBD,  HEAD,    ALL     },
    { "attn_kv_a_norm",          "attn.kv_norm.weight",                  VECTOR,  HEAD,    ONE,     ALL     },
    { "attn_sinks",              "attn.attn_sink",                       VECTOR,  HEADS,   ONE,     ALL     },
    { "attn_output_a",           "attn.wo_a.weight",                     MATRIX,  O_IN,    O_MID,   ALL     },
    { "attn_output_b",           "attn.wo_b.weight",                     MATRIX,  O_MID,   N_EMBD,  ALL     },
    { "attn_compressor_kv",      "attn.compressor.wkv.weight",           MATRIX,  N_EMBD,  C_OUT,   COMP    },
    { "attn_compressor_gate",    "attn.compressor.wgate.weight",         MATRIX,  N_EMBD,  C_OUT,   COMP    },
    { "attn_compressor_ape",     "attn.compressor.ape",                  FINE,    C_OUT,   RATIO,   COMP    },
    { "attn_compressor_norm",    "attn.compressor.norm.weight",          VECTOR,  HEAD,    ONE,     COMP    },
    { "indexer.attn_q_b",        "attn.indexer.wq_b.weight",             MATRIX,  Q_RANK,  INDEX_Q, INDEXED },
    { "indexer.proj",            "attn.indexer.weights_proj.weight",     FINE,    N_EMBD,  INDEX_N, INDEXED },
    { "indexer_compressor_kv",   "attn.indexer.compressor.wkv.weight",   MATRIX,  N_EMBD,  I_OUT,   INDEXED },
    { "indexer_compressor_gate", "attn.indexer.compressor.wgate.weight", MATRIX,  N_EMBD,  I_OUT,   INDEXED },
    { "indexer_compressor_ape",  "attn.indexer.compressor.ape",          FINE,    I_OUT,   RATIO,   INDEXED },
    { "indexer_compressor_norm", "attn.indexer.compressor.norm.weight",  VECTOR,  INDEX,   ONE,     INDEXED },
    { "hc_ffn_fn",               "hc_ffn_fn",                            FINE,    HC_IN,   HC_OUT,  ALL     },
    { "hc_ffn_scale",            "hc_ffn_scale",                         VECTOR,  THREE,   ONE,     ALL     },
    { "hc_ffn_base",             "hc_ffn_base",                          VECTOR,  HC_OUT,  ONE,     ALL     },
    { "ffn_norm",                "ffn_norm.weight",                      VECTOR,  N_EMBD,  ONE,     ALL     },
    { "ffn_gate_inp",            "ffn.gate.weight",                      FINE,    N_EMBD,  EXPERTS, ALL     },
    { "exp_probs_b",             "ffn.gate.bias",                        VECTOR,  EXPERTS, ONE,     BIAS    },
    { "ffn_gate_tid2eid",        "ffn.gate.tid2eid",                     TABLE,   USED,    N_VOCAB, HASHED  },
    { "ffn_gate_exps",           "ffn.experts.%u.w1.weight",             EXPERT,  N_EMBD,  FFN,     ALL     },
    { "ffn_up_exps",             "ffn.experts.%u.w3.weight",             EXPERT,  N_EMBD,  FFN,     ALL     },
    { "ffn_down_exps",           "ffn.experts.%u.w2.weight",             EXPERT,  FFN,     N_EMBD,  ALL     },
    { "ffn_gate_shexp",          "ffn.shared_experts.w1.weight",         MATRIX,  N_EMBD,  FFN,     ALL     },
    { "ffn_up_shexp",            "ffn.shared_experts.w3.weight",         MATRIX,  N_EMBD,  FFN,     ALL     },
    { "ffn_down_shexp",          "ffn.shared_experts.w2.weight",         MATRIX,  FFN,     N_EMBD,  ALL     },
    { "e_proj",                  "e_proj.weight",                        MATRIX,  N_EMBD,  N_EMBD,  MTP     },
    { "h_proj",                  "h_proj.weight",                        MATRIX,  N_EMBD,  N_EMBD,  MTP     },
    { "enorm",                   "enorm.weight",                         VECTOR,  N_EMBD,  ONE,     MTP     },
    { "hnorm",                   "hnorm.weight",                         VECTOR,  N_EMBD,  ONE,     MTP     },
    { "norm",                    "norm.weight",                          VECTOR,  N_EMBD,  ONE,     MTP     },
    { "hc_head_fn",              "hc_head_fn",                           FINE,    HC_IN,   N_HC,    MTP     },
    { "hc_head_scale",           "hc_head_scale",                        VECTOR,  ONE,     ONE,     MTP     },
    { "hc_head_base",            "hc_head_base",                         VECTOR,  N_HC,    ONE,     MTP     },
};

/* The drafter has these beside its layers. */
static const entry drafter[] = {
    { "main_proj",               "main_proj.weight",                     MATRIX, TAPS,   N_EMBD,  FIRST },
    { "main_norm",               "main_norm.weight",                     VECTOR, N_EMBD, ONE,     FIRST },
    { "norm",                    "norm.weight",                          VECTOR, N_EMBD, ONE,     LAST  },
    { "hc_head_fn",              "hc_head_fn",                           FINE,   HC_IN,  N_HC,    LAST  },
    { "hc_head_scale",           "hc_head_scale",                        VECTOR, ONE,    ONE,     LAST  },
    { "hc_head_base",            "hc_head_base",                         VECTOR, N_HC,   ONE,     LAST  },
    { "markov_head.markov_w1",   "markov_head.markov_w1.weight",         MATRIX, RANK,   N_VOCAB, LAST  },
    { "markov_head.markov_w2",   "markov_head.markov_w2.weight",         MATRIX, RANK,   N_VOCAB, LAST  },
    { "confidence_head.proj",    "confidence_head.proj.weight",          MATRIX, JUDGED, ONE,     LAST  },
};

enum {
    N_GLOBALS = sizeof globals / sizeof globals[0],
    N_LAYER = sizeof layer / sizeof layer[0],
    N_DRAFTER = sizeof drafter / sizeof drafter[0],
};

typedef enum block { GLOBAL, LAYER, NEXT, STAGE } block;

/* One layer being planned. */
typedef struct planner {
    plan                 *out;
    const hf_config      *c;
    const hf_dspark      *dspark;
    ds4_recipe           *types;
    const ds4_checkpoint *checkpoint;
    char                  to_prefix[32], from_prefix[32];
    block                 block;
    uint32_t              i_layer, ratio;       /* of its kind */
} planner;

static uint64_t size_of(const planner *p, size s)
{
    const hf_config *c = p->c;
    const uint64_t   halves = p->ratio == 4 ? 2 : 1, q_out = (uint64_t)c->n_heads * c->n_head;

    switch (s) {
    case ONE:        return 1;
    case THREE:      return 3;
    case N_EMBD:     return c->n_embd;
    case N_VOCAB:    return c->n_vocab;
    case N_HC:       return c->n_hc;
    case HC_IN:      return (uint64_t)c->n_hc * c->n_embd;
    case HC_OUT:     return (uint64_t)c->n_hc * (2 + c->n_hc);
    case HEADS:      return c->n_heads;
    case HEAD:       return c->n_head;
    case Q_RANK:     return c->q_rank;
    case Q_OUT:      return q_out;
    case O_IN:       return q_out / c->o_groups;
    case O_MID:      return (uint64_t)c->o_groups * c->o_rank;
    case C_OUT:      return halves * c->n_head;
    case RATIO:      return p->ratio;
    case INDEX:      return c->n_index;
    case I_OUT:      return halves * c->n_index;
    case INDEX_N:    return c->index_heads;
    case INDEX_Q:    return (uint64_t)c->index_heads * c->n_index;
    case EXPERTS:    return c->n_experts;
    case USED:       return c->n_used;
    case FFN:        return c->n_ffn;
    case TAPS:       return (uint64_t)p->dspark->n_taps * c->n_embd;
    case RANK:       return p->dspark->rank;
    case JUDGED:     return (uint64_t)c->n_embd + p->dspark->rank;
    }
    return 0;
}

/* Vectors and tables have one form each, and the small matrices of the MTP block are exact: they are read
 * by programs that know no other type there. The recipe has its say about all others. */
static bool wanted_type(planner *p, const entry *e, uint32_t *dtype)
{
    const uint32_t at = p->block == GLOBAL  ? DS4_RECIPE_NO_LAYER
                        : p->block == LAYER ? p->i_layer
                                            : DS4_RECIPE_MTP;
    const bool     known = ds4_recipe_type(p->types, e->to, at, dtype);

    if (e->kind == VECTOR || (p->block == NEXT && e->kind == FINE)) *dtype = DS4_F32;
    else if (e->kind == TABLE) *dtype = DS4_I32;
    else return known;
    return true;
}

/* The wanted type, or the nearest one whose blocks fit into the rows. */
static uint32_t fitting_type(uint32_t wanted, uint64_t n_columns)
{
    if (ds4_row_bytes(wanted, n_columns) != 0) return wanted;
    return ds4_row_bytes(DS4_Q8_0, n_columns) != 0 ? DS4_Q8_0 : DS4_BF16;
}

static bool occurs(const planner *p, const entry *e, const char *from)
{
    const bool hashed = p->block == LAYER && p->i_layer < p->c->n_hash;

    switch (e->where) {
    case ALL:        return true;
    case COMP:       return p->ratio != 0;
    case INDEXED:    return p->ratio == 4;
    case HASHED:     return hashed;
    case BIAS:       return !hashed && ds4_checkpoint_find(p->checkpoint, from);
    case MTP:        return p->block == NEXT;
    case FIRST:      return p->i_layer == 0;
    case LAST:       return p->i_layer + 1 == p->dspark->n_stages;
    }
    return false;
}

static ds4_status add(planner *p, const entry *e, ds4_err *err)
{
    tensor_plan t = { .n_dims = 2 };

    snprintf(t.name, sizeof t.name, "%s%s%s", p->to_prefix, e->to, e->where == BIAS ? ".bias" : ".weight");
    snprintf(t.from, sizeof t.from, "%s%s", p->from_prefix, e->from);
    /* Asked also for one that this layer lacks, so that a rule for it counts as used. */
    const bool has_type = wanted_type(p, e, &t.wanted);
    if (!occurs(p, e, t.from)) return DS4_OK;
    if (!has_type) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: no line gives a type to \"%s\"", p->types->name, t.name);
    }
    t.dim[0] = size_of(p, e->in);
    t.dim[1] = size_of(p, e->out);
    t.dim[2] = p->c->n_experts;
    t.n_dims = e->kind == VECTOR ? 1 : e->kind == EXPERT ? 3 : 2;
    t.dtype = fitting_type(t.wanted, t.dim[0]);
    p->out->tensors[p->out->n++] = t;
    return DS4_OK;
}

/* Gate and up are multiplied together and must have one type. */
static ds4_status check_pair(const planner *p, uint32_t from, ds4_err *err)
{
    const tensor_plan *gate = NULL;

    for (uint32_t i = from; i < p->out->n; i++) {
        const tensor_plan *t = &p->out->tensors[i];
        if (strstr(t->name, "ffn_gate_exps")) gate = t;
        if (!gate || !strstr(t->name, "ffn_up_exps") || t->dtype == gate->dtype) continue;
        return ds4_fail(err, DS4_E_FORMAT, "%s: \"%s\" is %s and \"%s\" is %s; they need one type",
                        p->types->name, gate->name, ds4_dtype_get(gate->dtype)->name, t->name,
                        ds4_dtype_get(t->dtype)->name);
    }
    return DS4_OK;
}

static void enter(planner *p, block kind, const char *to, const char *from, uint32_t i)
{
    p->block = kind;
    p->i_layer = i;
    p->ratio = kind == LAYER ? p->c->ratio[i] : 0;
    snprintf(p->to_prefix, sizeof p->to_prefix, "%s.%u.", to, i);
    snprintf(p->from_prefix, sizeof p->from_prefix, "%s.%u.", from, i);
}

static ds4_status add_layer(planner *p, ds4_err *err)
{
    const uint32_t from = p->out->n;

    for (size_t i = 0; i < N_LAYER; i++) DS4_TRY(add(p, &layer[i], err));
    return check_pair(p, from, err);
}

static ds4_status add_model(planner *p, ds4_err *err)
{
    for (size_t i = 0; i < N_GLOBALS; i++) DS4_TRY(add(p, &globals[i], err));
    for (uint32_t i = 0; i < p->c->n_layers; i++) {
        enter(p, LAYER, "blk", "layers", i);
        DS4_TRY(add_layer(p, err));
    }
    return DS4_OK;
}

static ds4_status add_stages(planner *p, ds4_err *err)
{
    for (uint32_t i = 0; i < p->dspark->n_stages; i++) {
        enter(p, STAGE, "mtp", "mtp", i);
        DS4_TRY(add_layer(p, err));
        for (size_t k = 0; k < N_DRAFTER; k++) DS4_TRY(add(p, &drafter[k], err));
    }
    return DS4_OK;
}

/* A recipe names tensors of the model that a part lacks, or of a drafter: those lines are in order too. */
static void mark_other_names(planner *p)
{
    uint32_t dtype;

    for (size_t i = 0; i < N_GLOBALS; i++) (void)wanted_type(p, &globals[i], &dtype);
    for (size_t i = 0; i < N_DRAFTER; i++) (void)wanted_type(p, &drafter[i], &dtype);
}

ds4_status plan_make(plan *out, file_part part, const hf_config *config, const hf_dspark *dspark,
                     ds4_recipe *types, const ds4_checkpoint *c, ds4_err *err)
{
    const bool     has_mtp = ds4_checkpoint_find(c, "mtp.0.e_proj.weight");
    const uint32_t n_blocks = (part == PART_MODEL ? config->n_layers : dspark ? dspark->n_stages : 0) + 1;
    planner        p = { .out = out, .c = config, .dspark = dspark, .types = types, .checkpoint = c };

    if (part == PART_MTP && !has_mtp) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "the checkpoint has no MTP block: \"mtp.0.e_proj.weight\" is missing");
    }
    out->tensors = calloc(N_GLOBALS + n_blocks * (size_t)(N_LAYER + N_DRAFTER), sizeof *out->tensors);
    if (!out->tensors) return ds4_fail(err, DS4_E_NOMEM, "no memory for the list of tensors");
    mark_other_names(&p);
    if (part == PART_MODEL) DS4_TRY(add_model(&p, err));
    if (part == PART_DSPARK) DS4_TRY(add_stages(&p, err));
    if (part != PART_DSPARK && has_mtp) {
        enter(&p, NEXT, "mtp", "mtp", 0);
        DS4_TRY(add_layer(&p, err));
    }
    return ds4_recipe_check_used(types, err);
}

void plan_clear(plan *p)
{
    free(p->tensors);
    *p = (plan){ 0 };
}

void plan_source_name(const tensor_plan *t, uint32_t expert, char out[160])
{
    const char *mark = strstr(t->from, "%u");

    if (mark) {
        snprintf(out, 160, "%.*s%u%s", (int)(mark - t->from), t->from, expert, mark + 2);
    } else {
        snprintf(out, 160, "%s", t->from);
    }
}
