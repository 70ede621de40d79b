/* step_costs.h - what a step of answers costs by the number of its rows, as measured.
 *
 * Two things are told apart: how fast everything is now, which contexts and other programs
 * change, and what more rows cost in proportion, which is the machine's and the model's.
 * Zeroed is ready. */
#ifndef DS4_SERVICE_STEP_COSTS_H
#define DS4_SERVICE_STEP_COSTS_H

#include <stdint.h>

enum { DS4_COST_ROWS = 64 };    /* wider steps count as this wide */

typedef struct ds4_step_costs {
    double   ns_of_one;                         /* 0: nothing was measured */
    double   of[DS4_COST_ROWS + 1];             /* by rows, in steps of one row */
    uint32_t n[DS4_COST_ROWS + 1];              /* measured so often; 0: of[] is not known */
} ds4_step_costs;

/* A step of so many rows took ns. */
void ds4_step_costs_note(ds4_step_costs *c, uint32_t n_rows, double ns);

/* Such a step in steps of one row, from its neighbours where it was not measured. */
double ds4_step_cost(const ds4_step_costs *c, uint32_t n_rows);

#endif
