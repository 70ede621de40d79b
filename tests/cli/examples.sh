#!/bin/sh
# examples.sh - the example programs answer, and as ds4 itself does.
. tests/cli/tap.inc
mini=models/ds4-mini.gguf
ask="What is 2 + 3?"
who="Who are you?"

answer_of() {                           # answer_of QUESTION [OPTIONS]: what ds4 says
    question=$1
    shift
    "$ds4" -m "$mini" --nothink --temp 0 -p "$question" "$@" 2>/dev/null
}

run "$out/examples/one_shot" "$mini" "$ask"
is "one_shot succeeds" 0 $rc
is "and says what ds4 says" "$(answer_of "$ask")" "$(cat "$box/stdout")"
run "$out/examples/one_shot" "$box/none.gguf" "$ask"
is "a missing model fails" 1 $rc
has "and is named" "$box/stderr" "none.gguf"
run "$out/examples/one_shot"
is "a wrong command line ends with 2" 2 $rc

run "$out/examples/streaming" "$mini" "$who" 7
is "streaming succeeds" 0 $rc
cp "$box/stdout" "$box/first"
run "$out/examples/streaming" "$mini" "$who" 7
cmp -s "$box/stdout" "$box/first"
report $? "the same seed gives the same answer"

run "$out/examples/two_sessions" "$mini" "$ask" "$who"
is "two_sessions succeeds" 0 $rc
is "the first says what it says alone" "1: $(answer_of "$ask" --system '')" "$(head -n 1 "$box/stdout")"
is "the second too" "2: $(answer_of "$who" --system '')" "$(sed -n 2p "$box/stdout")"

run "$out/examples/save_restore" "$mini" "You are a helpful assistant" "$who" "$ask" "$who"
is "save_restore succeeds" 0 $rc
is "each question is as if asked first" "$(answer_of "$who")
$(answer_of "$ask")
$(answer_of "$who")" "$(grep -v '^  ' "$box/stdout")"
is "the beginning is read once" 3 "$(grep -cE '^  [1-9][0-9]* tokens known, [1-9][0-9]* read$' "$box/stdout")"
finish
