#!/bin/sh
# look.sh - looking into a step: --trace of ds4 and ds4-bench, --dump-op of ds4.
. tests/cli/tap.inc
mini=models/ds4-mini.gguf

# One event on each line, in order, none begins before the one before ends; names and times are there.
events_are_good() {
    awk -v least="$2" '
    NR == 1 { if ($0 != "[") bad = "begin"; next }
    /"ph": "M"/ { next }
    $0 == "]" { ended = 1; next }
    {
        if ($0 !~ /^\{"name": "[a-z0-9_.]+", "ph": "X", "pid": 1, "tid": 1, "ts": [0-9.]+, "dur": [0-9.]+, "args": \{"weight_bytes": [0-9]+\}\},?$/)
            bad = "line " NR
        match($0, /"ts": [0-9.]+/); ts = substr($0, RSTART + 6, RLENGTH - 6) + 0
        match($0, /"dur": [0-9.]+/); dur = substr($0, RSTART + 7, RLENGTH - 7) + 0
        if (ts + 0.01 < end) bad = "order at line " NR
        end = ts + dur
        n++
    }
    END { if (bad != "" || !ended || n < least) { print "# " n " events, " bad; exit 1 } }' "$1"
}

ask() { run "$ds4" -m "$mini" -t 2 --temp 0 --nothink -n 4 -p "Hello" "$@"; }

ask
cp "$box/stdout" "$box/plain"
ask --trace "$box/a.json"
is "a traced answer" 0 "$rc"
cmp -s "$box/stdout" "$box/plain"; report $? "is the same answer"
events_are_good "$box/a.json" 300; report $? "the trace has every operation in order"
for name in embed attn.attend experts.gate_up head.logits; do
    has "the trace names $name" "$box/a.json" "\"name\": \"$name\""
done

ask --trace "$box/none/a.json"
is "a trace that cannot be written" 1 "$rc"
has "is told" "$box/stderr" "none/a.json"

run "$out/ds4-bench" -m "$model" -t 2 --ctx-start 32 --ctx-max 32 --gen-tokens 4 --trace "$box/b.json"
is "ds4-bench --trace" 0 "$rc"
events_are_good "$box/b.json" 200; report $? "its trace"
run "$out/ds4-bench" -m "$model" -t 2 --ctx-start 32 --ctx-max 32 --gen-tokens 4 --ops --trace "$box/c.json"
has "--ops beside it" "$box/stderr" "attn.attend"
events_are_good "$box/c.json" 200; report $? "and the trace again"

ask --dump-op list
is "a list of operations" 0 "$rc"
has "has them" "$box/stderr" "attn.attend"
ask --dump-op "ffn.leave:1=$box/x.f32"
is "one operation of one layer" 0 "$rc"
cmp -s "$box/stdout" "$box/plain"; report $? "the answer is the same"
n=$(grep -c '^ffn.leave 1 token' "$box/stderr")
values=$(sed -n 's/^ffn.leave 1 token 0: \([0-9]*\) values.*/\1/p' "$box/stderr")
is "the file has the values of all tokens" $((n * values * 4)) $(($(wc -c <"$box/x.f32")))
shown=$(sed -n 's/^ffn.leave 1 token 0:.*; \([^ ]*\) .*/\1/p' "$box/stderr")
first=$(od -An -tf4 -N4 "$box/x.f32")
awk -v a="$shown" -v b="$first" 'BEGIN { d = a - b; exit !(d < 1e-6 && d > -1e-6 && a != "") }'
report $? "and the first value is the one shown"
ask --dump-op nothing
is "a name that is none" 2 "$rc"
has "is told with those there are" "$box/stderr" "attn.attend"
ask --dump-op attn.attend:99
is "a layer that is none" 2 "$rc"
has "is told with those there are" "$box/stderr" "layer in 0.."
ask --dump-op ":1"
is "no name at all" 2 "$rc"

finish
