/* steer.c - what is steered now, and what rows are called that were computed so. See docs/STEERING.md. */
#include "engine/engine_local.h"
#include "engine/snapshot.h"

#include <math.h>

bool ds4_engine_can_steer(const ds4_engine *e)
{
    return e->network.steer.buf != NULL;
}

ds4_steering ds4_engine_steering(const ds4_engine *e)
{
    return e->steering;
}

ds4_status ds4_engine_steer(ds4_engine *e, ds4_steering to, ds4_err *err)
{
    const float most = DS4_MAX_STEERING;

    if (!ds4_engine_can_steer(e)) {
        return ds4_fail(err, DS4_E_ARG, "no directions to steer by were loaded with the model");
    }
    if (!(fabsf(to.attn) <= most) || !(fabsf(to.ffn) <= most)) {
        return ds4_fail(err, DS4_E_ARG, "steering by %g and %g, expected -%d to %d", (double)to.attn,
                        (double)to.ffn, DS4_MAX_STEERING, DS4_MAX_STEERING);
    }
    if (to.attn == e->steering.attn && to.ffn == e->steering.ffn) return DS4_OK;
    atomic_fetch_add(&e->n_steered, 1);         /* before rows may be of the new kind */
    DS4_TRY(ds4_network_steer(&e->network, to.attn, to.ffn, err));
    e->steering = to;
    return DS4_OK;
}

uint32_t ds4_engine_steer_changes(const ds4_engine *e)
{
    return atomic_load(&e->n_steered);
}

const float *ds4_engine_directions(const ds4_engine *e, size_t *n)
{
    const ds4_shape *s = &e->network.shape;

    *n = (size_t)s->n_layers * s->n_embd;
    return e->steering.attn != 0.0f || e->steering.ffn != 0.0f ? e->network.directions : NULL;
}
