/* steer_command.c - see steer_command.h. */
#include "service/steer_command.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The next number of the text, and what is behind it; false when there is none. */
static bool take_number(const char **at, float *out)
{
    char *end;

    *out = strtof(*at, &end);
    if (end == *at || !(*end == '\0' || *end == ' ' || *end == '\t')) return false;
    *at = end + strspn(end, " \t");
    return true;
}

ds4_status ds4_steer_command(ds4_engine *e, const char *arg, char *said, size_t n_bytes, ds4_err *err)
{
    ds4_steering to = ds4_engine_steering(e);
    const char  *at = arg;

    if (!ds4_engine_can_steer(e)) {
        return ds4_fail(err, DS4_E_ARG, "/steer needs directions: start with --dir-steering-file");
    }
    if (*at && (!take_number(&at, &to.ffn) || (*at && (!take_number(&at, &to.attn) || *at)))) {
        return ds4_fail(err, DS4_E_ARG, "/steer takes a number for experts and perhaps one for attention");
    }
    const bool changes = to.ffn != ds4_engine_steering(e).ffn || to.attn != ds4_engine_steering(e).attn;
    DS4_TRY(ds4_engine_steer(e, to, err));
    snprintf(said, n_bytes, "%s by %g (experts) and %g (attention)%s",
             changes ? "what comes next is steered" : "steered", (double)to.ffn, (double)to.attn,
             changes ? "; nothing of it is kept on disk" : "");
    return DS4_OK;
}
