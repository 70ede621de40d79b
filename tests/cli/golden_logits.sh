#!/bin/sh
# golden_logits.sh - the logits of the golden models agree with those of an independent
# implementation, and do not depend on how the work is cut or on how many threads do it.
. tests/cli/tap.inc

probes=0,1,3,4,7,8,15,16,127,128,255,256

# compare NAME ARGUMENTS OF ds4-eval diff...
compare() {
    name=$1
    shift
    run "$ds4_eval" diff "$@"
    report $rc "$name: $(cat "$box/stdout" "$box/stderr")"
}

# check CASE FOLDER VOCABULARY STREAM_WIDTH LAST_PROBE
check() {
    file=$2/$1
    logits="$ds4_eval logits -m $file.gguf --tokens $file.tokens.i32"
    run $logits --out "$box/exact.f32" --exact --streams "$box/streams.f32" --probe $probes,$5
    is "$1: exact logits are written" 0 $rc
    compare "$1: exact" "$box/exact.f32" "$file.exact.f32" --cols $3 --max 1e-4
    compare "$1: streams" "$box/streams.f32" "$file.streams.f32" --cols $4 --max 1e-4
    run $logits --out "$box/rounded.f32"
    is "$1: rounded logits are written" 0 $rc
    compare "$1: rounded" "$box/rounded.f32" "$file.rounded.f32" --cols $3 --median 2e-3 --within 0.97
    for how in "--chunk 1" "--chunk 7" "--chunk 128" "--threads 1" "--threads 2" "--chunk 7 --threads 2"; do
        run $logits --out "$box/other.f32" $how
        cmp -s "$box/rounded.f32" "$box/other.f32"
        report $? "$1: the same bytes with $how"
    done
}

check flashlike tests/golden 384 512 519
# `make test-reference` names the folder of golden models that are too large for the project.
[ -z "${DS4_REFERENCE:-}" ] || check prolike "$DS4_REFERENCE" 320 768 399

run "$ds4_eval" diff tests/golden/flashlike.exact.f32 tests/golden/flashlike.rounded.f32 --cols 384 --max 1e-4
is "two different files differ" 1 $rc
run "$ds4_eval" diff tests/golden/flashlike.exact.f32 tests/golden/flashlike.exact.f32 --cols 385
is "rows that do not divide the file are refused" 1 $rc
run "$ds4_eval" logits -m $model --tokens tests/golden/flashlike.json --out "$box/x.f32"
is "what is no list of tokens is refused" 1 $rc
finish
