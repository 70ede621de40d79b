#!/bin/sh
# kernels.sh - is a changed kernel right, and is it faster? See CONTRIBUTING.md; `make kernels` calls it.
#
#   SLOT=TEXT   only slots whose name has this text, as "q8_0" or "attend" [all]
#   SET=NAME    only this instruction set: avx2, avx512, vbmi, amx or neon [all that are here]
#   BENCH=1     times, too
#   BASE=WHAT   a commit, or a folder that was built (OUT); its times are taken in turns with these
#   OUT=build   where the checks of this tree are
#
# Prints failures, times and a verdict. Exit 1 when a kernel is wrong, 2 when nothing could be checked.
set -u
out=${OUT:-build}
checks="matmul rows attend vector"
rounds=3
options=
[ -z "${SLOT:-}" ] || options="$options --slot=$SLOT"
[ -z "${SET:-}" ] || options="$options --set=$SET"
[ -z "${BENCH:-}${BASE:-}" ] || options="$options --bench"

work=$(mktemp -d "$out/kernels_XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT

# The checks of another commit, with today's harness, so that both know the same options.
base_of() {
    if [ -d "$1" ] && [ -x "$1/tests/kernels/matmul_check_bare" ]; then
        base=$1/tests/kernels
        return
    fi
    id=$(git rev-parse --verify --quiet "$1^{commit}") || { echo "BASE=$1: no commit and no build" >&2; exit 2; }
    tree=build/base/$id
    if [ ! -d "$tree" ]; then
        git worktree prune
        git worktree add --quiet --force --detach "$tree" "$id" || exit 2
        cp tests/kernels/kcheck.[ch] "$tree/tests/kernels/"
    fi
    echo "building the kernels of $(git log -1 --format='%h %s' "$id")"
    # shellcheck disable=SC2046
    make -s -C "$tree" OUT=build CUDA=no $(for c in $checks; do echo "build/tests/kernels/${c}_check_bare"; done) \
        >"$work/base.log" 2>&1 || { cat "$work/base.log"; exit 2; }
    base=$tree/build/tests/kernels
}

# run FOLDER FILE: all checks; what they print, into FILE.
run() {
    for c in $checks; do
        # shellcheck disable=SC2086
        "$1/${c}_check_bare" $options >"$work/one" 2>&1
        rc=$?
        cat "$work/one"
        [ $rc -eq 0 ] || grep -q '^not ok' "$work/one" || echo "not ok 0 - ${c}_check ended with $rc"
    done >>"$2"
}

[ -z "${BASE:-}" ] || base_of "$BASE"
if [ -n "${BASE:-}" ]; then
    for i in $(seq $rounds); do
        run "$base" "$work/before"
        run "$out/tests/kernels" "$work/after"
    done
else
    run "$out/tests/kernels" "$work/after"
fi

grep -A1 '^not ok' "$work/after" | sort -u
n_good=$(sed -n 's/^ok [0-9]* - //p' "$work/after" | sort -u | wc -l)
n_bad=$(sed -n 's/^not ok.* - //p' "$work/after" | sort -u | wc -l)
if [ $((n_good + n_bad)) -eq 0 ]; then
    echo "nothing of that name here: SLOT='${SLOT:-}' SET='${SET:-}'" >&2
    exit 2
fi
# Lines "# SLOT SET [SIZE]: ref N ns, fast N ns, ...": the least time of each counts.
if [ -n "${BENCH:-}${BASE:-}" ]; then
    [ -e "$work/before" ] || : >"$work/before"
    awk '
    /^# .*: ref [0-9]+ ns, fast [0-9]+ ns/ {
        name = $0; sub(/^# /, "", name); sub(/: ref [0-9]+ ns.*/, "", name)
        ns = $0; sub(/.*, fast /, "", ns); ns += 0
        gbps = $0; sub(/ GB\/s.*/, "", gbps); sub(/.* /, "", gbps)
        if (FILENAME ~ /before$/) { if (!(name in before) || ns < before[name]) before[name] = ns; next }
        if (!(name in after)) order[++n] = name
        if (!(name in after) || ns < after[name]) { after[name] = ns; speed[name] = gbps }
    }
    END {
        for (i = 1; i <= n; i++) {
            name = order[i]
            if (!(name in before)) { printf "%-48s %10d ns %8.1f GB/s\n", name, after[name], speed[name]; continue }
            ratio = before[name] / after[name]
            word = ratio > 1.03 ? "faster" : ratio < 0.97 ? "SLOWER" : "the same"
            count[word]++
            printf "%-48s %10d to %10d ns %6.2fx %s\n", name, before[name], after[name], ratio, word
        }
        for (word in count) summary = summary " " count[word] " " word ","
        if (summary != "") { sub(/,$/, "", summary); print "against the base:" summary " (3 % count as the same)" }
    }' "$work/before" "$work/after"
fi
if [ "$n_bad" -gt 0 ]; then echo "WRONG: $((n_bad)) of $((n_good + n_bad)) checks failed"; exit 1; fi
echo "right: $((n_good)) checks"
