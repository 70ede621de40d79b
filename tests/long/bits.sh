#!/bin/sh
# bits.sh - the hashes of tests/engine/bits_test.c on each instruction set; see `make test-bits`.
#
#   tests/long/bits.sh MOVES [FILE]     compares with FILE, or writes it if it is not there
#
# Hashes hold for one machine, compiler and C library: exp() and cos() round differently elsewhere.
# The plain set is slow and walks a twentieth of the way. Prints TAP lines.
set -u
out=${OUT:-build}
moves=$1
file=${2:-}
failed=0
n=0
found=$(mktemp "$out/bits_XXXXXX") || exit 2
trap 'rm -f "$found"' EXIT

# run SET MASK MOVES: features of the mask are left out.
run() {
    DS4_CPU_MASK=$2 DS4_BITS_MOVES=$3 OUT=$out "$out/tests/engine/bits_test" >"$found.log" 2>&1
    rc=$?
    n=$((n + 1))
    if [ $rc -eq 0 ]; then echo "ok $n - walks on $1"; else
        echo "not ok $n - walks on $1"
        cat "$found.log"
        failed=1
    fi
    sed -n "s/^#| bits /$1 /p" "$found.log" >>"$found"
    rm -f "$found.log"
}

run all 0 "$moves"
run avx512 24 "$moves"
run avx2 26 "$moves"
run plain 31 $((moves / 20))
cat "$found"
if [ -n "$file" ] && [ -f "$file" ]; then
    n=$((n + 1))
    # A golden model that is not at hand has no line.
    if awk 'NR == FNR { want[$1 " " $2] = $3; next }
            want[$1 " " $2] != $3 { print "# " $0 ", expected " want[$1 " " $2]; bad = 1 }
            END { exit bad }' "$file" "$found"; then echo "ok $n - the hashes of $file"; else
        echo "not ok $n - the hashes of $file"
        failed=1
    fi
elif [ -n "$file" ]; then
    { echo "# $moves moves, $(uname -m), $(${CC:-cc} --version | head -n 1)"; cat "$found"; } >"$file"
    echo "# written: $file"
fi
echo "1..$n"
exit $failed
