/* step_costs.c - see step_costs.h.
 *
 * On a machine that others use too, many steps take several times as long as they should. So an
 * estimate follows a measurement by a bounded part of itself, which makes it nearly a median. What
 * was not measured for long drifts back to what is expected of any machine, so that it is tried
 * again. */
#include "service/step_costs.h"

#include <stdbool.h>

/* A row adds so much on a machine of which nothing is known. */
static const double EXPECTED_ROW = 0.25;

/* Of what rows cost so far: that more of them are hoped to cost. */
static const double HOPE = 0.6;

/* Parts of an estimate: the first steps towards a measurement, and the last ones; drift for each step
 * of another width. */
static const double FIRST_STEP = 0.4, LEAST_STEP = 0.03, DRIFT = 0.0005;

static uint32_t clip(uint32_t n_rows)
{
    return n_rows < DS4_COST_ROWS ? n_rows : DS4_COST_ROWS;
}

static double expected(uint32_t n_rows)
{
    return 1 + EXPECTED_ROW * (n_rows - 1);
}

/* Interpolate between the nearest widths on each side of n_rows. Behind the widest one rows cost less than so
 * far, unless that is much: else they would not be tried. */
static double between(const ds4_step_costs *c, uint32_t n_rows)
{
    uint32_t low = n_rows, high = n_rows;

    while (low > 1 && c->n[low] == 0) low--;
    while (high < DS4_COST_ROWS && c->n[high] == 0) high++;
    const double below = low > 1 ? c->of[low] : 1;
    if (c->n[high] > 0 && high > low) {
        return below + (c->of[high] - below) * (n_rows - low) / (high - low);
    }
    if (low == n_rows) return below;
    double row = low > 1 ? (below - 1) / (low - 1) : EXPECTED_ROW;
    if (row > EXPECTED_ROW) row = row * HOPE > EXPECTED_ROW ? row * HOPE : EXPECTED_ROW;
    return below + (row > 0 ? row : 0) * (n_rows - low);
}

/* Fewer rows never cost more. */
double ds4_step_cost(const ds4_step_costs *c, uint32_t n_rows)
{
    const uint32_t n = clip(n_rows);
    double         cost;

    if (n <= 1) return 1;
    cost = between(c, n);
    for (uint32_t i = n + 1; i <= DS4_COST_ROWS; i++) {
        if (c->n[i] > 0 && c->of[i] < cost) cost = c->of[i];
    }
    return cost > 1 ? cost : 1;
}

static double follow(double estimate, double measured, uint32_t n)
{
    const double step = FIRST_STEP / (n + 1) > LEAST_STEP ? FIRST_STEP / (n + 1) : LEAST_STEP;
    double       change = measured / estimate - 1;

    if (change > step) change = step;
    if (change < -step) change = -step;
    return estimate * (1 + change);
}

static void drift(ds4_step_costs *c, uint32_t but)
{
    for (uint32_t i = 2; i <= DS4_COST_ROWS; i++) {
        if (i != but && c->n[i] > 0) c->of[i] += (expected(i) - c->of[i]) * DRIFT;
    }
}

void ds4_step_costs_note(ds4_step_costs *c, uint32_t n_rows, double ns)
{
    const uint32_t i = clip(n_rows);

    if (i == 0 || !(ns > 0)) return;
    const double cost = ds4_step_cost(c, i);
    if (!(c->ns_of_one > 0)) c->ns_of_one = ns / cost;
    const double measured = ns / c->ns_of_one;
    /* A width of which little is known says little about how fast everything is. */
    const bool known = i == 1 || c->n[i] >= 8;
    if (known) c->ns_of_one = follow(c->ns_of_one, c->ns_of_one * measured / cost, c->n[i]);
    drift(c, i);
    if (i > 1) c->of[i] = follow(c->n[i] > 0 ? c->of[i] : cost, measured, c->n[i]);
    if (c->n[i] < UINT32_MAX) c->n[i]++;
}
