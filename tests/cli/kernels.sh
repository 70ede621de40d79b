#!/bin/sh
# kernels.sh - tools/kernels.sh on checks that are played: its verdicts, times and comparison.
. tests/cli/tap.inc
root=$(pwd)

# play FOLDER NS RESULT: four checks that print what kcheck would, and their options.
play() {
    mkdir -p "$1/tests/kernels"
    for c in matmul rows attend vector; do
        printf '#!/bin/sh\necho "# options $*"\n[ %s = matmul ] || exit 0\n%s\n' "$c" "
            echo '$3 1 - matmul Q8_0 avx2 vs ref'
            [ '$3' = ok ] || { echo '# y[3]: got 1, want 2'; exit 1; }
            echo '# matmul Q8_0 avx2 [4096 x 256]: ref 9000 ns, fast $2 ns, 4.0x, 31.5 GB/s'" >"$1/tests/kernels/${c}_check_bare"
        chmod +x "$1/tests/kernels/${c}_check_bare"
    done
}

kernels() { run env OUT="$box/new" SLOT="$1" SET="$2" BENCH="$3" BASE="$4" sh "$root/tools/kernels.sh"; }

play "$box/new" 2000 ok
kernels "" "" "" ""
is "good kernels" 0 "$rc"
has "are right" "$box/stdout" "right: 1 checks"
kernels "" "" 1 ""
has "BENCH prints times" "$box/stdout" "2000 ns     31.5 GB/s"

play "$box/old" 3000 ok
kernels q8 avx2 "" "$box/old"
has "against a slower base" "$box/stdout" "3000 to       2000 ns   1.50x faster"
has "with a summary" "$box/stdout" "against the base: 1 faster"
play "$box/old" 1000 ok
kernels "" "" "" "$box/old"
has "against a faster base" "$box/stdout" "0.50x SLOWER"
play "$box/old" 2010 ok
kernels "" "" "" "$box/old"
has "against an equal one" "$box/stdout" "1.00x the same"

play "$box/new" 2000 "not ok"
kernels "" "" "" ""
is "a wrong kernel" 1 "$rc"
has "is shown" "$box/stdout" "# y[3]: got 1, want 2"
has "and counted" "$box/stdout" "WRONG: 1 of 1 checks failed"
kernels "" "" "" "$box/none"
is "a base that is none" 2 "$rc"

# The real harness: only what was asked for is tried.
if [ -x "$out/tests/kernels/vector_check" ]; then
    run "$out/tests/kernels/vector_check" --slot=SWIGLU
    is "a filtered check" 0 "$rc"
    is "tries that slot alone" 0 "$(grep '^ok' "$box/stdout" | grep -vc ' - swiglu ')"
    run "$out/tests/kernels/vector_check" --set=none
    is "a set that is none" "1..0 # SKIP nothing of that name here" "$(grep '^1\.\.' "$box/stdout")"
else
    skip "a filtered check" "vector_check is not built"
fi

finish
