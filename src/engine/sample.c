/* sample.c - from logits to one token, on the host; see backend/pick.h. */
#include "backend/pick.h"
#include "base/rng.h"

int32_t ds4_sample(const float *logits, uint32_t n_vocab, const ds4_sampling *how, ds4_rng *rng,
                   ds4_candidate *scratch)
{
    const bool is_greedy = !(how->temperature > 0.0f) || how->top_k == 1;
    ds4_pick   pick = { .how = *how };
    ds4_picked picked;

    if (!is_greedy) pick.u = ds4_rng_uniform(rng);
    return ds4_pick_one(logits, n_vocab, &pick, scratch, &picked) ? picked.token : -1;
}
