/* ui_test.c - parts of the terminal front: what is shown is what was said, in rows that fit, and harmless. */
#include "testing.h"

#include "app/agent/ui_complete.h"
#include "app/agent/ui_history.h"
#include "app/agent/ui_view.h"
#include "app/agent/ui_width.h"

#include "support/open_pty.h"

#include <poll.h>
#include <sys/stat.h>

static const ui_look plain = { .colour = false, .utf8 = true };

/* ---- helpers --------------------------------------------------------------------------------------- */

/* Append the text of rows without our escape sequences, a line for each. */
static void add_rows(const ui_rows *rows, ds4_str *out)
{
    for (size_t i = 0; i < rows->n; i++) {
        const char *c = ds4_str_text(&rows->row[i].text);
        while (*c) {
            if (c[0] == '\033' && c[1] == '[') c += strcspn(c, "m") + 1;
            else ds4_str_add_char(out, *c++);
        }
        ds4_str_add_char(out, '\n');
    }
}

static void assert_rows(const char *expected, ui_rows *rows)
{
    ds4_str text = { 0 };

    add_rows(rows, &text);
    assert_string_equal(expected, ds4_str_text(&text));
    ds4_str_clear(&text);
    ui_rows_clear(rows);
}

static void markdown(const char *text, size_t step, int cols, ui_rows *out)
{
    ui_markdown  m = { .look = &plain, .cols = cols };
    const size_t n = strlen(text);

    for (size_t at = 0; at < n; at += step) {
        ui_rows open = { 0 };
        ui_markdown_add(&m, text + at, n - at < step ? n - at : step, out);
        ui_markdown_open(&m, 1000, out, &open);
        ui_rows_clear(&open);
    }
    ui_markdown_end(&m, out);
    ui_markdown_clear(&m);
}

static void assert_markdown(const char *expected, const char *text, int cols)
{
    for (size_t step = 1; step < 8; step += 3) {
        ui_rows rows = { 0 };
        markdown(text, step, cols, &rows);
        assert_rows(expected, &rows);
    }
}

/* ---- text ---------------------------------------------------------------------------------------------- */

static void assert_scrubbed(const char *expected, const char *text)
{
    const size_t n = strlen(text);

    for (size_t step = 1; step <= n; step += n > 3 ? 2 : 1) {
        ui_scrub s = { 0 };
        ds4_str  out = { 0 };
        for (size_t at = 0; at < n; at += step)
            ui_scrub_add(&s, text + at, n - at < step ? n - at : step, &out);
        ui_scrub_end(&s, &out);
        assert_string_equal(expected, ds4_str_text(&out));
        ds4_str_clear(&out);
    }
}

static void test_nothing_that_steers_a_terminal_gets_through(void **state)
{
    (void)state;
    assert_scrubbed("red text", "\033[31mred\033[0m text");
    assert_scrubbed("abc", "a\033]0;title\007b\033]8;;http://x\033\\c");
    assert_scrubbed("ab", "a\033P1$r0m\033\\b");
    assert_scrubbed("a\nb", "a\033]0;never ended\nb");
    assert_scrubbed("ab", "a\302\23331mb");             /* C1: CSI */
    assert_scrubbed("ab", "a\302\235title\302\234b");   /* C1: OSC .. ST */
    assert_scrubbed("ab", "a\033(B\033=\033cb");
    assert_scrubbed("ab", "a\b\a\0337\177\016b");
    assert_scrubbed("10%\n100%\nend", "10%\r100%\r\nend");
    assert_scrubbed("a   b", "a\tb");
    assert_scrubbed("if admin", "if \342\200\256admin\342\201\246");
    assert_scrubbed("\357\277\275x", "\377x");
    assert_scrubbed("é日本", "é日本");
    assert_scrubbed("m", "\033\033" "1m");
}

