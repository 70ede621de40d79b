#!/bin/sh
# run.sh - run test programs and scripts that print TAP, and count.
# The last line is "N passed, N failed, N skipped"; a program that dies counts as failed.
# RUN is put before compiled programs (an emulator); LOG keeps the whole output. Lines that
# begin with "#| " are shown as they are, for tables.
set -u

# A bare chroot and some containers have no pseudo-terminals, which tests of terminals need. Where we may,
# they get them in a mount namespace of the tests: nothing of the machine changes.
if [ "$(uname)" = Linux ] && [ ! -e /dev/pts/ptmx ] && [ -d /dev/pts ] && [ "$(id -u)" = 0 ] && [ -z "${PTS:-}" ]; then
    PTS=1 exec unshare --mount --propagation unchanged sh -c '
        { mount --make-private /dev || mount --make-private /; } 2>/dev/null
        mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts /dev/pts
        exec sh tests/run.sh "$@"' sh "$@"
fi

out=${OUT:-build}
log=${LOG:-$out/test.log}
mkdir -p "$(dirname "$log")"
: >"$log"
passed=0 failed=0 skipped=0
for test in "$@"; do
    name=${test#"$out"/}
    case $test in
        *.sh)           one=$(OUT=$out sh "$test" 2>&1); rc=$? ;;
        *_fuzz_replay)  corpus=tests/fuzz/corpus/$(basename "$test" _fuzz_replay)
                        one=$(${RUN:-} "$test" "$corpus" 2>&1); rc=$? ;;
        *)              one=$(${RUN:-} "$test" 2>&1); rc=$? ;;
    esac
    printf '# %s (exit %s)\n%s\n' "$name" "$rc" "$one" >>"$log"
    printf '%s\n' "$one" | sed -n 's/^#| //p'
    skip=$(printf '%s\n' "$one" | grep -cE '^(not )?ok .*# SKIP')
    bad=$(printf '%s\n' "$one" | grep -E '^not ok' | grep -cv '# SKIP')
    good=$(printf '%s\n' "$one" | grep -E '^ok' | grep -cv '# SKIP')
    if [ "$rc" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ $((good + bad + skip)) -eq 0 ]; then bad=1; fi
    if [ "$bad" -gt 0 ]; then
        printf 'FAIL  %s: %d passed, %d failed, exit %s\n' "$name" "$good" "$bad" "$rc"
        printf '%s\n' "$one" | grep -vE '^ok' | tail -n 40
    else
        printf 'ok    %s: %d passed%s\n' "$name" "$good" "$([ "$skip" -gt 0 ] && echo ", $skip skipped")"
    fi
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skip))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
