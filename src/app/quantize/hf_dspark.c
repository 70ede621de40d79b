/* hf_dspark.c - see hf_dspark.h. */
#include "app/quantize/hf_dspark.h"

#include <stdio.h>

#include "app/quantize/hf_json.h"

enum { MAX_BLOCK = 64, MAX_RANK = 1 << 16 };

static ds4_status get_taps(const char *path, const json_t *root, uint32_t n_layers, hf_dspark *d,
                           ds4_err *err)
{
    const json_t *list = json_object_get(root, "dspark_target_layer_ids");
    const size_t  n = json_array_size(list);

    if (n < 1 || n > HF_MAX_TAPS) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s: \"dspark_target_layer_ids\" has %zu entries, expected 1..%d", path, n,
                        HF_MAX_TAPS);
    }
    for (size_t i = 0; i < n; i++) {
        const json_t    *v = json_array_get(list, i);
        const json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id >= (json_int_t)n_layers || (i > 0 && id <= (json_int_t)d->tap[i - 1])) {
            return ds4_fail(err, DS4_E_FORMAT,
                            "%s: \"dspark_target_layer_ids\": entry %zu is not an ascending layer in 0..%u",
                            path, i, n_layers - 1);
        }
        d->tap[i] = (uint32_t)id;
    }
    d->n_taps = (uint32_t)n;
    return DS4_OK;
}

static ds4_status count_stages(const ds4_checkpoint *tensors, hf_dspark *d, ds4_err *err)
{
    char name[64];

    if (!ds4_checkpoint_find(tensors, "mtp.0.main_proj.weight")) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "the checkpoint has no DSpark drafter: \"mtp.0.main_proj.weight\" is missing");
    }
    for (d->n_stages = 0; d->n_stages <= HF_MAX_STAGES; d->n_stages++) {
        snprintf(name, sizeof name, "mtp.%u.attn_norm.weight", d->n_stages);
        if (!ds4_checkpoint_find(tensors, name)) break;
    }
    if (d->n_stages >= 1 && d->n_stages <= HF_MAX_STAGES) return DS4_OK;
    return ds4_fail(err, DS4_E_FORMAT, "the drafter has %s%u stages, expected 1..%d",
                    d->n_stages > HF_MAX_STAGES ? "at least " : "", d->n_stages, HF_MAX_STAGES);
}

ds4_status hf_dspark_read(const char *dir, const hf_config *c, const ds4_checkpoint *tensors, hf_dspark *out,
                          ds4_err *err)
{
    ds4_str     path = { 0 };
    json_t     *root = NULL;
    hf_dspark   d = { 0 };

    ds4_str_addf(&path, "%s/config.json", dir);
    const char *name = ds4_str_text(&path);
    ds4_status  st = count_stages(tensors, &d, err);
    if (st == DS4_OK) st = hf_json_load(name, &root, err);
    if (st == DS4_OK) st = hf_json_int(name, root, "dspark_block_size", 1, MAX_BLOCK, &d.n_block, err);
    if (st == DS4_OK) st = hf_json_int(name, root, "dspark_markov_rank", 1, MAX_RANK, &d.rank, err);
    if (st == DS4_OK) {
        st = hf_json_int(name, root, "dspark_noise_token_id", 0, c->n_vocab - 1, &d.noise_id, err);
    }
    if (st == DS4_OK) st = get_taps(name, root, c->n_layers, &d, err);
    if (st == DS4_OK) *out = d;
    json_decref(root);
    ds4_str_clear(&path);
    return st;
}

void hf_dspark_put(const hf_dspark *d, const hf_config *c, ds4_gguf_writer *w)
{
    ds4_gguf_put_u32(w, "dspark.block_size", d->n_block);
    ds4_gguf_put_u32(w, "dspark.markov_rank", d->rank);
    ds4_gguf_put_u32(w, "dspark.noise_token_id", d->noise_id);
    ds4_gguf_put_u32(w, "dspark.stage_count", d->n_stages);
    ds4_gguf_put_u32(w, "dspark.n_layers", c->n_layers);
    ds4_gguf_put_u32s(w, "dspark.target_layer_ids", d->tap, d->n_taps);
}
