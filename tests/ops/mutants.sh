#!/bin/sh
# mutants.sh - does a changed sign in any CPU operation make tests/ops fail?
#
#     tests/ops/mutants.sh [FILE.c ...]        all operations of src/backend/cpu without an argument
#
# Every plus and minus of an operation's file is changed in turn, the file is compiled and the operations that
# it computes are run. A change that nobody notices must be told in mutants_equal.txt, with the reason why it
# changes no result. The last line is "N caught, N equal, N are no C, N missed".
set -u
out=${OUT:-build}
box=$out/mutants
here=$(dirname "$0")
equal=$here/mutants_equal.txt

# The operations of ops_table.c that a file computes.
operations() {
    case $1 in
        cpu_hc.c)       echo "angles embed hc_ norm steer" ;;
        cpu_attn.c)     echo "heads kv_row window attend" ;;
        cpu_compress.c) echo "compress" ;;
        cpu_index.c)    echo "index_query select" ;;
        cpu_kv.c)       echo "window compress" ;;
        cpu_route.c)    echo "route" ;;
        cpu_moe.c)      echo "experts prefetch" ;;
        cpu_project.c)  echo "project" ;;
        cpu_multiply.c) echo "project experts" ;;
        cpu_run.c)      echo "angles compress" ;;
        cpu_sample.c)   echo "sample" ;;
        *)              echo "" ;;
    esac
}

# LINE COLUMN SIGN of each plus and minus of a file that is an operator.
signs() {
    awk '
    {
        text = $0
        if (in_comment) {
            if (!match(text, /\*\//)) next
            text = sprintf("%*s", RSTART + 1, "") substr(text, RSTART + 2)
            in_comment = 0
        }
        while (match(text, /\/\*[^*]*\*+([^\/*][^*]*\*+)*\//))
            text = substr(text, 1, RSTART - 1) sprintf("%*s", RLENGTH, "") substr(text, RSTART + RLENGTH)
        if (match(text, /\/\*/)) { in_comment = 1; text = substr(text, 1, RSTART - 1) }
        if (text ~ /^ *#/) next
        for (i = 2; i < length(text); i++) {
            c = substr(text, i, 1)
            before = substr(text, i - 1, 1)
            after = substr(text, i + 1, 1)
            if (c != "+" && c != "-") continue
            if (before == c || after == c || after == ">") continue
            if (before != " " && before != "(") continue
            print FNR, i, c
        }
    }' "$1"
}

# Compile the changed file and link it before the others, so that it replaces its like.
build() {
    ${CC:-cc} -std=c11 -O1 -w -D_GNU_SOURCE -Isrc -Iinclude -Itests -ffp-contract=off -fno-math-errno -c \
        -o "$box/changed.o" "$box/$1" -iquote src/backend/cpu 2>"$box/log" &&
        ${CC:-cc} -o "$box/ops_test" "$box"/build/tests/ops/*.o "$box/build/tests/support/far_device.o" \
            "$box/changed.o" "$box/build/libds4.a" -lm -lpthread $uring >"$box/log" 2>&1
}

# Is the change noticed? A crash, a wrong value, and a program that does not end are.
is_noticed() {
    for op in $(operations "$1"); do
        OUT=$box timeout 60 "$box/ops_test" --stop --op "$op" >/dev/null 2>&1 || return 0
    done
    return 1
}

rm -rf "$box"
mkdir -p "$box"
make -s CUDA=no CXX=none OUT="$box/build" "$box/build/tests/ops/ops_test" >"$box/log" 2>&1 || { cat "$box/log"; exit 2; }
uring=$(printf 'int main(void) { return 0; }' | ${CC:-cc} -x c - -luring -o /dev/null 2>/dev/null && echo -luring)
files=$*
[ -n "$files" ] || files=$(cd src/backend/cpu && ls cpu_*.c)
caught=0 same=0 missed=0 wrong=0
for file in $files; do
    file=$(basename "$file")
    [ -n "$(operations "$file")" ] || continue
    source=src/backend/cpu/$file
    signs "$source" >"$box/signs"
    while read -r line column sign; do
        other=$([ "$sign" = + ] && echo - || echo +)
        awk -v l="$line" -v c="$column" -v s="$other" \
            'FNR == l { $0 = substr($0, 1, c - 1) s substr($0, c + 1) } { print }' "$source" >"$box/$file"
        text=$(sed -n "${line}s/^ *//p" "$source")
        if ! build "$file"; then
            wrong=$((wrong + 1))
        elif is_noticed "$file"; then
            caught=$((caught + 1))
        elif grep -qF "$file $sign $text" "$equal"; then
            same=$((same + 1))
        else
            missed=$((missed + 1))
            echo "missed: $file:$line:$column $sign $text"
        fi
    done <"$box/signs"
    echo "# $file: $caught caught, $same equal, $wrong no C, $missed missed so far"
done
echo "$caught caught, $same equal, $wrong are no C, $missed missed"
[ "$missed" -eq 0 ]