static void test_characters_have_the_columns_terminals_give_them(void **state)
{
    (void)state;
    assert_int_equal(5, ui_columns("abcde", 5));
    assert_int_equal(4, ui_columns("日本", strlen("日本")));
    assert_int_equal(1, ui_columns("e\xcc\x81", 3));
    assert_int_equal(2, ui_columns("😀", strlen("😀")));
    assert_int_equal(2, ui_columns("❤️", strlen("❤️")));
    assert_int_equal(1, ui_columns("ﾃ", strlen("ﾃ")));
    int columns;
    assert_int_equal(strlen("👩‍👧"), ui_cluster("👩‍👧x", strlen("👩‍👧x"), &columns));
    assert_int_equal(strlen("🇩🇪"), ui_cluster("🇩🇪🇫🇷", strlen("🇩🇪🇫🇷"), &columns));
}

/* ---- Markdown --------------------------------------------------------------------------------------- */

static void test_words_wrap_and_wide_characters_stay_whole(void **state)
{
    (void)state;
    assert_markdown("one two\nthree\nfour\n", "one two three four", 8);
    assert_markdown("abcdefgh\nij\n", "abcdefghij", 8);
    assert_markdown("日本語の\n文章\n", "日本語の文章", 9);
    assert_markdown("• a b\n  c d\n", "- a b c d", 5);
    assert_markdown("1. a b\n   c d\n", "1. a b c d", 6);
    assert_markdown("│ a b\n│ c\n", "> a b c", 5);
}

static void test_marks_become_styles_and_stay_text_where_they_are_none(void **state)
{
    ui_rows rows = { 0 };

    (void)state;
    markdown("a **bold** b", 100, 40, &rows);
    assert_string_equal("a \033[1mbold\033[0m b", ds4_str_text(&rows.row[0].text));
    ui_rows_clear(&rows);
    assert_markdown("bold it code x_y_z 2 * 3 ** 4\n", "**bold** *it* `code` x_y_z 2 * 3 ** 4", 60);
    assert_markdown("never **closed and `open\n", "never **closed and `open", 60);
    assert_markdown("a*b \\ *\n", "a\\*b \\ \\*", 60);
    assert_markdown("text (http://x) http://y\n", "[text](http://x) http://y", 60);
    assert_markdown("Title\n\n────────\nafter\n", "## Title\n\n\n\n----\nafter", 8);
}

static void test_an_open_mark_is_taken_to_close(void **state)
{
    ui_markdown m = { .look = &plain, .cols = 40 };
    ui_rows     given = { 0 }, open = { 0 };

    (void)state;
    ui_markdown_add(&m, "say **bol", 9, &given);
    ui_markdown_open(&m, 10, &given, &open);
    assert_string_equal("say \033[1mbol\033[0m", ds4_str_text(&open.row[0].text));
    assert_int_equal(0, given.n);
    ui_rows_clear(&open);
    ui_markdown_clear(&m);
}

static void test_code_is_kept_as_it_is(void **state)
{
    ui_rows rows = { 0 };

    (void)state;
    assert_markdown("```c\nint  *a = b ** c; // **x**\n\n\n    | x |\n```\nafter\n",
                    "```c\nint  *a = b ** c; // **x**\n\n\n    | x |\n```\nafter", 12);
    markdown("~~~\n```\nx\n~~~\n", 100, 40, &rows);
    assert_rows("~~~\n```\nx\n~~~\n", &rows);
    markdown("```\nlong long long line\n```", 3, 8, &rows);
    assert_true(rows.row[1].soft);
    assert_rows("```\nlong long long line\n```\n", &rows);
}

