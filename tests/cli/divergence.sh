#!/bin/sh
# divergence.sh - ds4-eval corpus, kld and report: a file is nothing from itself, and something from a coarser one.
. tests/cli/tap.inc
mini=models/ds4-mini.gguf
value() { sed -n "s/.*[ ]$1=\([0-9.]*\).*/\1/p" "$box/stdout"; }

run "$ds4_eval" corpus --cases models/eval/cases.jsonl --every 60 --out "$box/talk.txt"
is "conversations are written" 0 "$rc"
has "with the model's own marks" "$box/talk.txt" "<｜User｜>"
is "and parted" 9 "$(grep -c '^===== DS4_IMATRIX_PROMPT' "$box/talk.txt")"
printf '{"id": 1}\n' >"$box/bad.jsonl"
run "$ds4_eval" corpus --cases "$box/bad.jsonl" --out "$box/no.txt"
is "a line that is no conversation is refused" 2 "$rc"
has "with its number" "$box/stderr" "line 1:"

run "$ds4_eval" kld -m $mini --text "$box/talk.txt" --special --chunks 5 -c 128 --top 4096 --save "$box/base"
is "predictions are saved" 0 "$rc"
run "$ds4_eval" kld -m $mini --base "$box/base"
is "a model is not far from itself" "0 1.0000" "$rc $(value top1)"
is "not at all" yes "$(value kld | awk '{ print ($1 < 1e-5) ? "yes" : $1 }')"
is "and predicts as well" "$(value base_ppl)" "$(value ppl)"
printf 'ffn_*_exps q2_k\nffn_gate_inp f16\n' >"$box/coarse.txt"
"$out/ds4-quantize" requantize --from $mini --recipe "$box/coarse.txt" --encoder standard --out "$box/coarse.gguf" \
    2>"$box/stderr"
run "$ds4_eval" kld -m "$box/coarse.gguf" --base "$box/base"
is "a coarser file is" yes "$(value kld | awk '{ print ($1 > 0.001) ? "yes" : $1 }')"
whole=$(value kld)
run "$ds4_eval" kld -m $mini --text "$box/talk.txt" --special --chunks 5 -c 128 --top 64 --save "$box/small"
run "$ds4_eval" kld -m "$box/coarse.gguf" --base "$box/small"
is "fewer kept tokens say nearly as much, and not more" yes \
    "$(value kld | awk -v a="$whole" '{ print ($1 <= a + 1e-6 && $1 > 0.8 * a) ? "yes" : $1 " of " a }')"

run "$ds4_eval" report --base "$box/small" --compare "coarse <1>=$box/coarse.gguf" --compare same=$mini \
    --note "A note." --out "$box/r.md"
is "a report" 0 "$rc"
has "has a row for each file" "$box/r.md" "| same | "
has "a note" "$box/r.md" "A note."
has "and pictures" "$box/r.md" "(r-kld.svg)"
has "with names as they are" "$box/r-kld.svg" "coarse &lt;1&gt;"

run "$ds4_eval" kld -m $mini --base $mini
has "a model file is no base" "$box/stderr" "no file of ds4-eval kld --save"
head -c 3000 "$box/small" >"$box/cut"
run "$ds4_eval" kld -m $mini --base "$box/cut"
is "nor is a part of one" 1 "$rc"
run "$ds4_eval" kld -m $mini --base "$box/small" --save "$box/x"
is "saving and comparing at once is wrong" 2 "$rc"
finish
