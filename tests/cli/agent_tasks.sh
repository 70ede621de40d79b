#!/bin/sh
# agent_tasks.sh - small projects in several languages, each with a task and recorded answers of a model: edits
# come out byte for byte, tests are run, and their results reach the model, since an answer is only given to
# what it was recorded for. Those that need programs beyond what building and testing install are run with
# LANGUAGES=all (make test-languages). TASKS="c-sign docs-all" chooses some.
. tests/cli/tap.inc
. tests/cli/agent.inc

usual=" cc c++ make git perl "           # perl is a part of every base system

# in_turn NAME: is it to be run now?
in_turn() {
    [ "${LANGUAGES:-usual}" = usual ] || return 0
    for program in $(sed -n 's/^%needs //p' "tests/agent/tasks/$1.task"); do
        case $usual in *" $program "*) ;; *) return 1 ;; esac
    done
}

one() {                                 # one NAME: leaves why, empty when everything is right
    here=$box/$1 why=
    mkdir "$here"
    awk -v box="$here" -f tests/agent/task.awk "tests/agent/tasks/$1.task"
    for program in $(cat "$here/needs" 2>/dev/null); do
        command -v "$program" >/dev/null || { why="no $program here"; return; }
    done
    cp -R "$here/project" "$here/before"
    cp -R "$here/project" "$here/tried"
    if (cd "$here/tried" && sh ../check) >/dev/null 2>&1; then
        why="the check succeeds before the task"
        return
    fi
    timeout 120 "$agent" -m "$mini" --sessions "$box/sessions" -C "$here/project" --script "$here/script" --no-notes \
        -t 2 -c 8192 --max-answers 12 --json -p "$(cat "$here/task")" >"$here/events" 2>"$here/stderr" </dev/null
    rc=$?
    [ $rc -eq 0 ] || why="exit $rc"
    n_run=$(grep -c '"event": "call_run"' "$here/events")
    [ "$n_run" = "$(cat "$here/calls")" ] || why="$why; $n_run calls and not $(cat "$here/calls")"
    sed -n 's/.*"event": "answer".*"text": "\(.*\)"}$/\1/p' "$here/events" | tr -d '\n' >"$here/said"
    grep -qF -e "$(cat "$here/last" | sed 's/"/\\"/g')" "$here/said" || why="$why; the last answer was not given"
    (cd "$here/expect" && find . -type f) >"$here/list"
    while read -r f; do
        cmp -s "$here/expect/$f" "$here/project/$f" || why="$why; $f is not as expected"
    done <"$here/list"
    # Files that the task does not name are as they were.
    (cd "$here/before" && find . -type f ! -path './.git/*') | while read -r f; do
        [ -e "$here/expect/$f" ] || cmp -s "$here/before/$f" "$here/project/$f" || echo "$f"
    done >"$here/touched"
    [ ! -s "$here/touched" ] || why="$why; touched $(tr '\n' ' ' <"$here/touched")"
    (cd "$here/project" && sh ../check) >/dev/null 2>&1 || why="$why; the check fails"
}

n_others=0
for file in tests/agent/tasks/*.task; do
    name=$(basename "$file" .task)
    case " ${TASKS:-$name} " in *" $name "*) ;; *) continue ;; esac
    in_turn "$name" || { n_others=$((n_others + 1)); continue; }
    one "$name"
    if [ -z "$why" ]; then
        report 0 "$name"
    else
        report 1 "$name"
        echo "# ${why#; }"
        grep -s '"call_end"\|"error"' "$here/events" | tail -n 2 | cut -c1-300 | sed 's/^/# /'
    fi
done
[ $n_others -eq 0 ] || echo "# $n_others tasks in other languages: make test-languages"
finish
