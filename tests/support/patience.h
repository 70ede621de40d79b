/* patience.h - how much longer a test may take in builds with sanitizers. */
#ifndef DS4_TESTS_PATIENCE_H
#define DS4_TESTS_PATIENCE_H

/* A bound on time is multiplied by this: 1, or 20 under sanitizers. */
static inline double test_patience(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 20;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return 20;
#else
    return 1;
#endif
#else
    return 1;
#endif
}

#endif
