/* golden_blocks_test.c - decoders and integer products against blocks decoded elsewhere. */
#include "testing.h"

#include "kernels/blocks.h"
#include "kernels/kernels.h"

#include <jansson.h>

typedef struct golden_type {
    const char *name;
    const char *file;
    uint32_t    dtype;
} golden_type;

static const golden_type types[] = {
    { "Q8_0", "golden_blocks.json", DS4_Q8_0 },
    { "Q2_K", "golden_blocks.json", DS4_Q2_K },
    { "Q4_K", "golden_blocks.json", DS4_Q4_K },
    { "IQ2_XXS", "golden_blocks.json", DS4_IQ2_XXS },
    { "Q6_K", "golden_blocks_extra.json", DS4_Q6_K },
    { "MXFP4", "golden_blocks_extra.json", DS4_MXFP4 },
};
enum { N_TYPES = sizeof types / sizeof *types, MAX_BLOCK = 256 };

static const unsigned feature_sets[] = { 0, DS4_CPU_AVX2, DS4_CPU_AVX2 | DS4_CPU_AVX512,
                                         DS4_CPU_AVX2 | DS4_CPU_AVX512 | DS4_CPU_VBMI,
                                         DS4_CPU_AVX2 | DS4_CPU_AVX512 | DS4_CPU_VBMI | DS4_CPU_AMX,
                                         DS4_CPU_NEON };
enum { N_SETS = sizeof feature_sets / sizeof *feature_sets };

static size_t bytes_of_hex(uint8_t *out, size_t max, const char *hex)
{
    const size_t n = strlen(hex) / 2;
    assert_true(n <= max);
    for (size_t i = 0; i < n; i++) {
        unsigned v;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
        out[i] = (uint8_t)v;
    }
    return n;
}

static json_t *load_type(const golden_type *type, json_t **root)
{
    json_error_t error;
    *root = json_load_file(test_data_path(type->file), 0, &error);
    assert_non_null(*root);
    json_t *blocks = json_object_get(json_object_get(*root, "formats"), type->name);
    assert_true(json_array_size(blocks) >= 8);
    return blocks;
}

/* The goldens leave the sign of zero open. */
static void assert_same_value(float got, uint32_t want)
{
    const float f = float_of_bits(want);
    if (f == 0.0f) assert_true(got == 0.0f);
    else if (isnan(f)) assert_true(isnan(got));
    else assert_int_equal(bits_of_float(got), want);
}

static void test_decode_is_bit_equal(void **state)
{
    (void)state;
    for (int i = 0; i < N_TYPES * N_SETS; i++) {
        const golden_type *type = &types[i / N_SETS];
        const unsigned     features = feature_sets[i % N_SETS] & ds4_cpu_features();
        json_t            *root, *blocks = load_type(type, &root), *block;
        size_t             index;
        ds4_kernels        k;

        ds4_kernels_init(&k, features);
        json_array_foreach(blocks, index, block) {
            uint8_t code[MAX_BLOCK], bits[4 * MAX_BLOCK];
            float   value[MAX_BLOCK];
            bytes_of_hex(code, sizeof code, json_string_value(json_object_get(block, "block_hex")));
            const char  *hex = json_string_value(json_object_get(block, "values_f32bits_be_hex"));
            const size_t n = bytes_of_hex(bits, sizeof bits, hex) / 4;
            k.decode[type->dtype](value, code, n);
            for (size_t j = 0; j < n; j++) {
                const uint8_t *b = bits + 4 * j;
                assert_same_value(value[j], (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3]);
            }
        }
        json_decref(root);
    }
}

/* T66 has integer codes, so its blocks say those. */
static void test_t66_codes_are_equal(void **state)
{
    json_error_t error;
    json_t      *root = json_load_file(test_data_path("trellis.json"), 0, &error), *block;
    size_t       index;

    (void)state;
    assert_non_null(root);
    json_t *blocks = json_object_get(root, "trellis66");
    assert_int_equal(json_array_size(blocks), 2);
    for (int set = 0; set < N_SETS; set++) {
        ds4_kernels k;
        ds4_kernels_init(&k, feature_sets[set] & ds4_cpu_features());
        json_array_foreach(blocks, index, block) {
            uint8_t code[MAX_BLOCK];
            float   value[MAX_BLOCK];
            const char *hex = json_string_value(json_object_get(block, "block_hex"));
            json_t     *ints = json_object_get(block, "ints");
            assert_int_equal(bytes_of_hex(code, sizeof code, hex), 66);
            k.decode[DS4_T66](value, code, 256);
            for (size_t i = 0; i < 256; i++) {
                const double want = (double)json_integer_value(json_array_get(ints, i));
                assert_true(value[i] == load_half(code) * (float)want);
            }
        }
    }
    json_decref(root);
}

