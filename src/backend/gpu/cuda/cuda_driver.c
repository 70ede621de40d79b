/* cuda_driver.c - see cuda_driver.h. */
#include "backend/gpu/cuda/cuda_driver.h"

#include <dlfcn.h>
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cuda_driver     driver; /* filled once, then constant */

/* The header maps some names to newer versions of a function: spell the name that it means. */
#define SPELL_NAME(name) #name
#define SPELL(name)      SPELL_NAME(name)

const char *cuda_reason(const cuda_driver *cu, CUresult result)
{
    const char *text = NULL;

    if (cu->cuGetErrorString_ && cu->cuGetErrorString_(result, &text) == CUDA_SUCCESS && text) return text;
    return "an error that the driver does not name";
}

static ds4_status find_functions(cuda_driver *cu, ds4_err *err)
{
#define FIND(name)                                                                                         \
    *(void **)(void *)&cu->name##_ = dlsym(cu->library, SPELL(name));                                      \
    if (!cu->name##_) {                                                                                    \
        return ds4_fail(err, DS4_E_UNSUPPORTED, "the NVIDIA driver is too old: it has no %s",              \
                        SPELL(name));                                                                      \
    }
    CUDA_FUNCTIONS(FIND)
#undef FIND
    return DS4_OK;
}

static ds4_status load(cuda_driver *cu, ds4_err *err)
{
    int has = 0;

    cu->library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!cu->library)
        return ds4_fail(err, DS4_E_UNSUPPORTED, "no NVIDIA driver here: libcuda.so.1 was not found");
    DS4_TRY(find_functions(cu, err));
    const CUresult r = cu->cuInit_(0);
    if (r != CUDA_SUCCESS) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "the NVIDIA driver does not start: %s", cuda_reason(cu, r));
    }
    cu->cuDriverGetVersion_(&has);
    if (has / 1000 < CUDA_VERSION / 1000) {
        return ds4_fail(
            err, DS4_E_UNSUPPORTED,
            "the NVIDIA driver is for CUDA %d.%d and this build needs CUDA %d: please update the driver",
            has / 1000, has % 1000 / 10, CUDA_VERSION / 1000);
    }
    return DS4_OK;
}

ds4_status cuda_driver_get(const cuda_driver **out, ds4_err *err)
{
    ds4_status st = DS4_OK;

    pthread_mutex_lock(&lock);
    if (!driver.library) {
        cuda_driver cu = { 0 };
        st = load(&cu, err);
        if (st == DS4_OK)
            driver = cu;
        else if (cu.library)
            dlclose(cu.library);
    }
    pthread_mutex_unlock(&lock);
    if (st == DS4_OK) *out = &driver;
    return st;
}
