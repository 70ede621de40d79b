/* expert_policy.h - which expert will be needed last: the estimate that a cache evicts by.
 *
 * Layers come round in a known order, so the time to an expert's next use is the way to its
 * layer plus the number of whole rounds that the router is expected to leave it out. The
 * latter comes from how often it was chosen, long ago and lately. */
#ifndef DS4_BACKEND_EXPERT_POLICY_H
#define DS4_BACKEND_EXPERT_POLICY_H

#include "base/err.h"

typedef struct ds4_expert_policy {
    uint32_t n_layers, n_experts;
    uint32_t layer;             /* the last one that was visited */
    uint32_t n_tokens;          /* of the step in progress */
    float   *slow, *fast;       /* [layers][experts] part of the tokens that chose it */
    float   *likely;            /* [layers][experts] chance that a token chooses it */
    float   *rounds;            /* [layers][experts] expected visits of its layer without it */
} ds4_expert_policy;

/* n_used experts of each layer are chosen by a token. Returns DS4_OK; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_expert_policy_create(ds4_expert_policy *p, uint32_t n_layers,
                                                   uint32_t n_experts, uint32_t n_used,
                                                   ds4_err *err);
void                      ds4_expert_policy_clear(ds4_expert_policy *p);

/* A visit: n_tokens tokens, of which count[e] chose expert e. count is [n_experts], the layer's. */
void ds4_expert_policy_visit(ds4_expert_policy *p, uint32_t layer, const uint32_t *count,
                             uint32_t n_experts, uint32_t n_tokens);

/* Rounds until the next use, 0 < x: an estimate, in units of one round over all layers. */
static inline float ds4_expert_policy_distance(const ds4_expert_policy *p, uint32_t layer,
                                               uint32_t expert)
{
    const uint32_t way = layer > p->layer ? layer - p->layer : layer + p->n_layers - p->layer;
    return (float)way / (float)p->n_layers + p->rounds[(size_t)layer * p->n_experts + expert];
}

#endif
