#!/bin/sh
# metal_check.sh - the Metal backend on this machine, as a report to paste into an issue.
#
#   OUT=build/metal-check tools/metal_check.sh     (make metal-check builds what it needs and calls it)
#
# Every kernel against the CPU in odd sizes, its bits against the emulator's, and one answer of the bundled model.
set -u
out=${OUT:-build/metal-check}
rc=0
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT

echo "ds4 metal-check, commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
echo "system: $(sw_vers -productVersion 2>/dev/null || uname -sr), $(sysctl -n machdep.cpu.brand_string 2>/dev/null || uname -m)"
for test in token_ops state_ops; do
    program=$out/tests/emulator/${test}_test
    DS4_TEST_BACKEND=metal "$program" > "$dir/$test.metal" 2>&1
    metal=$?
    "$program" > "$dir/$test.emulated" 2>&1 || rc=1
    [ "$metal" -eq 0 ] || rc=1
    echo "$test: $(grep -c '^ok' "$dir/$test.metal") passed, $(grep '^not ok' "$dir/$test.metal" | grep -vc SKIP) failed"
    grep -E '^(ERROR|not ok)' "$dir/$test.metal" | grep -v SKIP | head -20
    grep '^# bits' "$dir/$test.emulated" > "$dir/expected"
    grep '^# bits' "$dir/$test.metal" > "$dir/found"
    same=$(comm -12 "$dir/expected" "$dir/found" 2>/dev/null | wc -l)
    echo "$test: $((same)) of $(grep -c '' "$dir/expected") lines of bits are the emulator's"
done
answer() { "$out/ds4" -m models/ds4-mini.gguf --backend "$1" -p "Hi" --system "" --nothink --temp 0 -n 12 2>"$dir/log"; }
if [ -x "$out/ds4" ]; then
    expected=$(answer cpu)
    found=$(answer metal) || sed 's/^/# /' "$dir/log"
    if [ -n "$expected" ] && [ "$expected" = "$found" ]; then
        echo "answer: the CPU's, to the byte"
    else
        echo "answer: '$found', on the CPU '$expected'"
        rc=1
    fi
fi
[ "$rc" -eq 0 ] && echo "result: passed" || echo "result: FAILED"
exit $rc
