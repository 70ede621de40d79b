/* mcp_wait.c - how long a talk with a server goes on; see mcp_local.h. */
#include "agent/mcp_local.h"

#include "base/clock.h"

bool mcp_wait_on(const mcp_wait *wait, ds4_status *st, ds4_err *err)
{
    *st = DS4_OK;
    if (wait->over) return false;
    if (wait->cancelled && *wait->cancelled) {
        *st = ds4_fail(err, DS4_E_CANCELLED, "cancelled");
    } else if (ds4_now_ns() >= wait->until_ns) {
        *st = ds4_fail(err, DS4_E_LIMIT, "no answer in time");
    }
    return *st == DS4_OK;
}