static void test_code_has_colours_across_lines(void **state)
{
    const ui_look colour = { .colour = true, .utf8 = true };
    ds4_str       out = { 0 };
    int           inside = 0;

    (void)state;
    ui_code_line(&colour, UI_CODE_C, DS4_SLICE("if (x) /* open"), &inside, &out);
    assert_string_equal("\033[35mif\033[0m (x) \033[90m/* open\033[0m", ds4_str_text(&out));
    ds4_str_truncate(&out, 0);
    ui_code_line(&colour, UI_CODE_C, DS4_SLICE("if */ \"s\\\"t\" 12"), &inside, &out);
    assert_string_equal("\033[90mif */\033[0m \033[32m\"s\\\"t\"\033[0m \033[33m12\033[0m",
                        ds4_str_text(&out));
    assert_int_equal(0, inside);
    ds4_str_clear(&out);
}

static void test_a_table_waits_and_is_aligned(void **state)
{
    (void)state;
    assert_markdown("Name │ N\n─────┼───\na    │ 1\n日本 │ 22\nend\n",
                    "| Name | N |\n|---|--:|\n| a | 1 |\n| **日本** | 22 |\nend", 40);
    assert_markdown("aa… │ bb…\n", "| aaaaaaaa | bbbbbb |", 9);
}

static void test_a_paragraph_taller_than_the_screen_is_given_piece_by_piece(void **state)
{
    ui_markdown m = { .look = &plain, .cols = 8 };
    ui_rows     given = { 0 };
    ds4_str     text = { 0 };

    (void)state;
    for (int i = 0; i < 40; i++) {
        ui_rows open = { 0 };
        ui_markdown_add(&m, "abc def ", 8, &given);
        ui_markdown_open(&m, 4, &given, &open);
        assert_true(open.n <= 4);
        ui_rows_clear(&open);
    }
    ui_markdown_end(&m, &given);
    add_rows(&given, &text);
    assert_int_equal(40, given.n);
    for (int i = 0; i < 40; i++) assert_memory_equal("abc def\n", text.data + 8 * i, 8);
    ds4_str_clear(&text);
    ui_rows_clear(&given);
    ui_markdown_clear(&m);
}

/* ---- keys and the line ------------------------------------------------------------------------------ */

static void type(ui_line *l, const char *bytes)
{
    ui_keys k = { 0 };
    ui_key  key;

    for (; *bytes; bytes++) {
        ui_keys_add(&k, bytes, 1);
        while ((key = ui_keys_next(&k, !bytes[1])) != UI_KEY_NONE) {
            ui_line_key(l, key, k.ctrl, (ds4_slice){ ds4_str_text(&k.text), k.text.n_bytes });
        }
    }
    ui_keys_clear(&k);
}

static void assert_typed(const char *expected, const char *bytes)
{
    ui_line l = { 0 };
    ds4_str shown = { 0 };

    type(&l, bytes);
    ds4_str_add(&shown, ds4_str_text(&l.text), l.at);
    ds4_str_add_char(&shown, '^');
    ds4_str_add_text(&shown, ds4_str_text(&l.text) + l.at);
    assert_string_equal(expected, ds4_str_text(&shown));
    ds4_str_clear(&shown);
    ui_line_clear(&l);
}

static void test_editing(void **state)
{
    (void)state;
    assert_typed("abc^", "abc");
    assert_typed("a^c", "abc\033[D\177");
    assert_typed("^abc", "abc\033[H");
    assert_typed("日^語", "日本語\033[D\177");
    assert_typed("e\xcc\x81^", "e\xcc\x81x\177");
    assert_typed("one ^", "one two\027");
    assert_typed("one ^two", "one two\033b");
    assert_typed("two^", "one two\001\033d\033[C\027\005");
    assert_typed("one^", "one two\001\013\031\027\177");
    assert_typed("ab\nc^d", "ab\ncd\033[D");
    assert_typed("a^b\ncd", "ab\ncd\033[D\033[A");
    assert_typed("line 1\nline 2^", "\033[200~line 1\r\nline\033[31m 2\033[201~");
    assert_typed("x^", "\033[99;99Zx\033[1;9Qx\177");
}

