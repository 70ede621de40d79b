/* kernels_test.c - the choice of kernels: features that lack what they build on change nothing, so
 * that features with the same text give the same bits, whatever a mask takes away. */
#include "testing.h"

#include "kernels/kernels.h"

static void same_choice(unsigned features, unsigned as)
{
    ds4_kernels a, b;

    ds4_kernels_init(&a, features);
    ds4_kernels_init(&b, as);
    assert_memory_equal(&a, &b, sizeof a);
    assert_string_equal(ds4_cpu_features_text(features), ds4_cpu_features_text(as));
}

static void test_wider_sets_need_the_narrower_ones(void **state)
{
    const unsigned wide = DS4_CPU_VBMI | DS4_CPU_AMX;

    (void)state;
    same_choice(wide, 0);
    same_choice(DS4_CPU_AVX512 | wide, 0);
    same_choice(DS4_CPU_AVX2 | wide, DS4_CPU_AVX2);
    same_choice(DS4_CPU_AVX2 | DS4_CPU_AVX512 | DS4_CPU_AMX, DS4_CPU_AVX2 | DS4_CPU_AVX512);
}

#if defined(__x86_64__)
static void test_every_set_is_chosen(void **state)
{
    static const unsigned sets[] = {
        0, DS4_CPU_AVX2, DS4_CPU_AVX2 | DS4_CPU_AVX512, DS4_CPU_AVX2 | DS4_CPU_AVX512 | DS4_CPU_VBMI,
        DS4_CPU_AVX2 | DS4_CPU_AVX512 | DS4_CPU_VBMI | DS4_CPU_AMX,
    };
    ds4_kernels k[sizeof sets / sizeof sets[0]];

    (void)state;
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        ds4_kernels_init(&k[i], sets[i]);
        if (i) assert_memory_not_equal(&k[i], &k[i - 1], sizeof k[i]);
    }
}
#endif

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_wider_sets_need_the_narrower_ones),
#if defined(__x86_64__)
    cmocka_unit_test(test_every_set_is_chosen),
#endif
};

TEST_MAIN(tests)
