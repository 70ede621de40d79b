/* escape_test.c - ways out of the root, tried under each sandbox: all are refused or do no harm.
 *
 * Beside the root lies a folder whose names, modes and contents must stay. Attempts that need system calls of
 * their own are made by tests/tools/escape_helper, which is copied into the root. */
#include "support/escape_place.h"
#include "testing.h"

#include <poll.h>

typedef struct attempt {
    const char *name, *tool;
    const char *arguments;      /* of bash: the command; %O is the outside, %S the state, %R the root, %A our
                                   process, %H the helper with its folder and number */
    int         number;         /* 1: our process, 2: the TCP port, 3: the UDP port */
} attempt;

static const attempt attempts[] = {
    { "a path above", "read", "{\"path\":\"../outside/secret\"}", 0 },
    { "a path above, later", "read", "{\"path\":\"sub/../../outside/secret\"}", 0 },
    { "an absolute path", "read", "{\"path\":\"%O/secret\"}", 0 },
    { "the root's path and above", "read", "{\"path\":\"%R/../outside/secret\"}", 0 },
    { "a link to a file", "read", "{\"path\":\"out_file\"}", 0 },
    { "a link to a folder", "read", "{\"path\":\"out/secret\"}", 0 },
    { "a hard link", "read", "{\"path\":\"hard\"}", 0 },
    { "/proc/self/root", "read", "{\"path\":\"/proc/self/root%O/secret\"}", 0 },
    { "writing through a link", "write", "{\"path\":\"out/new\",\"content\":\"x\"}", 0 },
    { "writing through a link to a file", "write", "{\"path\":\"out_file\",\"content\":\"x\"}", 0 },
    { "editing a hard link", "edit", "{\"path\":\"hard\",\"old\":\"KEEP\",\"new\":\"x\"}", 0 },
    { "listing above", "list", "{\"path\":\"..\"}", 0 },
    { "listing a link", "list", "{\"path\":\"out\"}", 0 },
    { "searching above", "search", "{\"pattern\":\"KEEP\",\"path\":\"../outside\"}", 0 },
    { "searching through links", "search", "{\"pattern\":\"OUT-73\"}", 0 },
    { "a message that is a command", "git",
      "{\"do\":\"commit\",\"message\":\"'; echo x > ../outside/made; '\"}", 0 },
    { "a path that is an option", "git", "{\"do\":\"diff\",\"path\":\"--output=../outside/made\"}", 0 },
    { "cat", "bash", "cat ../outside/secret %O/secret out_file out/secret", 0 },
    { "redirection", "bash", "echo x > ../outside/secret; echo x >> %O/secret; echo x > %O/made", 0 },
    { "a here-document", "bash", "cat > ../outside/secret <<END\nx\nEND", 0 },
    { "chdir", "bash", "cd .. && cd outside && echo x > secret; cd %O; rm -rf folder", 0 },
    { "a new link", "bash", "ln -s %O o; echo x > o/secret; rm -rf o/folder/; cp a.txt o/made", 0 },
    { "the old hard link", "bash", "echo x > hard; chmod 777 hard; echo y >> hard", 0 },
    { "a new hard link", "bash", "ln ../outside/secret h && echo x > h; ln a.txt %O/made; cat h", 0 },
    { "moving in and out", "bash", "mv a.txt ../outside/; mv ../outside/secret .; mv %O/folder sub/", 0 },
    { "removing", "bash", "rm -rf ../outside %O %S out/ /proc/self/cwd/../outside", 0 },
    { "/proc/self/root and cwd", "bash",
      "echo x > /proc/self/root%O/secret; echo x > /proc/self/cwd/../outside/secret", 0 },
    { "files of our process", "bash",
      "for f in /proc/%A/fd/* /proc/%A/cwd/x /proc/%A/root%O/secret; do echo x >> $f; done; "
      "cat /proc/%A/environ; echo x > /proc/%A/mem; echo x > /proc/%A/root%O/made", 0 },
    { "parts of the system", "bash",
      "echo x > /proc/sys/kernel/core_pattern; echo x > /proc/sysrq-trigger; echo x > /dev/mem; "
      "echo x > /dev/kmsg; echo x > /dev/tty; echo x > /dev/sda", 0 },
    { "the state folder", "bash", "echo x > %S/canary; rm -rf %S/*; mv %S s; ln -s /etc %S/l", 0 },
    { "dd and tee and install", "bash",
      "dd if=a.txt of=../outside/secret; tee %O/made < a.txt; install a.txt %O/made", 0 },
    { "tar and patch", "bash", "tar -cf t.tar a.txt; tar -xf t.tar -C ../outside; "
      "printf -- '--- ../outside/secret\\n+++ ../outside/secret\\n@@ -1 +1 @@\\n-KEEP-OUT-7391\\n+x\\n' | "
      "patch -p0 -f", 0 },
    { "programs with privileges", "bash", "sudo -n sh -c 'echo x > %O/secret'; su -c 'echo x > %O/secret'; "
      "echo '* * * * * echo x > %O/made' | crontab -; at now < a.txt; systemd-run sh -c 'echo x > %O/made'",
          0 },
    { "namespaces and mounts", "bash",
      "unshare -rm sh -c 'mount --bind sub %O'; mount --bind sub %O; umount -l %O; "
      "mount -t tmpfs x %O; nsenter -t 1 -m sh -c 'echo x > %O/made'; chroot / sh -c 'echo x > %O/made'", 0 },
    { "devices", "bash",
      "mknod disk b 8 0; mknod mem c 1 1; mknod n c 1 3; dd if=disk of=x count=1; mkfifo f", 0 },
    { "killing us", "bash", "kill -9 %A; kill -TERM %A; kill -STOP %A; kill -9 -1", 0 },
    { "killing others", "bash", "kill -9 %B; kill -STOP %B; kill -9 -- -%B; kill -9 1", 0 },
    { "a process that stays", "bash",
      "(setsid sh -c 'sleep 1; echo x > late; echo x > ../outside/late' >/dev/null 2>&1 &) ; "
      "env -i setsid sh -c 'sleep 1; echo x > late' >/dev/null 2>&1 & echo started", 0 },
    { "temporary files", "bash",
      "ln -s %O \"$TMPDIR/l\"; ln -s %O/secret \"$TMPDIR/m\"; mkdir \"$TMPDIR/d\"; chmod 0 \"$TMPDIR/d\"",
          0 },
    { "permissions", "bash",
      "chmod 777 ../outside/secret %O %O/folder; chmod -R a+rwx %O; chmod 777 out_file; chown 1:1 %O/secret",
          0 },
    { "ptrace", "bash", "%H ptrace", 1 }, { "memory of our process", "bash", "%H vm_read", 1 },
    { "io_uring", "bash", "%H io_uring", 0 }, { "O_TMPFILE", "bash", "%H tmpfile", 0 },
    { "a link to O_TMPFILE", "bash", "%H tmpfile_link", 0 }, { "file handles", "bash", "%H handle", 0 },
    { "rename", "bash", "%H rename", 0 }, { "exchange", "bash", "%H exchange", 0 },
    { "truncate", "bash", "%H truncate", 0 }, { "O_TRUNC for reading", "bash", "%H open_trunc", 0 },
    { "chmod", "bash", "%H chmod", 0 }, { "set-user-ID", "bash", "%H suid", 0 },
    { "chown", "bash", "%H chown", 0 },
    { "a socket's file", "bash", "%H unix", 0 }, { "an abstract socket", "bash", "%H abstract", 1 },
    { "TCP", "bash", "%H tcp", 2 }, { "raw packets", "bash", "%H raw", 0 },
    { "user namespaces", "bash", "%H userns", 0 },
    { "mount", "bash", "%H mount", 0 }, { "chroot", "bash", "%H chroot", 0 }, { "BPF", "bash", "%H bpf", 0 },
    { "the keyring", "bash", "%H keyring", 0 }, { "input for a terminal", "bash", "%H tiocsti", 0 },
    { "files that stayed open", "bash", "%H fds", 0 }, { "UDP", "bash", "%H udp || true", 3 },
};

