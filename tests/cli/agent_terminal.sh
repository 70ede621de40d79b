#!/bin/sh
# agent_terminal.sh - the terminal front in tmux: typed at while it streams, interrupted, queued, resized; the screens
# are compared with those in tests/ui/screens. Prints TAP; needs tmux.
. tests/cli/tap.inc
if ! command -v tmux >/dev/null; then
    report 1 "tmux is here (tools/setup.sh build test installs it)"
    finish
fi
. tests/cli/tmux.inc
trap 'on_tmux kill-server 2>/dev/null; rm -rf "$box"' EXIT
LC_ALL=C.UTF-8
play="$(pwd)/$out/tests/ui/ui_play $(pwd)/tests/ui/story $box/history"
mkdir -p "$box/project/src" && touch "$box/project/src/main.c" "$box/project/src/main.h"
cd_play="cd $box/project && TERM=screen-256color $play"

start 60 50 "$cd_play"
until_ "ready"
screen first
type_ hello; press Enter
until_ "All done."; until_ "ready"
screen answer

# Text that is typed while an answer streams stays in its line; a message waits, comes back, is edited and sent.
press C-l
type_ long; press Enter
until_ "streams:"
type_ "queued tail"
until_ "› queued tail"
shown | grep -q '^writing'; report $? "an answer streams while a line is typed"
press Left Left Left Left Left
type_ "X"
until_ "› queuedX tail"; report $? "the line is edited while an answer streams"
press BSpace
until_ "› queued tail"
press Enter
until_ "waits: queued tail"; report $? "the message waits"
press C-x
gone_ "waits:"; until_ "› queued tail"; report $? "the message comes back"
press C-a; type_ "edited, was "
until_ "› edited, was queued tail"
press Enter
until_ "waits: edited"
press Escape
until_ "was answered"; until_ ready
shown | grep -q '\[stopped: interrupted\]'; report $? "Escape stops the answer"
shown | grep -q 'The message that waited was answered'; report $? "and sends what waited"

# Ctrl-C stops and keeps what waits.
press C-l
type_ long; press Enter; until_ "streams:"
type_ "edited"; press Enter; until_ "waits: edited"
press C-c; until_ "[stopped: interrupted]"; until_ "ready"
shown | grep -q 'waits: edited'; report $? "Ctrl-C stops, and the message still waits"
press C-x; until_ "› edited"
press C-c; gone_ "› edited"; report $? "Ctrl-C empties the line at rest"

# Questions.
press C-l
type_ permission; press Enter; until_ "allow it?"
screen question
sleep 0.5; type_ y; until_ "[once]"; report $? "y allows it"
type_ permission; press Enter; sleep 0.1; until_ "allow it?"
press Escape; until_ "[denied]"; until_ "ready"; report $? "Escape denies it"

# Completion and history.
press C-l
type_ "look at sr"; press Tab; until_ "look at src/"
press Tab Tab; until_ "look at src/main."; until_ "main.c  main.h"
screen completion
press C-u; type_ "/hi"; press Tab; until_ "› /history"
press C-u Up; until_ "› permission"; press Up; until_ "› edited"; report $? "earlier messages come back"
press C-c; gone_ "› edited"
type_ "lo"; press C-r; until_ "› long"; report $? "Ctrl-R finds one"
press C-c; gone_ "› long"

# A window that changes its size keeps what was said and shows the line once.
press C-l
type_ wrap; press Enter; until_ "a wide one."; until_ ready
type_ "a line that is typed and wider than forty columns are"
on_tmux resize-window -t t -x 40 -y 20; until_ "ready"; sleep 0.3
# Which of the older rows are left after a resize is tmux's matter.
below='/^A line/,$!d'
screen narrow "$below"
on_tmux resize-window -t t -x 100 -y 30; sleep 0.3
screen wide "$below"
press C-u; type_ "日本語 é x"; press Left Left BSpace; until_ "日本語  x"
screen wide_characters "$below"
press C-c; gone_ "日本語"
press C-d; until_ bye; report $? "Ctrl-D ends the program"
type_ "echoed again"; until_ "echoed again"; report $? "the terminal is as it was"

# Without colours, and for a locale without UTF-8.
start 60 20 "cd $box/project && NO_COLOR=1 LC_ALL=C TERM=screen $play"
until_ ready; type_ permission; press Enter; until_ "allow it?"; sleep 0.5; type_ n; until_ "Asked."; until_ ready
screen plain
shown -e | grep -q '\[3[0-8]m\|\[9[0-9]m'; [ $? -eq 1 ]; report $? "NO_COLOR leaves colours out"
finish
