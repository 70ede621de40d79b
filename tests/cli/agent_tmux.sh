#!/bin/sh
# agent_tmux.sh - ds4-agent on a terminal of tmux, with a model whose words are prescribed: it is typed at while
# it streams, interrupted, given messages that wait, asked for permission, undone, switched and resized. Screens
# are compared with tests/ui/screens. Prints TAP; needs tmux.
. tests/cli/tap.inc
if ! command -v tmux >/dev/null; then
    report 1 "tmux is here (tools/setup.sh build test installs it)"
    finish
fi
. tests/cli/agent.inc
. tests/cli/tmux.inc
trap 'on_tmux kill-server 2>/dev/null; rm -rf "$box"' EXIT
LC_ALL=C.UTF-8

say -i "make a file" "I write.</think>I write **it** down.$(call write path notes.txt content 'one\ntwo\n')"
say -i "Created" "Fine.</think>It is *there*: \`notes.txt\`."
say -i "change it" "So.</think>$(call edit path notes.txt old 'two' new 'zwei')"
say -i "Edited" "Fine.</think>Changed."
say -i "count" "Long.</think>$(i=0; while [ $i -lt 6000 ]; do printf 'word %s ' $i; i=$((i + 1)); done)"
say -i "second message" "Short.</think>The second message is answered."
say -i "user did not allow" "No.</think>Not allowed, then."
say "Hm.</think>I do not know."

run_agent="cd $project && HOME=$box TERM=screen-256color $(cd "$out" && pwd)/ds4-agent-scripted -m $(pwd)/$mini \
--sessions $sessions --script $box/script --no-notes -t 1 -c 32768"
# Parts that differ from run to run: ids, folders, speeds, how commands are confined.
same='s/session [0-9a-f]\{8,\}/session ID/; s|in /.*project|in PROJECT|; s/ · in [0-9.]* t.s//; s/ · out.*//
s/context [0-9.k]*\/[0-9.k]* ([0-9]*%)/context N/; s/ · cached [0-9]*%//; s/ · cach…//
s/^ds4-agent  .*/ds4-agent/; /^ds4-agent/,/^session ID/{/^ds4-agent/!{/^session ID/!d;};}'

start 72 30 "$run_agent 2>$box/stderr"
until_ "ready"
type_ "make a file"; press Enter
until_ "It is there"; until_ ready
screen agent_file "$same"
is "the file is written" "one|two|" "$(tr '\n' '|' <"$project/notes.txt")"

press C-l
type_ count; press Enter
until_ "word 40"
type_ "second mesage"
until_ "› second mesage"; report $? "a line is typed while it streams"
press Enter; until_ "waits: second mesage"; report $? "the message waits"
press C-x; until_ "› second mesage"; report $? "the message comes back"
press Left Left Left; type_ s; press Enter; until_ "waits: second message"
press Escape
until_ "is answered"; until_ ready; report $? "Escape interrupts, and the edited message is answered"
shown -S -200 | grep -q 'stopped: interrupted'; report $? "it says that it was stopped"

press C-l
type_ "change it"; press Enter; until_ "Changed."; until_ ready
screen agent_diff "$same"
type_ "/undo"; press Enter; until_ "taken back"
is "undo gives the file its old content" "one|two|" "$(tr '\n' '|' <"$project/notes.txt")"
press C-l
type_ count; press Enter; until_ "word 40"; press C-c; until_ "interrupted]"; until_ ready; report $? "Ctrl-C stops it"

# Another session and back.
id=$(ls "$sessions" | grep -v kv | head -n 1)
press C-l
type_ /new; press Enter; until_ "ds4-agent"
type_ "second message"; press Enter; until_ "is answered"; until_ ready
type_ "/switch $(printf %.8s "$id")"; press Enter
until_ "› count" && until_ ready; report $? "a session is switched to, and its past is shown"
press C-l
type_ "a line that is typed and longer than forty columns"
on_tmux resize-window -t t -x 40 -y 20; sleep 0.5
below="$same
/^› a line/,\$!d"                      # older rows after a resize are tmux's matter
screen agent_narrow "$below"
on_tmux resize-window -t t -x 90 -y 30; sleep 0.5
screen agent_wide "$below"
press C-u; press C-d; sleep 0.3
type_ "echoed"; until_ echoed; report $? "Ctrl-D ends it and gives the terminal back"
is "nothing was said beside the screen" "" "$(grep -v 'memory:' "$box/stderr" || true)"

# Permissions.
rm -f "$project/notes.txt"
start 72 24 "$run_agent --ask 2>/dev/null"
until_ ready
type_ "make a file"; press Enter; until_ "allow it?"
screen agent_question "$same"
sleep 0.5; type_ n; until_ "Not allowed, then."; until_ ready
[ ! -e "$project/notes.txt" ]; report $? "what is denied is not done"
type_ "make a file"; press Enter; until_ "allow it?"; sleep 0.5; type_ y; until_ "It is there"
[ -e "$project/notes.txt" ]; report $? "what is allowed is done"

# A terminal that knows no escape sequences gets lines.
start 72 24 "export TERM=dumb; $(printf %s "$run_agent" | sed 's/TERM=screen-256color//')"
until_ "memory:"; type_ "second message"; press Enter; until_ "is answered"; report $? "a dumb terminal gets lines"
finish
