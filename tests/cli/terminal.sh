#!/bin/sh
# terminal.sh - what reaches a terminal: escape sequences only where they are understood, and
# never those of a model file.
. tests/cli/tap.inc
pty=$out/tests/tools/pty
esc=$(printf '\033')
answer="$ds4 -m $model -t 1 -c 16384 --raw -n 4 --temp 0"
awk 'BEGIN { for (i = 0; i < 900; i++) printf "word %d ", i }' >"$box/prompt"

codes() {                               # codes NAME WANTED COMMAND...
    name=$1 wanted=$2
    shift 2
    timeout 60 "$pty" 50 "$@" >"$box/screen" 2>&1
    rc=$?
    found=no
    grep -q "$esc" "$box/screen" && found=yes
    is "$name" "0 $wanted" "$rc $found"
}
codes "a terminal with codes has a line of progress" yes \
    env TERM=xterm $answer --prompt-file "$box/prompt"
has "- that tells how far the prompt is" "$box/screen" "reading the prompt:"
codes "NO_COLOR leaves that line" yes env TERM=xterm NO_COLOR=1 $answer --prompt-file "$box/prompt"
for term in TERM=dumb TERM= -uTERM; do
    codes "no codes with $term" no env $term $answer --prompt-file "$box/prompt"
    codes "none for thinking either with $term" no env $term "$ds4" -t 1 -c 4096 -p 'What is 2 + 3?' --temp 0
done

# ---- texts of a model file -----------------------------------------------------------------------

hostile=$(printf '\033[2J\033]0;owned\007na\nme\302\2332J')
timeout 60 "$out/ds4-quantize" convert --from models/ds4-mini --experts q8 --name "$hostile" --out "$box/$hostile.gguf" \
    >"$box/stdout" 2>"$box/stderr"
is "a model with a hostile name" 0 $?
no_codes() {                            # no_codes NAME FILE: no control byte but newlines
    left=$(tr -d '\n' <"$2" | LC_ALL=C tr -dc '\000-\037\177' | wc -c | tr -d ' ')
    c1=$(LC_ALL=C grep -c "$(printf '\302\233')" "$2")
    is "$1" "0 0" "$left $c1"
}
no_codes "writing it says no codes" "$box/stderr"
run timeout 60 "$ds4" --inspect -m "$box/$hostile.gguf"
is "inspect opens it" 0 "$rc"
no_codes "inspect shows no codes" "$box/stdout"
is "its name takes one line" 1 "$(grep -c '^name  ' "$box/stdout")"
run timeout 60 "$ds4" --plan -m "$box/$hostile.gguf"
no_codes "the plan shows none" "$box/stdout"
no_codes "nor on standard error" "$box/stderr"
run timeout 60 "$out/ds4-bench" -m "$box/$hostile.gguf" -t 1 --ctx-start 32 --ctx-max 32 --gen-tokens 1 --plot "$box/plot.svg"
no_codes "a benchmark's table has none" "$box/stdout"
no_codes "nor its picture" "$box/plot.svg"
printf 'hello\n/quit\n' | timeout 60 "$ds4" -m "$box/$hostile.gguf" -n 1 -t 1 >"$box/stdout" 2>"$box/stderr"
no_codes "a conversation's greeting has none" "$box/stderr"

finish
