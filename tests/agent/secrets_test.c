/* secrets_test.c - names are shown, values are not. */
#include "agent/secrets.h"

#include "support/agent_dir.h"
#include "testing.h"

static void test_which_files(void **state)
{
    (void)state;
    static const struct { const char *name; bool is; } cases[] = {
        { ".env", true }, { "a/.env.local", true }, { ".env.example", false }, { "prod.env", true },
        { "env", false },
        { "id_rsa", true }, { "id_rsa.pub", false }, { "x/id_ed25519", true }, { "server.key", true },
        { "key.c", false }, { "cert.pem", true }, { "secrets.yaml", true }, { "secrets.c", false },
        { ".npmrc", true },
        { "environment.ts", false }, { ".ENV", true }, { "my.env.sample", false },
        { "id_generator.c", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (ds4_secret_name(cases[i].name) != cases[i].is) fail_msg("%s", cases[i].name);
    }
}

static const char env[] =
    "# service\nNODE_ENV=production\nexport API_KEY=\"sk-live-0123456789\"\nEMPTY=\n"
    "DB_URL=postgres://u:hunter22@h/db\n"
    "# OLD_TOKEN=tok_abcdefgh\nMULTI=\"first line\nsecond secret=1\nlast\"\nPORT: 8080\n"
    "-----BEGIN PRIVATE KEY-----\nAbCd==\n"
    "-----END PRIVATE KEY-----\nloose value\n";

static void test_lines_stay_values_go(void **state)
{
    (void)state;
    static const char *const gone[] = { "production", "sk-live", "hunter22", "tok_abc", "first line",
                                        "second", "last\"",
                                        "8080", "AbCd", "loose" };
    static const char *const stay[] = { "# service", "NODE_ENV=<masked, 10 characters>",
                                        "export API_KEY=\"<masked, 18",
                                        "EMPTY=\n", "# OLD_TOKEN=<masked", "PORT: <masked, 4",
                                            "-----BEGIN PRIVATE" };
    ds4_secrets *s = ds4_secrets_create();
    ds4_str      out = { 0 };

    ds4_secrets_mask(s, ".env", (ds4_slice){ env, sizeof env - 1 }, &out);
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        if (strstr(out.data, gone[i])) fail_msg("'%s' is shown:\n%s", gone[i], out.data);
    }
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++) {
        if (!strstr(out.data, stay[i])) fail_msg("'%s' is missing:\n%s", stay[i], out.data);
    }
    size_t n = 0, k = 0;
    for (const char *c = env; *c; c++) n += *c == '\n';
    for (const char *c = out.data; *c; c++) k += *c == '\n';
    assert_int_equal(n, k);

    /* And they are found again elsewhere. */
    ds4_str text = { 0 };
    ds4_str_add_text(&text,
                     "got sk-live-0123456789, sk-live-0123456789; env production, "
                             "postgres://u:hunter22@h/db");
    assert_int_equal(ds4_secrets_hide(s, &text), 3);
    assert_string_equal(text.data, "got <masked API_KEY>, <masked API_KEY>; env production, <masked DB_URL>");
    ds4_str_clear(&text);
    ds4_str_clear(&out);
    ds4_secrets_free(s);
}

static void test_json_and_keys(void **state)
{
    (void)state;
    ds4_str out = { 0 };
    const char json[] = "{\n  \"client_secret\": \"abcdefgh12\",\n  \"nested\": {\n    \"n\": 5\n  }\n}\n";
    ds4_secrets_mask(NULL, "credentials.json", (ds4_slice){ json, sizeof json - 1 }, &out);
    assert_string_equal(out.data, "{\n  \"client_secret\": \"<masked, 10 characters>\",\n  \"nested\": {\n"
                                  "    \"n\": <masked, 1 characters>\n  }\n}\n");
    ds4_str_truncate(&out, 0);
    const char npm[] = "//registry.npmjs.org/:_authToken=npm_1234567890\nregistry=https://r/\n";
    ds4_secrets_mask(NULL, ".npmrc", (ds4_slice){ npm, sizeof npm - 1 }, &out);
    assert_null(strstr(out.data, "npm_123"));
    ds4_str_truncate(&out, 0);
    ds4_secrets_mask(NULL, "server.key", DS4_SLICE("a=b\nnot=hidden\n"), &out);
    assert_null(strstr(out.data, "hidden"));
    ds4_str_clear(&out);
}

static void test_they_are_found_in_the_tree(void **state)
{
    (void)state;
    agent_dir    d;
    ds4_root    *root = NULL;
    ds4_secrets *s = ds4_secrets_create();
    ds4_str      text = { 0 };

    agent_dir_make(&d, "secrets_test");
    agent_put(d.root, "sub/.env", "TOKEN=abcdefgh1234\n");
    agent_put(d.root, ".gitignore", ".env\n");
    agent_put(d.root, "other", "TOKEN=notmasked1234\n");
    assert_int_equal(ds4_root_open(&root, d.root, NULL), DS4_OK);
    ds4_secrets_learn(s, root);
    ds4_str_add_text(&text, "abcdefgh1234 notmasked1234");
    ds4_secrets_hide(s, &text);
    assert_string_equal(text.data, "<masked TOKEN> notmasked1234");
    ds4_str_clear(&text);
    ds4_secrets_free(s);
    ds4_root_close(root);
    agent_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_files),
        cmocka_unit_test(test_lines_stay_values_go),
        cmocka_unit_test(test_json_and_keys),
        cmocka_unit_test(test_they_are_found_in_the_tree),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
