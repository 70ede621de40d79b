#!/bin/sh
# streamed_experts.sh - --experts and --expert-cache: the same bytes as with resident
# experts, sizes in words, the line of --stats, and refusals that name the least cache.
. tests/cli/tap.inc

logits="$ds4_eval logits -m $model --tokens tests/golden/flashlike.tokens.i32"
run $logits --out "$box/resident.f32" --experts resident
is "resident logits are written" 0 $rc
for how in "--experts stream" "--experts stream --expert-cache 200K --chunk 5" \
           "--experts stream --expert-cache 1M --chunk 1" "--expert-cache 3M --chunk 64 --threads 1"; do
    run $logits --out "$box/streamed.f32" $how
    cmp -s "$box/resident.f32" "$box/streamed.f32"
    report $? "the same bytes with $how"
    grep -q 'ds4-eval: experts: .* in memory, .* read ahead, .* waited for' "$box/stderr"
    report $? "what the cache did is said with $how"
done

run $logits --out "$box/none.f32" --experts stream --expert-cache 100K
is "a cache too small for one token is refused" 1 $rc
grep -q 'too small for one token: .* needs at least [0-9]* bytes' "$box/stderr"
report $? "with the size that would do"
[ ! -e "$box/none.f32" ]
report $? "and nothing is written"
for bad in 0 -1 12X 1.5.2G "" G; do
    run "$ds4" -m $model --expert-cache "$bad" --plan
    is "--expert-cache '$bad' is refused" 2 $rc
done
run "$ds4" -m $model --experts nowhere --plan
is "--experts nowhere is refused" 2 $rc

run "$ds4" -m $model --experts stream --expert-cache 1M --raw -p hello -n 4 --stats
is "ds4 answers with streamed experts" 0 $rc
grep -q 'ds4: experts: .* GB/s (' "$box/stderr"
report $? "--stats has a line about experts"
run "$ds4" -m $model --experts resident --raw -p hello -n 4 --stats
! grep -q 'ds4: experts:' "$box/stderr"
report $? "and has none when they are resident"
finish
