/* request_common.c - the members of a request that mean the same in all APIs; see request_members.h. */
#include "app/server/request_members.h"

#include <stdlib.h>

enum { MAX_STOPS = 16, MAX_STOP_BYTES = 1024, MAX_TOP_K = 1 << 20 };

/* ---- sampling ------------------------------------------------------------------------------- */

static ds4_status read_f32(ds4_request *rq, const ds4_fields *f, const char *name, double least,
                           double most, float *out, ds4_err *err)
{
    double number = (double)*out;

    DS4_TRY(ds4_fields_number(f, name, least, most, &number, &rq->refusal, err));
    *out = (float)number;
    return DS4_OK;
}

/* Samplers of other servers: what would change the answer is refused unless it is switched off. */
static const ds4_neutral samplers[] = {
    { "length_penalty", "1" },
    { "no_repeat_ngram_size", "0" },
    { "dry_multiplier", "0" },
    { "logits_processors", "[]" },
    { "allowed_token_ids", "[]" },
    { "bad_words", "[]" },
    { "banned_tokens", "[]" },
    { "banned_strings", "[]" },
    { "stop_token_ids", "[]" },
    { "stop_regex", "[]" },
    { "ignore_eos", "false" },
    { "include_stop_str_in_output", "false" },
    { "no_stop_trim", "false" },
    { "min_tokens", "0" },
    { "min_length", "0" },
    { "min_new_tokens", "0" },
    { "mirostat", "0" },
    { "mirostat_mode", "0" },
    { "typical_p", "1" },
    { "typical", "1" },
    { "tfs", "1" },
    { "tfs_z", "1" },
    { "top_a", "0" },
    { "top_n_sigma", "-1" },
    { "xtc_probability", "0" },
    { "dynatemp_range", "0" },
    { "smoothing_factor", "0" },
    { "epsilon_cutoff", "0" },
    { "eta_cutoff", "0" },
    { "use_beam_search", "false" },
    { "best_of", "1" },
    { "prompt_logprobs", "false" },
    { "n_probs", "0" },
    { NULL, NULL },
};

/* {"ID": BIAS, ...} */
static ds4_status read_bias(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_fields biases;
    bool       given;

    DS4_TRY(ds4_fields_object(f, "logit_bias", &biases, &given, &rq->refusal, err));
    if (!given || biases.n == 0) return DS4_OK;
    ds4_token_bias *list = ds4_arena_alloc(&rq->arena, biases.n, sizeof *list);
    if (!list) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    for (uint32_t i = 0; i < biases.n; i++) {
        const char *name = biases.name[i].data;
        char       *end;
        const long  id = strtol(name, &end, 10);
        double      bias = 0;
        if (end == name || *end || id < 0 || id >= INT32_MAX) {
            return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, biases.where, name,
                              "must be the id of a token");
        }
        DS4_TRY(ds4_fields_number(&biases, name, -100, 100, &bias, &rq->refusal, err));
        list[i] = (ds4_token_bias){ (int32_t)id, (float)bias };
    }
    rq->penalties.bias = list;
    rq->penalties.n_bias = biases.n;
    return DS4_OK;
}

static ds4_status read_penalties(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    DS4_TRY(read_f32(rq, f, "frequency_penalty", -2, 2, &rq->penalties.frequency, err));
    DS4_TRY(read_f32(rq, f, "presence_penalty", -2, 2, &rq->penalties.presence, err));
    DS4_TRY(read_f32(rq, f, "repeat_penalty", 0, 2, &rq->penalties.repetition, err));
    DS4_TRY(read_f32(rq, f, "repetition_penalty", 0, 2, &rq->penalties.repetition, err));
    return read_bias(rq, f, err);
}

ds4_status ds4_read_common(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_slice value;
    double    seed = 0;

    DS4_TRY(ds4_fields_text(f, "model", &rq->model, &rq->refusal, err));
    DS4_TRY(read_f32(rq, f, "temperature", 0, 2, &rq->sampling.temperature, err));
    DS4_TRY(read_f32(rq, f, "top_p", 0, 1, &rq->sampling.top_p, err));
    DS4_TRY(read_f32(rq, f, "min_p", 0, 1, &rq->sampling.min_p, err));
    if (rq->sampling.top_p <= 0) rq->sampling.top_p = 1e-6f; /* the likeliest alone */
    DS4_TRY(ds4_read_limit(rq, f, "top_k", 0, &rq->sampling.top_k, err));
    if (rq->sampling.top_k > MAX_TOP_K) rq->sampling.top_k = 0;
    rq->seed_given = ds4_fields_get(f, "seed", &value);
    DS4_TRY(ds4_fields_number(f, "seed", -9.3e18, 9.3e18, &seed, &rq->refusal, err));
    rq->seed = (uint64_t)(seed < 0 ? -seed : seed) * 2 + (seed < 0 ? 1 : 0);
    DS4_TRY(ds4_fields_bool(f, "stream", &rq->stream, &rq->refusal, err));
    DS4_TRY(read_penalties(rq, f, err));
    DS4_TRY(ds4_refuse_others(rq, f, samplers, err));
    DS4_TRY(ds4_read_form(rq, f, err));
    return ds4_read_thinking(rq, f, err);
}

static ds4_status add_stop(ds4_request *rq, ds4_slice json, const char *where, const char *name,
                           ds4_err *err)
{
    ds4_str text = { 0 };

    if (ds4_pyjson_kind(json) != DS4_JSON_STRING) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, where, name,
                          "must be a string or a list of strings");
    }
    const ds4_status st = ds4_pyjson_decode_string(json, &text, err);
    if (st == DS4_OK && text.n_bytes > 0 && rq->n_stops < MAX_STOPS &&
        text.n_bytes <= MAX_STOP_BYTES) {
        rq->stops[rq->n_stops++] = ds4_arena_take(&rq->arena, &text);
        return DS4_OK;
    }
    const bool empty = text.n_bytes == 0;
    ds4_str_clear(&text);
    if (st != DS4_OK || empty) return st;
    return ds4_refuse(&rq->refusal, err, DS4_E_LIMIT, where, name,
                      "takes at most 16 strings of at most 1024 bytes");
}

ds4_status ds4_read_stops(ds4_request *rq, const ds4_fields *f, const char *name, ds4_err *err)
{
    ds4_slice       value, one;
    ds4_pyjson_iter it;

    if (!ds4_fields_get(f, name, &value)) return DS4_OK;
    rq->stops = ds4_arena_alloc(&rq->arena, MAX_STOPS, sizeof *rq->stops);
    if (!rq->stops) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    if (ds4_pyjson_kind(value) != DS4_JSON_ARRAY) return add_stop(rq, value, f->where, name, err);
    DS4_TRY(ds4_pyjson_open(&it, value, err));
    while (ds4_pyjson_next(&it, NULL, &one)) DS4_TRY(add_stop(rq, one, f->where, name, err));
    return DS4_OK;
}