static void try_all(unsigned without)
{
    char        before[65], after[65], root_before[65], root_after[65];
    int         n_bad = 0, n_helper = 0;
    bool        ready = false;
    const int   n = (int)(sizeof attempts / sizeof *attempts);

    for (int i = 0; i < n; i++) {
        const attempt  *a = &attempts[i];
        ds4_tool_result result = { 0 };
        if (!ready) {
            escape_make(without);
            agent_put(escape_dir.state, "canary", "alive");
            agent_hash(escape_dir.outside, before);
            agent_hash(escape_dir.root, root_before);
        }
        escape_run(a->tool, a->arguments, a->number, &result);
        agent_hash(escape_dir.outside, after);
        agent_hash(escape_dir.root, root_after);
        const char *text = result.text.data, *bad = NULL;
        if (strcmp(before, after) != 0)                 bad = "the outside changed";
        else if (!agent_is(escape_dir.state, "canary", "alive")) bad = "the state folder changed";
        else if (!escape_bystander_lives())
            bad = "another process was signalled";
        else if (strstr(text, "KEEP-OUT-7391"))         bad = "the outside was read";
        else if (escape_anybody_came())
            bad = "somebody came by a socket";
        else if (strstr(a->arguments, "%H ") && a->number != 3 && !strstr(text, "[Exit status 1 "))
            bad = "the call was possible, or the helper did not run";
        n_helper += strstr(text, "[Exit status 1 ") != NULL && strstr(a->arguments, "%H") != NULL;
        if (bad) {
            print_message("# %s: %s\n# %s\n", a->name, bad, text);
            n_bad++;
        }
        ds4_tool_result_clear(&result);
        ready = !bad && strcmp(root_before, root_after) == 0;
        if (!ready) escape_leave();
    }
    if (ready) escape_leave();
    print_message("# %d attempts, %d of them system calls, %d got out\n", n, n_helper, n_bad);
    assert_int_equal(n_bad, 0);
}

