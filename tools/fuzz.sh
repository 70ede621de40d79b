#!/bin/sh
# fuzz.sh - coverage-guided fuzzing: build each target with libFuzzer and run it for a while.
#
#   tools/fuzz.sh SECONDS tests/fuzz/NAME_fuzz.c...
#
# Starts from tests/fuzz/corpus/NAME; what it learns stays in $OUT/corpus/NAME, so that the
# next run goes on from there. An input that breaks something is kept in $OUT/findings, and
# the exit status is 1. CC is the clang to use.
set -u
cc=${CC:-clang}
out=${OUT:-build/fuzz}
make=${MAKE:-make}
san=address,undefined

if [ $# -lt 2 ]; then
    echo "usage: tools/fuzz.sh SECONDS tests/fuzz/NAME_fuzz.c..." >&2
    exit 2
fi
seconds=$1
shift
case $seconds in
    ''|*[!0-9]*) echo "fuzz: '$seconds' is no number of seconds" >&2; exit 2 ;;
esac
if ! command -v "$cc" >/dev/null; then
    echo "fuzz: no $cc here; tools/setup.sh fuzz installs it" >&2
    exit 1
fi

# The library, by the Makefile's own rules, with coverage for the fuzzer.
"$make" -s CC="$cc" OUT="$out" SAN="fuzzer-no-link,$san" OPT=-O1 "$out/libds4.a" "$out/libserver.a" "$out/libui.a" || exit 1
libs="$(pkg-config --libs jansson sqlite3 libxxhash libcrypto libpcre2-8 libutf8proc) $(pkg-config --libs libcurl 2>/dev/null) -lm -lpthread"

failed=0
for target in "$@"; do
    name=$(basename "$target" _fuzz.c)
    program=$out/${name}_fuzz
    log=$out/$name.log
    mkdir -p "$out/corpus/$name" "$out/findings" "tests/fuzz/corpus/$name"
    # shellcheck disable=SC2086
    if ! "$cc" -std=c11 -g -O1 -D_GNU_SOURCE -Isrc -Iinclude -Itests -fsanitize="fuzzer,$san" \
            -fno-sanitize-recover=all -o "$program" "$target" "$out/libserver.a" "$out/libui.a" "$out/libds4.a" $libs; then
        echo "FAIL  $name: does not build"
        failed=1
        continue
    fi
    # The first folder receives what is new, the others are read.
    if "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
            -artifact_prefix="$out/findings/$name-" "$out/corpus/$name" "tests/fuzz/corpus/$name" \
            >"$log" 2>&1; then
        awk -v name="$name" '
            /cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") cov = $(i + 1); if ($i == "corp:") corp = $(i + 1) } }
            /^stat::number_of_executed_units:/ { runs = $2 }
            END { split(corp, c, "/"); printf "ok    %s: %d runs, %d edges covered, %d inputs kept\n", name, runs, cov, c[1] }
        ' "$log"
    else
        failed=1
        kept=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        echo "FAIL  $name: ${kept:-no input kept}; log in $log"
        grep -E '^SUMMARY|runtime error|ERROR: ' "$log" | head -n 3
    fi
done
exit $failed
