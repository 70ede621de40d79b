#!/bin/sh
# bad_models.sh - files that are missing, cut, altered or lie are refused with exit code 2
# and one sentence that names them; none makes a program crash.
. tests/cli/tap.inc

bad=$box/bad.gguf

# refused NAME [FILE]: exit code 2, nothing on standard output, one line with the file's name.
refused() {
    file=${2:-$bad}
    for program in "$ds4 -m $file -p hi" "$ds4_eval tokens -m $file"; do
        run $program
        lines=$(wc -l <"$box/stderr" | tr -d ' ')
        if [ "$rc" -eq 2 ] && [ "$lines" = 1 ] && [ ! -s "$box/stdout" ] && grep -qF "$file" "$box/stderr"; then
            report 0 "$1: ${program%% *}"
        else
            report 1 "$1: ${program%% *}"
            echo "# exit code $rc"
            head -n 3 "$box/stderr" | sed 's/^/# /'
        fi
    done
}

refused "missing file" "$box/none.gguf"
refused "folder" "$box"
: >"$bad"
refused "empty file"
echo "This is a text, not a model." >"$bad"
refused "text file"
for n in 3 4 7 8 23 24 31 100 1000 3000 9000 100000 6000000; do
    head -c $n "$model" >"$bad"
    refused "first $n bytes"
done

# patch OFFSET BYTES: a copy of the model with other bytes (octal escapes) at an offset.
patch() {
    cp "$model" "$bad"
    chmod u+w "$bad"
    printf "$2" | dd of="$bad" bs=1 seek="$1" conv=notrunc 2>/dev/null
}
huge='\377\377\377\377\377\377\377\177'
patch 0 'GGUG';         refused "other magic"
patch 4 '\001\000';     refused "version 1"
patch 4 '\000\000\000\003'; refused "big endian version"
patch 8 "$huge";        refused "2^63 tensors"
patch 8 '\000\000\000\000\001'; refused "2^32 tensors"
patch 16 "$huge";       refused "2^63 keys"
patch 16 '\000\000\001'; refused "65,536 keys"
patch 24 "$huge";       refused "a key of 2^63 bytes"
patch 24 '\000';        refused "an empty key"
patch 52 '\143';        refused "a value of unknown type"

# One bit at a time all over the beginning of the file, which holds the metadata: the file
# may still be good, or not; a crash is neither.
crashed=0 wordy=0
offset=5
while [ $offset -lt 12000 ]; do
    patch $offset "\\$(printf '%o' $(($(od -An -tu1 -j $offset -N 1 "$model") ^ (1 << offset % 8))))"
    run "$ds4" -m "$bad" --inspect
    case $rc in
    0|1) ;;
    2)  [ "$(wc -l <"$box/stderr" | tr -d ' ')" = 1 ] && grep -qF "$bad" "$box/stderr" || wordy=$((wordy + 1)) ;;
    *)  crashed=$((crashed + 1)); echo "# offset $offset: exit code $rc" ;;
    esac
    offset=$((offset + 97))
done
is "no flipped bit crashes" 0 $crashed
is "every refusal is one line with the name" 0 $wordy
# A file on a RAM disk is in memory already: mapping it takes nothing more.
ram=/dev/shm
if [ -d $ram ] && [ -w $ram ] && [ "$(stat -f -c %T $ram 2>/dev/null)" = tmpfs ]; then
    cp "$model" "$ram/ds4_cli_$$.gguf"
    run "$ds4" --plan -m "$ram/ds4_cli_$$.gguf" -c 256 --mem 12M
    is "a model on a RAM disk fits where its scratch does" 0 $rc
    has "and the plan says why" "$box/stdout" "the file lies in memory"
    run "$ds4" -m "$ram/ds4_cli_$$.gguf" -c 256 --mem 12M --raw -n 1 -p hi
    is "it is opened too" 0 $rc
    has "with a line" "$box/stderr" "the file lies in memory already"
    rm -f "$ram/ds4_cli_$$.gguf"
    run "$ds4" --plan -m "$model" -c 256 --mem 12M
    is "on a disk it does not" 1 $rc
else
    skip "a model on a RAM disk" "no tmpfs at $ram"
fi
finish
