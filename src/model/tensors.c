/* tensors.c - see tensors.h. */
#include "model/tensors.h"

#include "model/weights.h"

#include <assert.h>
#include <stdio.h>

/* The list of one layer under construction. */
typedef struct list {
    ds4_tensor_want *out;
    uint32_t         n;
    const char      *prefix;        /* "blk.7." or "" */
} list;

static ds4_tensor_want *add(list *l, ds4_tensor_kind kind, ds4_tensor_part part, const char *name,
                            size_t field)
{
    assert(l->n < DS4_MAX_WANTS);
    ds4_tensor_want *w = &l->out[l->n++];

    *w = (ds4_tensor_want){ .kind = kind, .part = part, .n_mats = 1, .n_out = 1, .field = field };
    snprintf(w->name, sizeof w->name, "%s%s", l->prefix, name);
    return w;
}

static ds4_tensor_want *matrix(list *l, ds4_tensor_part part, const char *name, size_t field, uint64_t n_in,
                               uint64_t n_out)
{
    ds4_tensor_want *w = add(l, DS4_TENSOR_MATRIX, part, name, field);

    w->n_in = n_in;
    w->n_out = n_out;
    return w;
}

static void matrices(list *l, ds4_tensor_part part, const char *name, size_t field, uint64_t n_in,
                     uint64_t n_out, uint32_t n_mats)
{
    matrix(l, part, name, field, n_in, n_out)->n_mats = n_mats;
}

static void vector(list *l, ds4_tensor_part part, const char *name, size_t field, uint64_t n)
{
    add(l, DS4_TENSOR_VECTOR, part, name, field)->n_in = n;
}

static void vectors(list *l, ds4_tensor_part part, const char *name, size_t field, uint64_t n,
                    uint64_t n_rows)
{
    ds4_tensor_want *w = add(l, DS4_TENSOR_VECTOR, part, name, field);

    w->n_in = n;
    w->n_out = n_rows;
}

#define AT(field) offsetof(ds4_layer_weights, field)

static void list_attention(list *l, const ds4_shape *s)
{
    const uint64_t hc_out = s->n_hc * (2 + s->n_hc), q_out = (uint64_t)s->n_heads * s->n_head;

    matrix(l, DS4_PART_OTHER, "hc_attn_fn.weight", AT(hc_attn.fn), (uint64_t)s->n_hc * s->n_embd, hc_out);
    vector(l, DS4_PART_OTHER, "hc_attn_scale.weight", AT(hc_attn.scale), 3);
    vector(l, DS4_PART_OTHER, "hc_attn_base.weight", AT(hc_attn.base), hc_out);
    vector(l, DS4_PART_OTHER, "attn_norm.weight", AT(attn_norm), s->n_embd);
    matrix(l, DS4_PART_ATTENTION, "attn_q_a.weight", AT(q_a), s->n_embd, s->q_rank);
    vector(l, DS4_PART_ATTENTION, "attn_q_a_norm.weight", AT(q_a_norm), s->q_rank);
    matrix(l, DS4_PART_ATTENTION, "attn_q_b.weight", AT(q_b), s->q_rank, q_out);
    matrix(l, DS4_PART_ATTENTION, "attn_kv.weight", AT(kv), s->n_embd, s->n_head);
    vector(l, DS4_PART_ATTENTION, "attn_kv_a_norm.weight", AT(kv_norm), s->n_head);
    vector(l, DS4_PART_OTHER, "attn_sinks.weight", AT(sink), s->n_heads);
    ds4_tensor_want *o_a =
        matrix(l, DS4_PART_ATTENTION, "attn_output_a.weight", AT(o_a), q_out / s->o_groups, s->o_rank);
    o_a->n_mats = s->o_groups;
    o_a->is_stacked = true;
    matrix(l, DS4_PART_ATTENTION, "attn_output_b.weight", AT(o_b), (uint64_t)s->o_groups * s->o_rank,
           s->n_embd);
}

static void list_compressors(list *l, const ds4_shape *s, uint32_t ratio)
{
    const ds4_tensor_part part = DS4_PART_COMPRESSORS;
    const uint32_t        both = ratio == 4 ? 2 : 1;

    if (ratio == 0) return;
    matrix(l, part, "attn_compressor_kv.weight", AT(comp.kv), s->n_embd, both * s->n_head);
    matrix(l, part, "attn_compressor_gate.weight", AT(comp.gate), s->n_embd, both * s->n_head);
    vectors(l, part, "attn_compressor_ape.weight", AT(comp.ape), both * s->n_head, ratio);
    vector(l, part, "attn_compressor_norm.weight", AT(comp.norm), s->n_head);
    if (ratio != 4) return;
    matrix(l, part, "indexer.attn_q_b.weight", AT(index_q), s->q_rank, (uint64_t)s->index_heads * s->n_index);
    matrix(l, part, "indexer.proj.weight", AT(index_w), s->n_embd, s->index_heads);
    matrix(l, part, "indexer_compressor_kv.weight", AT(icomp.kv), s->n_embd, 2 * s->n_index);
    matrix(l, part, "indexer_compressor_gate.weight", AT(icomp.gate), s->n_embd, 2 * s->n_index);
    vectors(l, part, "indexer_compressor_ape.weight", AT(icomp.ape), 2 * s->n_index, 4);
    vector(l, part, "indexer_compressor_norm.weight", AT(icomp.norm), s->n_index);
}