static void test_escape_alone_waits_for_what_may_follow(void **state)
{
    ui_keys k = { 0 };

    (void)state;
    ui_keys_add(&k, "\033", 1);
    assert_int_equal(UI_KEY_NONE, ui_keys_next(&k, false));
    assert_true(ui_keys_waiting(&k));
    assert_int_equal(UI_KEY_ESC, ui_keys_next(&k, true));
    ui_keys_add(&k, "\033", 1);
    assert_int_equal(UI_KEY_NONE, ui_keys_next(&k, false));
    ui_keys_add(&k, "[A", 2);
    assert_int_equal(UI_KEY_UP, ui_keys_next(&k, false));
    ui_keys_add(&k, "\303", 1);
    assert_int_equal(UI_KEY_NONE, ui_keys_next(&k, false));
    ui_keys_add(&k, "\244", 1);
    assert_int_equal(UI_KEY_TEXT, ui_keys_next(&k, false));
    assert_string_equal("ä", ds4_str_text(&k.text));
    ui_keys_clear(&k);
}

static void test_the_line_wraps_and_shows_what_is_around_the_cursor(void **state)
{
    ui_line   l = { 0 };
    ui_rows   rows = { 0 };
    ui_cursor cursor;

    (void)state;
    type(&l, "abcdefgh\nx日");
    ui_line_rows(&l, &plain, 8, 10, &rows, &cursor);
    assert_int_equal(2, cursor.row);
    assert_int_equal(5, cursor.col);
    assert_rows("› abcdef\n  gh\n  x日\n", &rows);
    ui_line_rows(&l, &plain, 8, 2, &rows, &cursor);
    assert_int_equal(1, cursor.row);
    assert_rows("  gh\n  x日\n", &rows);
    ui_line_clear(&l);
}

static void test_history_comes_back_also_in_the_next_process(void **state)
{
    char        path[256];
    ui_history  h;
    ui_line     l = { 0 };
    struct stat facts;

    (void)state;
    test_temp_path(path, "ui_history");
    unlink(path);
    ui_history_open(&h, path);
    ui_history_add(&h, DS4_SLICE("first"));
    ui_history_add(&h, DS4_SLICE("two\nlines \\n"));
    ui_history_add(&h, DS4_SLICE("two\nlines \\n"));
    ui_history_close(&h);
    assert_int_equal(0, stat(path, &facts));
    assert_int_equal(0600, facts.st_mode & 07777);
    ui_history_open(&h, path);
    assert_int_equal(2, h.n);
    type(&l, "draft");
    ui_history_step(&h, &l, true);
    assert_string_equal("two\nlines \\n", ds4_str_text(&l.text));
    ui_history_step(&h, &l, true);
    ui_history_step(&h, &l, true);
    assert_string_equal("first", ds4_str_text(&l.text));
    ui_history_step(&h, &l, false);
    ui_history_step(&h, &l, false);
    assert_string_equal("draft", ds4_str_text(&l.text));
    ui_line_set(&l, DS4_SLICE("irs"));
    ui_history_look(&h, &l);
    assert_string_equal("first", ds4_str_text(&l.text));
    ui_history_close(&h);
    ui_line_clear(&l);
    unlink(path);
}

static void assert_completed(const char *expected, const char *offers, const char *typed, const char *root)
{
    static const ds4_agent_word words[] = { { "/help", "", "", true }, { "/history", "", "", true } };
    ui_line l = { 0 };
    ds4_str out = { 0 };

    type(&l, typed);
    ui_complete(&l, root, words, 2, 10, &out);
    assert_string_equal(expected, ds4_str_text(&l.text));
    assert_string_equal(offers, ds4_str_text(&out));
    ui_line_clear(&l);
    ds4_str_clear(&out);
}

