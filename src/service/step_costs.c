/* step_costs.c - see step_costs.h. */
#include "service/step_costs.h"

/* What a row adds that was never measured: little, so that it is tried. */
static const double UNKNOWN_ROW = 0.25;

enum { MEMORY = 16 };           /* steps that the proportions remember, more or less */

static uint32_t clip(uint32_t n_rows)
{
    return n_rows < DS4_COST_ROWS ? n_rows : DS4_COST_ROWS;
}

double ds4_step_cost(const ds4_step_costs *c, uint32_t n_rows)
{
    uint32_t low = clip(n_rows), high = low;

    if (low <= 1) return 1;
    if (c->n[low] > 0) return c->of[low];
    while (low > 1 && c->n[low] == 0) low--;
    while (high <= DS4_COST_ROWS && c->n[high] == 0) high++;
    const double below = low > 1 ? c->of[low] : 1;
    if (high > DS4_COST_ROWS) {
        const double row = low > 1 ? (below - 1) / (low - 1) : UNKNOWN_ROW;
        return below + (row > 0 ? row : 0) * (clip(n_rows) - low);
    }
    return below + (c->of[high] - below) * (clip(n_rows) - low) / (high - low);
}

void ds4_step_costs_note(ds4_step_costs *c, uint32_t n_rows, double ns)
{
    const uint32_t i = clip(n_rows);

    if (i == 0 || !(ns > 0)) return;
    if (!(c->ns_of_one > 0)) c->ns_of_one = ns / ds4_step_cost(c, i);
    double cost = ns / c->ns_of_one;
    /* Somebody else's moment is not the step's: one measurement moves little. */
    const double expected = ds4_step_cost(c, i);
    if (c->n[i] > 0 && cost > 2 * expected) cost = 2 * expected;
    if (i == 1 || c->n[i] > 0) c->ns_of_one *= 1 + (cost / expected - 1) / 8;
    if (i == 1) return;
    if (c->n[i] < MEMORY) c->n[i]++;
    c->of[i] = c->n[i] == 1 ? cost : c->of[i] + (cost - c->of[i]) / c->n[i];
}
