/* metal_error.m - failures in the words of the system. */
#include "backend/gpu/metal/metal_local.h"

ds4_status metal_fail(ds4_err *err, ds4_status status, const char *what, NSError *e)
{
    const char *why = e ? [[e localizedDescription] UTF8String] : NULL;
    return ds4_fail(err, status, "Metal: %s%s%s", what, why ? ": " : "", why ? why : "");
}
