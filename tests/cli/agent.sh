#!/bin/sh
# agent.sh - ds4-agent without a terminal: tasks, events, commands, exit codes, sessions.
. tests/cli/tap.inc
. tests/cli/agent.inc

say -i "Created" "I look.</think>Now I look.$(call bash command 'cat a.txt; echo seen-$((40+2))')"
say -i "seen-42" "Fine.</think>The file is there."
say -i "second" "Easy.</think>A second answer."
say -i "for ever" "Long.</think>$(i=0; while [ $i -lt 400 ]; do printf 'word %s ' $i; i=$((i + 1)); done)"
say "I write.</think>Writing.$(call write path a.txt content 'hello\nworld\n')"

ask -p "make a.txt"
is "a task ends with 0" 0 "$rc"
is "answers are on standard output" "Writing.|Now I look.|The file is there.|" "$(tr '\n' '|' <"$box/stdout")"
is "the file is as it was written" "hello|world|" "$(tr '\n' '|' <"$project/a.txt")"
has "calls are on standard error" "$box/stderr" "call write"
has "the first line says how commands are confined" "$box/stderr" "session "

rm "$project/a.txt"
ask --json -p "make a.txt"
is "the same with events" 0 "$rc"
has "a session" "$box/stdout" '{"event": "session", "request": 0, "id": "'
has "a call that runs" "$box/stdout" '"event": "call_run", "request": 1, "call": "call_1_0", "name": "write", "arguments": "{\"path\": \"a.txt\"'
has "its result" "$box/stdout" '"event": "call_end"'
has "output of a command" "$box/stdout" 'seen-42'
is "one end" '{"event": "settled", "request": 1, "stop": "done"}' "$(grep settled "$box/stdout")"
cp "$box/stdout" "$box/events"
run "$out/tests/tools/json_lines" 10 "$box/events"
is "each line is JSON" "0 " "$rc $(cat "$box/stderr")"

rm "$project/a.txt"
printf 'make a.txt' >"$box/lines"
talk -p - <"$box/lines"
is "a task from standard input" 0 "$rc"

# The last session goes on.
printf 'second\n/history 9\n/model\n' >"$box/lines"
talk --continue <"$box/lines"
is "lines are messages and commands" 0 "$rc"
has "a message is answered" "$box/stdout" "A second answer."
has "the past is shown" "$box/stderr" "> make a.txt"
has "a command answers" "$box/stderr" "ds4-mini"

printf '/undo that\n/history 2x\n/history\n/mode ask \n' >"$box/lines"
talk --continue <"$box/lines"
is "words behind a command that takes none fail" 1 "$rc"
has "and are named" "$box/stderr" "/undo takes nothing behind it; nothing was done"
has "half a number is none" "$box/stderr" "/history takes 1 to 200 turns"
has "nothing was taken back" "$box/stderr" "> second"
has "spaces at the end do not matter" "$box/stderr" "The mode is ask."

printf '/undo\n/undo\n/undo\n' >"$box/lines"
talk --continue <"$box/lines"
is "nothing is left to be undone, which fails" 1 "$rc"
has "and is said" "$box/stderr" "there is no message to take back"

printf '/nosuch\n' >"$box/lines"
talk <"$box/lines"
is "a command that is not there fails" 1 "$rc"
has "and is named" "$box/stderr" "there is no command /nosuch"

printf '/list\n' >"$box/lines"
talk <"$box/lines"
is "sessions are listed" 0 "$rc"
id=$(sed -n 's/^ds4-agent: . \([0-9a-f]\{8\}\)  .*make a.txt.*/\1/p' "$box/stderr" | head -n 1)
is "with their ids" 8 "${#id}"
printf '/history\n' >"$box/lines"
talk -r "$(printf %.6s "$id")" <"$box/lines"
is "the beginning of an id opens a session" 0 "$rc"
has "which has its past" "$box/stderr" "> make a.txt"
is "a session without words does not stay" "" "$(find "$sessions" -maxdepth 2 -name journal -size -3)"

ask -r 00000000 -p x
is "a session that is not there: 2" 2 "$rc"
ask --bogus
is "a wrong option: 2" 2 "$rc"
ask -c 100 -p x
is "a context that is too small: 2" 2 "$rc"
ask -n 5 -p "second"
is "an answer that is too long: 3" 3 "$rc"

# Ctrl-C in the middle of an answer: 130, and the session goes on.
timeout 100 "$agent" -m "$mini" --sessions "$sessions" -C "$project" --script "$box/script" --no-notes -t 1 -c 8192 \
    --json -p "for ever" >"$box/stdout" 2>"$box/stderr" &
pid=$!
n=0
while ! grep -q '"answer"' "$box/stdout" 2>/dev/null && [ $n -lt 200 ]; do sleep 0.05; n=$((n + 1)); done
kill -INT "$(ps -o pid= --ppid $pid 2>/dev/null || echo $pid)"
wait $pid
is "an interrupted task: 130" 130 "$?"
has "and says so" "$box/stdout" '"stop": "interrupted"'
printf 'second\n' >"$box/lines"
talk --continue <"$box/lines"
is "the session goes on after it" 0 "$rc"
has "and knows what was said" "$box/stdout" "A second answer."

finish