static void test_tab_completes_commands_and_files(void **state)
{
    char dir[256], path[300];

    (void)state;
    test_temp_path(dir, "ui_files");
    assert_int_equal(0, mkdir(dir, 0700));
    static const char *const names[] = { "main.c", "main.h", ".hidden", "größe", "bad\033[31m" };
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        fclose(fopen(path, "w"));
    }
    snprintf(path, sizeof path, "%s/sub", dir);
    assert_int_equal(0, mkdir(path, 0700));
    assert_completed("/h", "/help  /history  ", "/h", dir);
    assert_completed("/help ", "", "/he", dir);
    assert_completed("read main.", "main.c  main.h  ", "read ma", dir);
    assert_completed("read @main.c ", "", "read @main.c", dir);
    assert_completed("look at sub/", "", "look at s", dir);
    assert_completed("größe ", "", "gr", dir);
    assert_completed("ba", "", "ba", dir);
    assert_completed(".hidden ", "", ".h", dir);
    assert_completed("nothing", "", "nothing", dir);
    char command[400];
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    assert_int_equal(0, system(command));
}

/* ---- the screen ------------------------------------------------------------------------------- */

static void add_row(ui_rows *rows, const char *text)
{
    ui_row *row = ui_rows_add(rows);

    ds4_str_add_text(&row->text, text);
    row->columns = (int)strlen(text);
}

/* What was written to the terminal since the last call. Lives until the next. */
static const char *written(int fd)
{
    static char   text[4096];
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    size_t        n = 0;

    while (poll(&wait, 1, n ? 50 : 2000) == 1) {
        const ssize_t got = read(fd, text + n, sizeof text - 1 - n);
        if (got <= 0) break;
        n += (size_t)got;
    }
    text[n] = '\0';
    return text;
}

static void test_only_rows_that_changed_are_written_in_one_frame(void **state)
{
    int             slave;
    const int       fd = test_open_pty(&slave);
    const ui_cursor cursor = { .row = 2, .n_bytes = 2, .col = 2 };
    ui_screen       s;
    ui_rows         given = { 0 }, live = { 0 };
    struct termios  now;

    (void)state;
    if (fd < 0) skip();
    assert_true(ui_screen_open(&s, slave, slave));
    add_row(&live, "first row");
    add_row(&live, "second");
    add_row(&live, "> x");
    ui_screen_show(&s, &given, &live, &cursor);
    assert_non_null(strstr(written(fd), "first row"));
    ui_screen_show(&s, &given, &live, &cursor);
    ds4_str_add_text(&live.row[1].text, " and more");
    ui_screen_show(&s, &given, &live, &cursor);
    assert_string_equal("\033[?2026h\033[?25l\r\033[2A\r\r\n\033[Ksecond and more\r\r\r\n> \033[0m"
                        "\033[?25h\033[?2026l", written(fd));
    add_row(&given, "for good");
    ui_screen_show(&s, &given, &live, &cursor);
    assert_non_null(strstr(written(fd), "\r\033[2A\033[Kfor good\r"));
    assert_int_equal(0, given.n);
    ui_screen_close(&s);
    assert_non_null(strstr(written(fd), "\033[J"));
    assert_int_equal(0, tcgetattr(slave, &now));
    assert_true(now.c_lflag & ICANON);
    ui_rows_clear(&live);
    ui_rows_clear(&given);
    close(slave);
    close(fd);
}

/* ---- the view --------------------------------------------------------------------------------------- */

static void assert_title(const char *expected, const char *name, const char *arguments)
{
    ds4_str out = { 0 };

    ui_call_title((ds4_slice){ name, strlen(name) }, (ds4_slice){ arguments, strlen(arguments) }, &out);
    assert_string_equal(expected, ds4_str_text(&out));
    ds4_str_clear(&out);
}

static void test_a_call_is_told_in_a_line_also_while_it_is_written(void **state)
{
    (void)state;
    assert_title("bash  make test", "bash", "{\"timeout\": 3, \"command\": \"make test\"}");
    assert_title("bash  make te", "bash", "{\"command\": \"make te");
    assert_title("bash  make", "bash", "{\"command\": \"make\\u00");
    assert_title("bash  echo \"a\" ...", "bash", "{\"command\": \"echo \\\"a\\\"\\nb\"}");
    assert_title("write  src/ä.c", "write", "{\"content\": \"x\", \"path\": \"src/\\u00e4.c\"}");
    assert_title("other  v", "other", "{\"n\": {\"a\": 1}, \"k\": \"v\"}");
    assert_title("none", "none", "{}");
    assert_title("none", "no\033[31mne", "\"");
    assert_title("bash  rm", "bash", "{\"command\": \"\\u001b[31mrm\\u0007\"}");
}

