/* sha256_test.c - SHA-256 of texts of every length around a block, and those of the standard. */
#include "testing.h"

#include "base/sha256.h"

static void check(const char *text, size_t n, const char *expected)
{
    uint8_t sum[DS4_SHA256_BYTES];
    char    hex[65];

    ds4_sha256(text, n, sum);
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    assert_string_equal(hex, expected);
}

/* Source: FIPS 180-4 examples; the hashes of hashes below were computed with coreutils. */
static void test_known_hashes(void **state)
{
    (void)state;
    check("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

/* The hash of the hashes of 0 to 200 letters. */
static void test_every_length(void **state)
{
    char    text[201];
    uint8_t sums[201][DS4_SHA256_BYTES];

    (void)state;
    memset(text, 'a', sizeof text);
    for (size_t n = 0; n <= 200; n++) ds4_sha256(text, n, sums[n]);
    check((const char *)sums, sizeof sums,
          "1be2d7d291484baf4c78d463a65b40a26c255b1946e5205eac8edad606a76fdd");
}

/* Bytes in parts of any size have the digest of the whole. */
static void test_parts(void **state)
{
    char            text[1000];
    uint8_t         whole[DS4_SHA256_BYTES], parts[DS4_SHA256_BYTES];
    ds4_sha256_run *run = NULL;
    ds4_err         err;

    (void)state;
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i * 7);
    ds4_sha256(text, sizeof text, whole);
    for (size_t step = 1; step <= sizeof text; step = step * 3 + 1) {
        assert_int_equal(ds4_sha256_begin(&run, &err), DS4_OK);
        for (size_t at = 0; at < sizeof text; at += step) {
            ds4_sha256_add(run, text + at, at + step < sizeof text ? step : sizeof text - at);
        }
        assert_true(ds4_sha256_end(run, parts));
        assert_memory_equal(parts, whole, sizeof whole);
    }
    assert_false(ds4_sha256_end(NULL, NULL));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_parts),
    cmocka_unit_test(test_known_hashes),
    cmocka_unit_test(test_every_length),
};

TEST_MAIN(tests)
