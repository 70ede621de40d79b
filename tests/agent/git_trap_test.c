/* git_trap_test.c - what a command leaves in a repository: the user's git runs none of it later. */
#include "support/escape_place.h"
#include "testing.h"

/* Commands leave traps for git; the user's git, later and unconfined, must run none of them. */
static void git_traps(unsigned without)
{
    static const char *const traps[] = {
        "printf '#!/bin/sh\\necho x > %O/made\\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit",
        "mkdir -p .git/hooks; ln -s ../../trap .git/hooks/post-index-change; ln -s ../../trap "
        ".git/hooks/pre-commit",
        "git config core.fsmonitor 'echo x > %O/made; true'", "git config core.pager 'echo x > %O/made'",
        "git config alias.status '!echo x > %O/made'", "git config core.hooksPath trapdir",
        "git config filter.t.clean 'echo x > %O/made; cat'; echo '*.txt filter=t' > .gitattributes; touch "
        "a.txt",
        "git config diff.external 'echo x > %O/made'", "git config include.path ../evil; "
        "printf '[core]\\nfsmonitor = echo x > %O/made\\n' > evil",
        "mv .git real; cp -r real .git; printf '[core]\\n\\tfsmonitor = echo x > %O/made\\n' >> .git/config",
        "cp -r .git evilgit; printf '[core]\\n\\tfsmonitor = echo x > %O/made\\n' >> evilgit/config; mv "
        ".git .git.old; "
        "echo 'gitdir: evilgit' > .git",
        "printf '[core]\\n\\tfsmonitor = \"echo x > %O/made; true\"\\n' > .git/config.worktree; "
        "git config extensions.worktreeConfig true",
        "echo '*.txt filter=t' > .git/info/attributes; git config filter.t.clean 'echo x > %O/made; cat'",
        "git init -q nested; cd nested; echo x > f; git config core.fsmonitor 'echo x > %O/made; true'",
        "git init -q --bare bare; printf '[core]\\n\\tbare = false\\n\\tworktree = ..\\n\\tfsmonitor = "
        "\"echo x > %O/made; true\"\\n' > bare/config",
        "printf '[user]\\n\\tname = x\\n[core]\\n\\tfsmonitor = echo x > %O/made\\n' > c; cp c .git/config",
        "printf '\\tname = a\\\\\\n[core]\\n\\tsshCommand = echo x > %O/made\\n\\teditor = echo x > "
        "%O/made\\n' >> .git/config",
        "echo evil > .gitignore; mkdir evil; cd evil; git init -q .; git config core.fsmonitor 'echo x > "
        "%O/made; true'",
    };
    int n_bad = 0;

    for (size_t i = 0; i < sizeof traps / sizeof *traps; i++) {
        char command[2000];
        escape_make(without);
        escape_bash("mkdir -p trapdir; printf '#!/bin/sh\\necho x > %O/made\\n' > trap; chmod +x trap; cp "
                    "trap trapdir/pre-commit");
        escape_bash(traps[i]);
        snprintf(command, sizeof command,
                 "cd '%s' && for d in . nested bare evil; do (cd $d 2>/dev/null || exit 0; git status; git "
                 "diff; git add -A; "
                 "git commit -m second; GIT_EDITOR=true git log -1) </dev/null >/dev/null 2>&1; done; true",
                     escape_dir.root);
        assert_int_equal(system(command), 0);
        if (agent_has(escape_dir.outside, "made")) {
            print_message("# %s\n", traps[i]);
            n_bad++;
        }
        escape_leave();
    }
    print_message("# %zu traps for git, %d worked\n", sizeof traps / sizeof *traps, n_bad);
    assert_int_equal(n_bad, 0);
}

static void test_git_runs_nothing_of_it_later(void **state)
{
    (void)state;
    git_traps(DS4_SANDBOX_WITHOUT_BWRAP);
    git_traps(0);
}

static void test_git_still_works(void **state)
{
    (void)state;
    for (unsigned without = 0; without < 2; without++) {
        escape_make(without);
        escape_bash("git checkout -q -b other && echo more >> a.txt && git commit -qam second && git tag v1 "
                    "&& git branch -m third");
        escape_bash("git init -q fresh && cd fresh && git config user.email a@b && git config user.name n "
                    "&& echo x > f && "
             "git add f && git commit -qm one");
        escape_shell("cd '%s' && test \"$(git log --format=%%s -1 third)\" = second && git rev-parse -q "
                     "--verify v1 >/dev/null && "
              "cd fresh && test \"$(git log --format=%%s)\" = one", escape_dir.root);
        escape_leave();
    }
}

static void test_without_a_sandbox_nothing_is_run(void **state)
{
    ds4_tool_result result = { 0 };

    (void)state;
    escape_make(7);
    escape_run("bash", "mkdir -p .git/hooks; echo 'echo x' > .git/hooks/pre-commit", 0, &result);
    assert_true(result.denied);
    assert_false(agent_has(escape_dir.root, ".git/hooks/pre-commit"));
    ds4_tool_result_clear(&result);
    escape_leave();
}

int main(void)
{
    const struct CMUnitTest confined[] = {
        cmocka_unit_test(test_git_runs_nothing_of_it_later), cmocka_unit_test(test_git_still_works),
    };
    const struct CMUnitTest unconfined[] = { cmocka_unit_test(test_without_a_sandbox_nothing_is_run) };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return escape_kind(0) != DS4_SANDBOX_NONE ? cmocka_run_group_tests(confined, NULL, NULL)
                                   : cmocka_run_group_tests(unconfined, NULL, NULL);
}
