#!/bin/sh
# steer.sh - directions are made from two lists of prompts, and the programs are steered by them.
. tests/cli/tap.inc

printf 'be short\nsay it in a word\n\n' >"$box/good"
printf 'tell me everything\r\nwrite a long story' >"$box/bad"
v=$box/v.f32

run "$ds4_eval" steer -m "$model" --good "$box/good" --bad "$box/bad" --out "$v"
is "directions are made" 0 $rc
is "one for each layer" $((7 * 128 * 4)) "$(wc -c <"$v" | tr -d ' ')"
has "and facts beside them" "$v.json" '"good_prompts": 2, "bad_prompts": 2'

# floats FILE: one in each line.
floats() { od -An -v -tf4 -w4 "$1" 2>/dev/null || od -An -v -tf4 "$1" | tr -s ' ' '\n' | grep .; }
run "$ds4_eval" steer -m "$model" --good "$box/bad" --bad "$box/good" --out "$box/w.f32"
floats "$v" >"$box/v"
floats "$box/w.f32" >"$box/w"
is "the lists exchanged give the opposite" "896 0" \
    "$(paste "$box/v" "$box/w" | awk '{ n++; if ($1 + $2 != 0) bad++ } END { print n, bad + 0 }')"
is "each has length 1" 7 "$(awk '{ s += $1 * $1 } NR % 128 == 0 { if (s > 0.999 && s < 1.001) n++; s = 0 }
    END { print n + 0 }' "$box/v")"
run "$ds4_eval" steer -m "$model" --good "$box/good" --bad "$box/bad" --component attn_out --out "$box/a.f32"
is "outputs of attention have others" 1 "$(cmp -s "$v" "$box/a.f32"; echo $?)"
run "$ds4_eval" steer -m "$model" --good "$box/good" --bad "$box/good" --out "$box/none.f32"
is "equal lists have none" 0 "$(floats "$box/none.f32" | awk '$1 != 0 { n++ } END { print n + 0 }')"
: >"$box/empty"
run "$ds4_eval" steer -m "$model" --good "$box/empty" --bad "$box/bad" --out "$box/x.f32"
is "a list without prompts is refused" 1 $rc
has "by name" "$box/stderr" "$box/empty: no prompts"

# answer OPTION...: what is said to one prompt.
answer() { "$ds4" -m "$model" --nothink --temp 0 -n 24 -p 'some words' "$@" 2>"$box/stderr" | cksum; }
plain=$(answer)
is "a factor of 0 changes nothing" "$plain" "$(answer --dir-steering-file "$v" --dir-steering-ffn 0)"
steered=$(answer --dir-steering-file "$v" --dir-steering-ffn 5)
is "a large one changes the answer" 1 "$([ "$steered" = "$plain" ]; echo $?)"
is "in the same way each time" "$steered" "$(answer --dir-steering-file "$v" --dir-steering-ffn 5)"
answer --dir-steering-file "$v" --dir-steering-ffn 5 >/dev/null
has "and the program says so" "$box/stderr" "steered by $v: 5 (experts) and 0 (attention)"
is "negative factors and attention, too" 1 \
    "$([ "$(answer --dir-steering-file "$v" --dir-steering-ffn -4 --dir-steering-attn 3)" = "$plain" ]; echo $?)"

head -c 100 "$v" >"$box/short.f32"
run "$ds4" -m "$model" -p hi --dir-steering-file "$box/short.f32"
is "a cut file is refused" 2 $rc
has "with what was expected" "$box/stderr" "expected 3584: 7 layers of 128 float32"
run "$ds4" -m "$model" -p hi --dir-steering-file "$box/nowhere.f32"
is "a missing one as well" 2 $rc
run "$ds4" -m "$model" -p hi --dir-steering-file "$v" --dir-steering-ffn 101
is "so is a factor out of range" 2 $rc

run "$ds4" -m "$model" -p hi --dir-steering-attn 1
is "a factor without directions, too" 2 $rc

# Live: the second of two equal messages is answered by a steered model.
printf '/steer\nhi\n/steer 6 2\nhi\n/steer x\n/quit\n' | "$ds4" -m "$model" --nothink --temp 0 -n 8 \
    --dir-steering-file "$v" >"$box/stdout" 2>"$box/stderr"
has "/steer shows the factors" "$box/stderr" "steered by 1 (experts) and 0 (attention)"
has "/steer F A changes them" "$box/stderr" "what comes next is steered by 6 (experts) and 2 (attention)"
has "anything else is refused" "$box/stderr" "/steer takes a number"
printf '/steer 1\n/quit\n' | "$ds4" -m "$model" >"$box/stdout" 2>"$box/stderr"
has "without directions there is nothing to steer by" "$box/stderr" "start with --dir-steering-file"

# Rows on disk: found by the same steering alone.
long=$(awk 'BEGIN { for (i = 0; i < 300; i++) printf "%d words ", i }')
found() {                               # found OPTION...: were tokens of the prompt found?
    "$ds4" -m "$model" --nothink --temp 0 -n 4 -c 4096 -p "$long" --kv-disk-dir "$box/kv" \
        --kv-cache-min-tokens 64 --json "$@" 2>"$box/stderr" |
        sed 's/.*"cached_tokens": \([0-9]*\).*/\1/' | awk '{ print ($1 > 0) ? "yes" : "no" }'
}
is "nothing is there at first" no "$(found)"
is "what was read is found" yes "$(found)"
is "not by a steered model" no "$(found --dir-steering-file "$v")"
is "which finds its own" yes "$(found --dir-steering-file "$v")"
is "not with another factor" no "$(found --dir-steering-file "$v" --dir-steering-ffn 0.5)"
is "not with other directions" no "$(found --dir-steering-file "$box/w.f32")"
is "with a factor of 0 it is the plain model" yes "$(found --dir-steering-file "$v" --dir-steering-ffn 0)"
finish
