#!/bin/sh
# bench.sh - ds4-bench on a tiny model: its command line, its files, and the comparison.
set -u
out=${OUT:-build}
bench=$out/ds4-bench
model=tests/golden/flashlike.gguf
box=$out/cli_bench
n=0 failed=0

check() {                               # check NAME CODE WORDS, after run
    n=$((n + 1))
    if [ "$rc" -eq "$2" ] && printf '%s\n' "$text" | grep -qF -- "$3"; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        printf '# exit %s\n' "$rc"
        printf '%s\n' "$text" | sed 's/^/# /'
        failed=1
    fi
}

run() { text=$("$bench" "$@" 2>&1 </dev/null); rc=$?; }

rm -rf "$box" && mkdir -p "$box"

run --help;                     check "help" 0 "--step-mul F"
run --version;                  check "version" 0 "ds4-bench 0."
run --frob;                     check "unknown option" 2 "unknown option --frob"
run x;                          check "no arguments" 2 "unexpected argument x"
run --batch 1,,2;               check "broken list" 2 "invalid value for --batch: 1,,2"
run --batch 1,2,;               check "list that ends with a comma" 2 "invalid value for --batch"
run --batch 0;                  check "no sessions" 2 "invalid value for --batch: 0"
run --ctx-start 9 --ctx-max 8;  check "ends before it starts" 2 "--ctx-start 9 is more than --ctx-max 8"
run --ctx-max 4096 --ctx-alloc 4096;    check "no room to decode" 2 "--ctx-alloc 4096 is less"
run --step-mul 0.5;             check "shrinking steps" 2 "invalid value for --step-mul: 0.5"
run -m "$box/none";             check "no such model" 2 "none"

run -m "$model" -t 2 --speculate-cost --ctx-start 32 --gen-tokens 3
check "what rows cost" 0 "32,16,"
run --speculate-cost --gen-tokens 0;    check "no steps" 2 "--speculate-cost needs steps"

run --speculate auto;           check "no prompt" 2 "--speculate needs --prompt-file"
run -m "$model" -t 2 --speculate auto --prompt-file LICENSE --ctx-max 3000 --gen-tokens 40 --repeat 2
check "pairs" 0 "tokens,plain_tps,tps,ratio,work_ratio,drafted,accepted"

small="-m $model -t 2 --ctx-start 32 --ctx-max 100 --step-incr 32 --gen-tokens 4"
# shellcheck disable=SC2086
run $small --batch 1,3 --repeat 2 --warmup --csv "$box/a.csv" --json "$box/a.json" --plot "$box/a.svg"
check "a small run" 0 "2 threads read memory at"
text=$(cat "$box/a.csv");       rc=$?
columns=ctx_tokens,prefill_tokens,prefill_tps,gen_tokens,gen_tps,kvcache_bytes,ttft_ms,gbps
columns=$columns,bandwidth_share,batch,prefill_tps_min,gen_tps_min,probe_gbps
check "columns" 0 "$columns"
text=$(cut -d, -f1,2,4,10 "$box/a.csv" | tr '\n' ' ')
check "contexts and batches" 0 \
    "32,32,4,1 32,32,4,3 64,32,4,1 64,32,4,3 96,32,4,1 96,32,4,3 100,4,4,1 100,4,4,3 "
text=$(awk -F, 'NR > 1 && !($3 > 0 && $5 > 0 && $6 > 0 && $7 > 0 && $8 > 0 && $9 > 0 && $13 > 0)' "$box/a.csv"
       echo end)
[ "$text" = end ] || rc=1;      check "every value is more than zero" 0 "end"
# As far as the digits of the three numbers tell.
text=$(awk -F, 'NR > 1 { off = $9 - $8 / $13; far = 0.00051 + 0.005 * (1 + $9) / $13
                         if (off > far || off < -far) print }' "$box/a.csv"; echo end)
[ "$text" = end ] || rc=1;      check "the share is of the memory's speed beside the decoding" 0 "end"
text=$(cat "$box/a.svg");       check "picture" 0 "</svg>"
text=$(cat "$box/a.json");      check "JSON" 0 '"bandwidth_share"'
text=$(grep -c '"probe_gbps"' "$box/a.json");   check "the memory's speed for each row and for all" 0 9

# shellcheck disable=SC2086
run $small --ops --json "$box/o.json";  check "operations of decoding" 0 "decode: 16 tokens"
check "operations of the prefill" 0 "prefill: 100 tokens"
for op in ffn.router experts.down project.encode attn.attend head.logits outside; do
    check "the time of $op" 0 "  $op "
