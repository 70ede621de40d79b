/* diff_test.c - diffs that patch(1) would take: applied to the old text they give the new one. */
#include "agent/diff.h"

#include "testing.h"

static uint64_t seed = 7;
static unsigned pick(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static ds4_slice text_of(const ds4_str *s) { return (ds4_slice){ ds4_str_text(s), s->n_bytes }; }

/* The line at *at with its line feed; moves on. */
static ds4_slice take(ds4_slice text, size_t *at)
{
    const char  *end = memchr(text.data + *at, '\n', text.n_bytes - *at);
    const size_t from = *at;
    *at = end ? (size_t)(end - text.data) + 1 : text.n_bytes;
    return (ds4_slice){ text.data + from, *at - from };
}

/* Apply a diff of ours, checking every line and number of it. */
static void apply(ds4_slice old, ds4_slice diff, ds4_str *out)
{
    size_t at = 0, i = 0, line = 0, out_line = 0, n_old = 0, n_new = 0;

    while (i < diff.n_bytes) {
        ds4_slice l = take(diff, &i);
        if (strncmp(l.data, "--- ", 4) == 0 || strncmp(l.data, "+++ ", 4) == 0) continue;
        if (l.data[0] == '@') {
            size_t from = 0, to = 0, want_new = 0;
            assert_int_equal(n_old + n_new, 0);
            assert_int_equal(sscanf(l.data, "@@ -%zu,%zu +%zu,%zu @@", &from, &n_old, &to, &n_new), 4);
            const size_t first = n_old ? from - 1 : from;
            while (line < first) {
                const ds4_slice same = take(old, &at);
                ds4_str_add(out, same.data, same.n_bytes);
                line++;
                out_line++;
            }
            want_new = n_new ? to - 1 : to;
            assert_int_equal(out_line, want_new);
            continue;
        }
        bool no_feed = false;
        if (i < diff.n_bytes && diff.data[i] == '\\') {
            take(diff, &i);
            no_feed = true;
        }
        const ds4_slice body = { l.data + 1, l.n_bytes - 1 - (no_feed ? 1 : 0) };
        if (l.data[0] != '+') {
            const ds4_slice o = take(old, &at);
            assert_true(ds4_slice_eq(o, body));
            line++;
            n_old--;
        }
        if (l.data[0] != '-') {
            ds4_str_add(out, body.data, body.n_bytes);
            out_line++;
            n_new--;
        }
    }
    assert_int_equal(n_old + n_new, 0);
    ds4_str_add(out, old.data + at, old.n_bytes - at);
}

static void check(const ds4_str *a, const ds4_str *b, unsigned context)
{
    ds4_str diff = { 0 }, result = { 0 };
    ds4_diff("f", text_of(a), text_of(b), false, false, context, &diff);
    apply(text_of(a), text_of(&diff), &result);
    if (!ds4_slice_eq(text_of(&result), text_of(b)))
        fail_msg("old:\n%s\nnew:\n%s\ndiff:\n%s", ds4_str_text(a), ds4_str_text(b), ds4_str_text(&diff));
    ds4_str_clear(&diff);
    ds4_str_clear(&result);
}

static void test_random_diffs_apply(void **state)
{
    (void)state;
    for (int round = 0; round < 3000; round++) {
        ds4_str a = { 0 }, b = { 0 };
        for (unsigned i = pick(30); i-- > 0; ) {
            const unsigned what = pick(8), n = pick(4);
            if (what != 0) ds4_str_addf(&a, "line %u\n", n);
            if (what == 1) ds4_str_addf(&b, "other %u\n", n);
            else if (what != 2) ds4_str_addf(&b, "line %u\n", n);
        }
        if (pick(4) == 0) ds4_str_add_text(&a, "end");
        if (pick(4) == 0) ds4_str_add_text(&b, "end");
        check(&a, &b, pick(4));
        ds4_str_clear(&a);
        ds4_str_clear(&b);
    }
}

static void test_what_it_looks_like(void **state)
{
    (void)state;
    ds4_str out = { 0 };
    ds4_diff("a/b.c", DS4_SLICE("1\n2\n3\n4\n5\n6\n7\n8\n9\n"), DS4_SLICE("1\n2\n3\n4\nfive\n6\n7\n8\n9\n"),
             false, false, 3,
             &out);
    assert_string_equal(out.data,
                        "--- a/a/b.c\n+++ b/a/b.c\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
    ds4_str_truncate(&out, 0);
    ds4_diff("n", DS4_SLICE(""), DS4_SLICE("x"), true, false, 3, &out);
    assert_string_equal(out.data,
                        "--- /dev/null\n+++ b/n\n@@ -0,0 +1,1 @@\n+x\n\\ No newline at end of file\n");
    ds4_str_truncate(&out, 0);
    ds4_diff("n", DS4_SLICE("same"), DS4_SLICE("same"), false, false, 3, &out);
    assert_int_equal(out.n_bytes, 0);
    ds4_str_clear(&out);
}

static void test_very_different_texts(void **state)
{
    (void)state;
    ds4_str a = { 0 }, b = { 0 };
    for (int i = 0; i < 5000; i++) {
        ds4_str_addf(&a, "a%d\n", i);
        ds4_str_addf(&b, "b%d\n", i);
    }
    check(&a, &b, 3);
    ds4_str_clear(&a);
    ds4_str_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_diffs_apply),
        cmocka_unit_test(test_what_it_looks_like),
        cmocka_unit_test(test_very_different_texts),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