static void test_with_bwrap(void **state)
{
    (void)state;
#ifdef __linux__
    /* A missing program is installed by tools/setup.sh; the rest is up to the kernel. */
    assert_int_equal(0, access("/usr/bin/bwrap", X_OK));
#endif
    if (escape_kind(DS4_SANDBOX_WITHOUT_LANDLOCK) != DS4_SANDBOX_BWRAP) {
        print_message("# bwrap may not make namespaces here, as in a chroot or a container\n");
        skip();
    }
    try_all(DS4_SANDBOX_WITHOUT_LANDLOCK);
}

static void test_with_landlock(void **state)
{
    (void)state;
    if (escape_kind(DS4_SANDBOX_WITHOUT_BWRAP) != DS4_SANDBOX_LANDLOCK) {
        print_message("# the kernel has no Landlock\n");
        skip();
    }
    try_all(DS4_SANDBOX_WITHOUT_BWRAP);
}

static void test_without_a_sandbox(void **state)
{
    (void)state;
    assert_int_equal(escape_kind(7), DS4_SANDBOX_NONE);
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        ds4_tool_result result = { 0 };
        char            before[65], after[65];
        /* All commands are asked and denied: some are enough. */
        if (strcmp(attempts[i].tool, "bash") == 0 && i % 8 != 0) continue;
        escape_make(7);
        agent_hash(escape_dir.outside, before);
        escape_run(attempts[i].tool, attempts[i].arguments, attempts[i].number, &result);
        agent_hash(escape_dir.outside, after);
        assert_string_equal(before, after);
        if (strcmp(attempts[i].tool, "bash") == 0) assert_true(result.denied);
        ds4_tool_result_clear(&result);
        escape_leave();
    }
}

/* Neither Landlock nor namespaces for bwrap are there: what is left is the refusal without a sandbox. */
static void test_this_system_confines_commands(void **state)
{
    (void)state;
    print_message("# nothing here confines a command: the kernel has no Landlock, and bwrap may not make "
                  "namespaces\n");
    skip();
}

