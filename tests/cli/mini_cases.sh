#!/bin/sh
# mini_cases.sh - ds4-eval mini: reading, selecting and grading cases. The weights of the model
# are noise: what can be expected of it is that it calls no tool and says no given word.
. tests/cli/tap.inc

cat >"$box/cases.jsonl" <<'END'
{"id":"a-1","kind":"a","thinking":false,"max_tokens":2,"messages":[{"role":"user","content":"Hi"}],"expect":{"contains":["zebra"]}}
{"id":"a-2","kind":"a","thinking":true,"max_tokens":2,"messages":[{"role":"user","content":"Hi"}],"expect":{"contains":["zebra"]}}
{"id":"b-1","kind":"b","thinking":false,"max_tokens":2,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"1","content":"ok"}],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"expect":{"calls":[{"name":"f","arguments":{}}]}}
{"id":"r-1","kind":"r","thinking":false,"max_tokens":2,"messages":[{"role":"user","content":"Which?"}],"context":{"tokens":700,"depth":0.5,"offset":90,"fact":"The key is 7."},"expect":{"any":["7"]}}
END
printf 'First paragraph of the text.\n\nThe second one.\n\n\nAnd a third one, which is the last.\n' >"$box/filler.txt"
mini="$ds4_eval mini -m $model --cases $box/cases.jsonl --filler $box/filler.txt"

run $mini --json "$box/out.json"
is "cases are answered" 0 $rc
is "the table counts kinds" "a 2|b 1|r 1|all 4|" "$(awk 'NR > 1 { printf "%s %s|", $1, $3 }' "$box/stdout")"
has "answers are written" "$box/out.json" '{"id": "b-1", "kind": "b", "passed": false'
has "with what was not kept" "$box/out.json" '"failed": "ended by length"'
n=$(grep -F '"id": "r-1"' "$box/out.json" | sed 's/.*"prompt_tokens": \([0-9]*\).*/\1/')
[ "$n" -gt 600 ] && [ "$n" -lt 710 ]
report $? "the long text has the length that was asked for ($n of 700 tokens)"
run $mini --kind a --limit 1
is "--kind and --limit select" "a 1|all 1|" "$(awk 'NR > 1 { printf "%s %s|", $1, $3 }' "$box/stdout")"

refused() {                             # refused NAME LINE MESSAGE
    printf '%s\n' "$2" >"$box/bad.jsonl"
    run "$ds4_eval" mini -m "$model" --cases "$box/bad.jsonl" --filler "$box/filler.txt"
    is "$1 fails" 1 $rc
    has "$1 is explained" "$box/stderr" "$3"
}
refused "broken JSON" '{"id":' "line 1:"
refused "a missing member" '{"id":"x","kind":"a"}' 'member "max_tokens"'
refused "a bad role" \
    '{"id":"x","kind":"a","max_tokens":1,"thinking":true,"messages":[{"role":"king"}],"expect":{"any":[]}}' "king"
run "$ds4_eval" mini -m "$model" --cases "$box/none.jsonl"
is "a missing case file fails" 1 $rc
finish