/* The golden activations of a block with scale 1; returns false where it has none. */
static bool load_activation(json_t *block, ds4_act act, ds4_q32 *q32, ds4_q256 *q256)
{
    if (act == DS4_ACT_Q32) {
        json_t *list = json_object_get(block, "act_int8");
        if (!list) return false;
        q32->d = 1.0f;
        for (size_t i = 0; i < 32; i++)
            q32->q[i] = (int8_t)json_integer_value(json_array_get(list, i));
        return true;
    }
    const char *hex = json_string_value(json_object_get(block, "q8_K_hex"));
    uint8_t     code[2 * 292];
    if (!hex) return false;
    const size_t n = bytes_of_hex(code, sizeof code, hex);
    assert_true(n == 256 || n == 292);
    q256->d = 1.0f;
    memcpy(q256->q, code + (n == 292 ? 4 : 0), 256);
    for (int j = 0; j < 16; j++) {
        q256->sum[j] = 0;
        for (int i = 0; i < 16; i++) q256->sum[j] = (int16_t)(q256->sum[j] + q256->q[16 * j + i]);
    }
    return true;
}

/* The product of a block for given integers: {d, dmin} and where they lie depends on the type. */
static double block_result(uint32_t dtype, const uint8_t *code, json_t *ints)
{
    const double isum = (double)json_integer_value(json_object_get(ints, "isum"));
    const double msum = (double)json_integer_value(json_object_get(ints, "summs"));
    switch (dtype) {
    case DS4_Q8_0:    return load_half(code) * isum;
    case DS4_Q2_K:    return load_half(code + 80) * isum - load_half(code + 82) * msum;
    case DS4_Q4_K:    return load_half(code) * isum - load_half(code + 2) * msum;
    case DS4_IQ2_XXS: return 0.125 * load_half(code) * isum;
    default:          return NAN;
    }
}

static void test_integer_products_are_exact(void **state)
{
    unsigned n_compared = 0;

    (void)state;
    for (int i = 0; i < N_TYPES * N_SETS; i++) {
        const golden_type *type = &types[i / N_SETS];
        const ds4_act      act = ds4_act_of(type->dtype);
        json_t            *root, *blocks = load_type(type, &root), *block;
        size_t             index;
        ds4_kernels        k;

        ds4_kernels_init(&k, feature_sets[i % N_SETS] & ds4_cpu_features());
        json_array_foreach(blocks, index, block) {
            uint8_t  code[MAX_BLOCK];
            ds4_q32  q32;
            ds4_q256 q256;
            float    y;
            if (!load_activation(block, act, &q32, &q256)) continue;
            bytes_of_hex(code, sizeof code, json_string_value(json_object_get(block, "block_hex")));
            const double want = block_result(type->dtype, code, json_object_get(block, "dot_int"));
            const void  *x = act == DS4_ACT_Q32 ? (const void *)&q32 : &q256;
            k.matmul[type->dtype](&y, 1, code, 0, 1, x, 0, 1, act == DS4_ACT_Q32 ? 32 : 256);
            if (isnan(want)) assert_true(isnan(y));
            else assert_true(y == (float)want || fabs(y - want) <= 2e-7 * fabs(want));
            n_compared++;
        }
        json_decref(root);
    }
    assert_true(n_compared >= 4 * 16);
}

static void test_e4m3_table(void **state)
{
    FILE   *fp = fopen(test_data_path("fp8_e4m3fn.csv"), "r");
    char    line[128], text[64];
    unsigned byte, n = 0;

    (void)state;
    assert_non_null(fp);
    while (fgets(line, sizeof line, fp)) {
        if (sscanf(line, "%u,%63s", &byte, text) != 2) continue;
        const float want = strtof(text, NULL), got = e4m3_to_float((uint8_t)byte);
        if (isnan(want)) assert_true(isnan(got));
        else assert_true(got == want && float_to_e4m3(want) == byte);
        n++;
    }
    fclose(fp);
    assert_int_equal(n, 256);
}

static void test_every_half_survives(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        const float f = half_to_float((uint16_t)h);
        if (isnan(f)) assert_true(isnan(half_to_float(float_to_half(f))));
        else assert_int_equal(float_to_half(f), h);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_decode_is_bit_equal),
    cmocka_unit_test(test_t66_codes_are_equal),
    cmocka_unit_test(test_integer_products_are_exact),
    cmocka_unit_test(test_e4m3_table),
    cmocka_unit_test(test_every_half_survives),
};
TEST_MAIN(tests)