static void list_experts(list *l, const ds4_shape *s, uint32_t layer)
{
    const uint32_t n_experts = s->experts[layer];
    const uint64_t hc_out = s->n_hc * (2 + s->n_hc);

    matrix(l, DS4_PART_OTHER, "hc_ffn_fn.weight", AT(hc_ffn.fn), (uint64_t)s->n_hc * s->n_embd, hc_out);
    vector(l, DS4_PART_OTHER, "hc_ffn_scale.weight", AT(hc_ffn.scale), 3);
    vector(l, DS4_PART_OTHER, "hc_ffn_base.weight", AT(hc_ffn.base), hc_out);
    vector(l, DS4_PART_OTHER, "ffn_norm.weight", AT(ffn_norm), s->n_embd);
    matrix(l, DS4_PART_OTHER, "ffn_gate_inp.weight", AT(router), s->n_embd, n_experts);
    if (layer < s->n_hash) {
        ds4_tensor_want *table =
            add(l, DS4_TENSOR_TABLE, DS4_PART_OTHER, "ffn_gate_tid2eid.weight", AT(token_experts));
        table->n_in = s->n_used;
        table->n_out = s->n_vocab;
        table->n_experts = n_experts;
    } else {
        vector(l, DS4_PART_OTHER, "exp_probs_b.bias", AT(router_bias), n_experts);
        l->out[l->n - 1].is_optional = true;
    }
    matrices(l, DS4_PART_EXPERTS, "ffn_gate_exps.weight", AT(gate), s->n_embd, s->n_ffn, n_experts);
    matrices(l, DS4_PART_EXPERTS, "ffn_up_exps.weight", AT(up), s->n_embd, s->n_ffn, n_experts);
    matrices(l, DS4_PART_EXPERTS, "ffn_down_exps.weight", AT(down), s->n_ffn, s->n_embd, n_experts);
    matrix(l, DS4_PART_SHARED, "ffn_gate_shexp.weight", AT(shared_gate), s->n_embd, s->n_ffn);
    matrix(l, DS4_PART_SHARED, "ffn_up_shexp.weight", AT(shared_up), s->n_embd, s->n_ffn);
    matrix(l, DS4_PART_SHARED, "ffn_down_shexp.weight", AT(shared_down), s->n_ffn, s->n_embd);
}

#undef AT
#define AT(field) offsetof(ds4_weights, field)

static void list_outside_layers(list *l, const ds4_shape *s)
{
    matrix(l, DS4_PART_EMBEDDING, "token_embd.weight", AT(embed), s->n_embd, s->n_vocab);
    matrix(l, DS4_PART_HEAD, "output.weight", AT(head), s->n_embd, s->n_vocab);
    vector(l, DS4_PART_OTHER, "output_norm.weight", AT(out_norm), s->n_embd);
    matrix(l, DS4_PART_OTHER, "output_hc_fn.weight", AT(hc_out.fn), (uint64_t)s->n_hc * s->n_embd, s->n_hc);
    vector(l, DS4_PART_OTHER, "output_hc_scale.weight", AT(hc_out.scale), 1);
    vector(l, DS4_PART_OTHER, "output_hc_base.weight", AT(hc_out.base), s->n_hc);
}

#undef AT

uint32_t ds4_tensors_list(const ds4_shape *s, int32_t layer, ds4_tensor_want out[DS4_MAX_WANTS])
{
    char prefix[24] = "";
    list l = { .out = out, .prefix = prefix };

    if (layer < 0) {
        list_outside_layers(&l, s);
        return l.n;
    }
    snprintf(prefix, sizeof prefix, "blk.%d.", layer);
    return ds4_tensors_list_as(s, (uint32_t)layer, prefix, out);
}

uint32_t ds4_tensors_list_as(const ds4_shape *s, uint32_t layer, const char *prefix,
                             ds4_tensor_want out[DS4_MAX_WANTS])
{
    list l = { .out = out, .prefix = prefix };

    list_attention(&l, s);
    list_compressors(&l, s, s->ratio[layer]);
    list_experts(&l, s, layer);
    return l.n;
}

uint64_t ds4_tensor_memory(const ds4_tensor_want *want, uint64_t n_bytes)
{
    return want->kind == DS4_TENSOR_MATRIX ? n_bytes : want->n_in * want->n_out * sizeof(float);
}

/* Giving pages of a small table back costs more than so few of them are worth. */
ds4_use ds4_tensor_use(const ds4_tensor_want *want, uint64_t n_bytes)
{
    enum { SMALL_BYTES = 4 << 20 };

    if (want->part == DS4_PART_EXPERTS) return DS4_USE_EXPERTS;
    return want->part == DS4_PART_EMBEDDING && n_bytes > SMALL_BYTES ? DS4_USE_ROWS : DS4_USE_ALWAYS;
}