done
sum=$(printf '%s\n' "$text" | awk '/^decode/ { on = 1 } on && $6 == "%" { sum += $5 }
    END { print (sum > 97 && sum < 103 ? "whole" : sum) }')
text=$sum;                      check "shares of decoding make up the whole" 0 "whole"
text=$(cat "$box/o.json");      check "operations as JSON" 0 '"weight_bytes"'
# shellcheck disable=SC2086
run $small --step-mul 2;        check "growing steps, CSV on standard output" 0 "100,36,"
# shellcheck disable=SC2086
run $small --batch 1,3 --compare "$box/a.json" --max-loss 100
check "no loss is too large" 0 "context 32, batch 3: decode"
sed 's/"gen_tps": [0-9.]*/"gen_tps": 1e12/' "$box/a.json" >"$box/fast.json"
# shellcheck disable=SC2086
run $small --compare "$box/fast.json";  check "slower than before" 1 "too slow"
echo '{"rows": [{"ctx_tokens": 7}]}' >"$box/bad.json"
# shellcheck disable=SC2086
run $small --compare "$box/bad.json";   check "results that are none" 1 "row 1 has no usable"
echo '{"rows": []}' >"$box/bad.json"
# shellcheck disable=SC2086
run $small --compare "$box/bad.json";   check "nothing in common" 1 "no context and batch size in common"
echo '{' >"$box/bad.json"
# shellcheck disable=SC2086
run $small --compare "$box/bad.json";   check "broken JSON" 1 "bad.json: line"
echo 'short' >"$box/p.txt"
# shellcheck disable=SC2086
run $small --prompt-file "$box/p.txt";  check "a text that is too short" 1 "--ctx-max asks for 100"
i=0
while [ $i -lt 60 ]; do echo "line $i of a longer text"; i=$((i + 1)); done >"$box/p.txt"
# shellcheck disable=SC2086
run $small --prompt-file "$box/p.txt";  check "a text" 0 "96,32,"

# A conversation is as long as its text and what the protocol puts around it, and the system
# text is in front: other logits.
[ -r models/ds4-mini.gguf ] && model=models/ds4-mini.gguf
small="-m $model -t 2 --ctx-start 32 --ctx-max 100 --step-incr 100 --gen-tokens 0"
for how in raw chat plain; do mkdir -p "$box/$how"; done
# shellcheck disable=SC2086
run $small --prompt-file "$box/p.txt" --dump-frontier-logits-dir "$box/raw"
check "prefill only" 0 "100,68,"
check "without decoding the memory is read too" 0 "2 threads read memory at"
# shellcheck disable=SC2086
run $small --chat-prompt-file "$box/p.txt" --dump-frontier-logits-dir "$box/chat" --plot "$box/z.svg"
check "a message" 0 "100,68,"
# shellcheck disable=SC2086
run $small --chat-prompt-file "$box/p.txt" -sys "" --dump-frontier-logits-dir "$box/plain"
check "a message without a system text" 0 "100,68,"
text=$(cd "$box" && ls raw chat plain | grep -c 'ctx-[0-9]*.f32$'); rc=$?
check "logits of every context" 0 6
text=$(cd "$box" && cksum raw/ctx-100.f32 chat/ctx-100.f32 plain/ctx-100.f32 | cut -d' ' -f1 | sort -u | wc -l); rc=$?
check "other prompts, other logits" 0 3
# The likeliest token is what ds4 says first to the same message.
text=$(head -c 60 "$box/p.txt"); printf '%s' "$text" >"$box/q.txt"
text=$("$out/ds4" -m "$model" --nothink --prompt-file "$box/q.txt" --temp 0 -n 1 --json 2>/dev/null | tr ',' '\n' |
       sed -n 's/.*"prompt_tokens": *\([0-9]*\).*/\1/p' | head -n 1)
n_tokens=${text:-0}
run -m "$model" -t 2 --chat-prompt-file "$box/q.txt" --ctx-start "$n_tokens" --ctx-max "$n_tokens" --gen-tokens 0
check "as many tokens as ds4 counts" 0 "$n_tokens,$n_tokens,"
run -m "$model" -t 2 --chat-prompt-file "$box/q.txt" --ctx-start 1 --ctx-max $((n_tokens + 1)) --gen-tokens 0
check "and not one more" 1 "q.txt: $n_tokens tokens, --ctx-max asks for $((n_tokens + 1))"
run --prompt-file x --chat-prompt-file y;   check "one text" 2 "exclude each other"
run -m "$model" -t 2 --chat-prompt-file "$box/none";    check "no such text" 1 "none"

rm -rf "$box"
echo "1..$n"
exit $failed