static void test_hostile_events_leave_only_our_own_sequences(void **state)
{
    static const char bad[] = "\033]0;x\007\033[2J\302\233H a\rb\033[31m \342\200\256";
    ui_view v = { .look = { .colour = true, .utf8 = true } };
    const ds4_slice text = { bad, sizeof bad - 1 };
    const ds4_tool_call call = { text, text, text };
    ds4_tool_result result = { .failed = true };
    ds4_tool_change changed = { .path = (char *)(uintptr_t)bad };
    const ds4_session_facts facts = { bad, bad, bad, bad, bad, 0, false };
    const ds4_question question = { text, text, text, text, true };

    (void)state;
    ds4_str_add(&result.text, bad, sizeof bad - 1);
    ds4_str_add(&changed.diff, bad, sizeof bad - 1);
    ui_view_size(&v, 40, 20);
    for (int kind = 0; kind <= DS4_FRONT_SETTLED; kind++) {
        if (kind == DS4_FRONT_STATUS) continue;
        const ds4_front_event e = { .kind = (ds4_front_kind)kind, .text = text, .n = 1, .call = &call,
                                    .result = &result, .change = &changed, .session = &facts };
        ui_view_event(&v, &e);
    }
    ui_view_question(&v, &question);
    ui_view_live(&v, 20, &v.given);
    ui_view_status(&v, "", &v.given);
    for (size_t i = 0; i < v.given.n; i++) {
        const char *c = ds4_str_text(&v.given.row[i].text);
        for (; *c; c++) {
            if (*c == '\033') {
                assert_int_equal('[', c[1]);
                c += 2 + strspn(c + 2, "0123456789;");
                assert_int_equal('m', *c);
            }
            assert_true((unsigned char)*c >= ' ' && *c != 0x7f);
        }
        assert_null(strstr(ds4_str_text(&v.given.row[i].text), "\342\200\256"));
        assert_null(strstr(ds4_str_text(&v.given.row[i].text), "\302\233"));
    }
    ui_view_clear(&v);
    ds4_str_clear(&result.text);
    ds4_str_clear(&changed.diff);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_nothing_that_steers_a_terminal_gets_through),
    cmocka_unit_test(test_characters_have_the_columns_terminals_give_them),
    cmocka_unit_test(test_words_wrap_and_wide_characters_stay_whole),
    cmocka_unit_test(test_marks_become_styles_and_stay_text_where_they_are_none),
    cmocka_unit_test(test_an_open_mark_is_taken_to_close),
    cmocka_unit_test(test_code_is_kept_as_it_is),
    cmocka_unit_test(test_code_has_colours_across_lines),
    cmocka_unit_test(test_a_table_waits_and_is_aligned),
    cmocka_unit_test(test_a_paragraph_taller_than_the_screen_is_given_piece_by_piece),
    cmocka_unit_test(test_editing),
    cmocka_unit_test(test_escape_alone_waits_for_what_may_follow),
    cmocka_unit_test(test_the_line_wraps_and_shows_what_is_around_the_cursor),
    cmocka_unit_test(test_history_comes_back_also_in_the_next_process),
    cmocka_unit_test(test_tab_completes_commands_and_files),
    cmocka_unit_test(test_only_rows_that_changed_are_written_in_one_frame),
    cmocka_unit_test(test_a_call_is_told_in_a_line_also_while_it_is_written),
    cmocka_unit_test(test_hostile_events_leave_only_our_own_sequences),
};

TEST_MAIN(tests)