static void test_nothing_outlives_its_command(void **state)
{
    (void)state;
    for (unsigned without = 0; without < 2; without++) {
        escape_make(without);
        escape_bash("(setsid sh -c 'sleep 1; echo x > late' >/dev/null 2>&1 &); (env -i setsid sh -c 'sleep "
                    "1; echo x > late2' "
             ">/dev/null 2>&1 &); sh -c 'sleep 1; echo x > late3' & echo ok");
        poll(NULL, 0, 1500);
        assert_false(agent_has(escape_dir.root, "late"));
        assert_false(agent_has(escape_dir.root, "late2"));
        assert_false(agent_has(escape_dir.root, "late3"));
        escape_leave();
    }
}

static void test_going_back_does_not_follow_links(void **state)
{
    (void)state;
    uint64_t mark = 0;
    char     before[65], after[65];

    escape_make(0);
    agent_hash(escape_dir.outside, before);
    assert_int_equal(ds4_tools_mark(escape_tools, &mark, NULL), DS4_OK);
    escape_bash("echo changed > sub/b.txt; mkdir folder; echo x > folder/file");
    escape_bash("rm -rf sub folder; ln -s ../outside sub; ln -s ../outside/folder folder");
    ds4_str told = { 0 };
    (void)!ds4_tools_restore(escape_tools, mark, &told, NULL);
    agent_hash(escape_dir.outside, after);
    assert_string_equal(before, after);
    assert_true(agent_is(escape_dir.root, "sub/b.txt", "inside\n"));
    assert_false(agent_has(escape_dir.root, "folder"));
    ds4_str_clear(&told);
    escape_leave();
}

static void test_signals_reach_the_own_processes(void **state)
{
    (void)state;
    for (unsigned without = 0; without < 2; without++) {
        ds4_tool_result result = { 0 };
        escape_make(without);
        escape_run("bash", "sleep 50 & kill $!; wait $!; echo first $?; sh -c 'kill -9 $$'; echo second $?; "
                   "timeout 1 sleep 50; echo third $?; sh -c 'trap \"echo fourth\" TERM; kill -TERM $$; "
                   "true'", 0,
                   &result);
        static const char *const said[] = { "first 143", "second 137", "third 124", "fourth" };
        for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
            if (!strstr(result.text.data, said[i]))
                fail_msg("'%s' is missing: %s", said[i], result.text.data);
        }
        ds4_tool_result_clear(&result);
        escape_leave();
    }
}

static void test_the_environment_is_left_behind(void **state)
{
    (void)state;
    setenv("GIT_DIR", "/nowhere", 1);
    setenv("MY_TOKEN", "token-4711", 1);
    setenv("BASH_ENV", "/nowhere", 1);
    setenv("SSH_AUTH_SOCK", "/nowhere", 1);
    for (unsigned without = 0; without < 2; without++) {
        unsetenv("GIT_DIR");
        escape_make(without);
        setenv("GIT_DIR", "/nowhere", 1);
        ds4_tool_result result = { 0 };
        escape_run("bash", "env", 0, &result);
        static const char *const gone[] = { "GIT_DIR", "token-4711", "BASH_ENV", "SSH_AUTH_SOCK",
                                            "LD_PRELOAD" };
        for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
            assert_null(strstr(result.text.data, gone[i]));
        assert_non_null(strstr(result.text.data, "PATH="));
        ds4_tool_result_clear(&result);
        escape_leave();
    }
    unsetenv("GIT_DIR");
    unsetenv("MY_TOKEN");
}

int main(void)
{
    const struct CMUnitTest confined[] = {
        cmocka_unit_test(test_with_landlock), cmocka_unit_test(test_with_bwrap),
        cmocka_unit_test(test_without_a_sandbox), cmocka_unit_test(test_nothing_outlives_its_command),
        cmocka_unit_test(test_going_back_does_not_follow_links),
        cmocka_unit_test(test_signals_reach_the_own_processes),
        cmocka_unit_test(test_the_environment_is_left_behind),
    };
    const struct CMUnitTest unconfined[] = {
        cmocka_unit_test(test_this_system_confines_commands), cmocka_unit_test(test_without_a_sandbox),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return escape_kind(0) != DS4_SANDBOX_NONE ? cmocka_run_group_tests(confined, NULL, NULL)
                                   : cmocka_run_group_tests(unconfined, NULL, NULL);
}
