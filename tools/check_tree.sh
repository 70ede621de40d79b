#!/bin/sh
# check_tree.sh - the rules of the source tree (docs/STYLE.md), checked in a moment.
#
#   tools/check_tree.sh [FOLDER]
#
# One line for each violation, "file:line: rule: what"; exit 1 if there is any. The rules of single files
# are in check_tree/rules.awk, those of the whole (who calls whom) in check_tree/calls.awk.
set -u
export LC_ALL=C

awk_files=$(cd "$(dirname "$0")/check_tree" && pwd) || exit 2
cd "${1:-.}" || exit 2

# What git would carry, or everything but what was built.
list_files() {
    if [ -e .git ] && git ls-files -co --exclude-standard 2>/dev/null; then return; fi
    find . -type f ! -path './.git/*' ! -path './build/*' ! -name '*.o' | sed 's|^\./||'
}

# Text files only: test data may hold anything.
files=$(list_files | sort -u | while read -r f; do
    case $f in
        tests/fuzz/corpus/*|models/*) ;;
        *.c|*.h|*.k|*.m|*.cu|*.cpp|*.awk|*.sh|*.py|*.md|*.yml|*.txt|*.mk|Makefile|.ci/*|.clang-format) [ -f "$f" ] && echo "$f" ;;
    esac
done)
if [ -z "$files" ]; then
    echo "tree: no files here" >&2
    exit 2
fi
# Public functions are known before their users are read.
# (What is declared below tests/emulator/apple is the system's.)
sources=$(echo "$files" | grep -E '^(src|include|tests|examples|lab)/.*\.h$' | grep -v '^tests/emulator/apple/'
          echo "$files" | grep -E '^(src|include|tests|examples|lab)/.*\.(c|k|m|cu|cpp)$')

# A checker that does not run must not pass for one that finds nothing.
look() {
    rules=$1
    shift
    awk -f "$awk_files/code.awk" -f "$awk_files/$rules" "$@"
    [ $? -le 1 ] || echo "tree: awk failed with $rules"
}

# shellcheck disable=SC2086
said=$(look rules.awk $files
       [ -z "$sources" ] || look calls.awk $sources | sort)
[ -z "$said" ] || echo "$said"
n_files=$(echo "$files" | wc -l)
n_violations=$(printf '%s' "$said" | grep -c '')
echo "tree: $((n_files)) files, $((n_violations)) violations"
[ "$n_violations" -eq 0 ]
