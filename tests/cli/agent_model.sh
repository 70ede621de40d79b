#!/bin/sh
# agent_model.sh - tasks that the bundled model can do by itself, with the agent's own instructions and tools: it
# chooses the tool and writes its arguments. Instruction sets round differently, so some may fail: most must not.
. tests/cli/tap.inc
. tests/cli/agent.inc
agent=$out/ds4-agent

printf 'alpha\nbeta gamma\ndelta\n' >"$project/words.txt"
mkdir "$project/src"
printf 'int main(void) { return 0; }\n' >"$project/src/main.c"
n_tasks=0 n_done=0

# try TASK CHECK: CHECK is a command in the project, with the calls in ../calls and the answer in ../answer.
try() {
    n_tasks=$((n_tasks + 1))
    timeout 100 "$agent" -m "$mini" --sessions "$sessions" -C "$project" --no-notes -t 2 --temp 0 --max-answers 6 \
        -p "$1" >"$box/answer" 2>"$box/calls" </dev/null
    if (cd "$project" && sh -c "$2") >/dev/null 2>&1; then
        n_done=$((n_done + 1))
        echo "# done: $1"
    else
        echo "# not done: $1"
        grep 'call\|failed' "$box/calls" | head -n 3 | sed 's/^/#     /'
    fi
}

try "Run the command ls" 'grep -q "call bash.*\"ls\"" ../calls && grep -q words ../answer'
try "Execute \`wc -l words.txt\` in the shell." 'grep -q "call bash.*wc -l words.txt" ../calls && grep -q 3 ../answer'
try "Please read the file src/main.c." 'grep -q "call read.*src/main.c" ../calls && grep -q "int main" ../answer'
try 'Write "hello world" to greeting.txt.' '[ "$(cat greeting.txt)" = "hello world" ]'
try 'Create a file note.txt with the content "buy milk".' '[ "$(cat note.txt)" = "buy milk" ]'
try 'Find "gamma" in words.txt.' 'grep -q "call search.*gamma" ../calls && grep -q "beta gamma" ../answer'
try "List the files in src." 'grep -q "call list.*src" ../calls && grep -q main.c ../answer'
try "Which files are in src?" 'grep -q "call list.*src" ../calls && grep -q main.c ../answer'
try "Run this in the terminal: echo done >done.txt" '[ "$(cat done.txt)" = done ]'
try "Run this in the terminal: cp words.txt copy.txt" 'cmp words.txt copy.txt'
echo "# $n_done of $n_tasks tasks were done by the model"
report $((n_done * 10 < n_tasks * 7)) "the bundled model does most of the tasks within its abilities"
is "files that no task names are as they were" "int main(void) { return 0; }" "$(cat "$project/src/main.c")"
finish
