/* knob.c - see knob.h. */
#include "base/knob.h"

#include <stdlib.h>

static const char *const knob_name[DS4_N_KNOBS] = {
    [DS4_KNOB_CPU_MASK] = "DS4_CPU_MASK",
    [DS4_KNOB_HOME]     = "HOME",
    [DS4_KNOB_NO_COLOR] = "NO_COLOR",
    [DS4_KNOB_TERM]     = "TERM",
    [DS4_KNOB_API_KEY]  = "DS4_API_KEY",
    [DS4_KNOB_JOURNAL_STREAM] = "JOURNAL_STREAM",
    [DS4_KNOB_NOTIFY_SOCKET]  = "NOTIFY_SOCKET",
    [DS4_KNOB_CREDENTIALS]    = "CREDENTIALS_DIRECTORY",
};

const char *ds4_knob_text(ds4_knob knob)
{
    return getenv(knob_name[knob]);
}

uint64_t ds4_knob_u64(ds4_knob knob, uint64_t otherwise)
{
    const char *text = ds4_knob_text(knob);
    char       *end;

    if (!text || !*text) return otherwise;
    const unsigned long long value = strtoull(text, &end, 0);
    return *end ? otherwise : value;
}

const char *ds4_environment(const char *name)
{
    return getenv(name);
}
