#!/bin/sh
# kv.sh - conversations kept on disk, as people meet them: a prompt is read once, ds4 kv
# shows, checks and prunes, and folders that others may write are refused.
. tests/cli/tap.inc

model=models/ds4-mini.gguf
dir=$box/store

[ -r "$model" ] || { echo "ok 1 - no bundled model # SKIP"; echo "1..1"; exit 0; }

i=0
while [ $i -lt 150 ]; do
    echo "Line $i of the story: the cat went to the house number $((i * 7 % 13)) and slept."
    i=$((i + 1))
done >"$box/prompt.txt"

ok() { report $? "$1"; }                # the test before it decides

ask() { "$ds4" -m "$model" --prompt-file "$box/prompt.txt" --nothink --temp 0 --json "$@" 2>"$box/err"; }
cached() { sed 's/.*"cached_tokens": \([0-9]*\).*/\1/' "$1"; }
total() { sed 's/.*"prompt_tokens": \([0-9]*\).*/\1/' "$1"; }
text() { sed 's/.*"text": \(".*"\), "reasoning".*/\1/' "$1"; }

ask -n 12 --kv-disk-dir "$dir" >"$box/first"
[ $? -eq 0 ] && [ "$(cached "$box/first")" = 0 ]; ok "the first time everything is read"
ask -n 12 --kv-disk-dir "$dir" >"$box/second"
[ $(($(total "$box/second") - $(cached "$box/second"))) -le 256 ]; ok "the second time next to nothing is"
[ "$(text "$box/first")" = "$(text "$box/second")" ]; ok "the answer is the same"
ask -n 12 >"$box/plain"
[ "$(text "$box/first")" = "$(text "$box/plain")" ]; ok "and that of a run without a store"

[ "$(ls -ld "$dir" | cut -c1-10)" = drwx------ ]; ok "the folder is one's own"
[ "$(ls -l "$dir" | grep -v '^total' | cut -c1-10 | sort -u)" = -rw------- ]; ok "and so are its files"

"$ds4" kv ls --kv-disk-dir "$dir" >"$box/ls" 2>&1
[ $? -eq 0 ] && grep -q "slept" "$box/ls" && grep -q "positions in" "$box/ls"; ok "kv ls"
name=$(sed -n 2p "$box/ls" | cut -c1-8)
"$ds4" kv show --kv-disk-dir "$dir" "$name" >"$box/show" 2>/dev/null
[ $? -eq 0 ] && grep -q "Line 17 of the story" "$box/show"; ok "kv show"
"$ds4" kv verify --kv-disk-dir "$dir" >"$box/verify" 2>&1; ok "kv verify"

# One bit of one file.
victim=$(ls "$dir"/*.block | head -n 1)
printf 'x' | dd of="$victim" bs=1 seek=5000 conv=notrunc 2>/dev/null
"$ds4" kv verify --kv-disk-dir "$dir" >"$box/verify" 2>&1
[ $? -eq 1 ] && grep -q "1 are bad" "$box/verify" && [ -e "$victim.bad" ]; ok "kv verify sets a damaged file aside"
ask -n 12 --kv-disk-dir "$dir" >"$box/third"
[ $? -eq 0 ] && [ "$(text "$box/first")" = "$(text "$box/third")" ]; ok "a damaged store changes no answer"
ask -n 12 --kv-disk-dir "$dir" >"$box/fourth"
[ $(($(total "$box/fourth") - $(cached "$box/fourth"))) -le 256 ]; ok "and is whole again afterwards"

"$ds4" kv prune --kv-disk-dir "$dir" --kv-disk-space-mb 0 >"$box/prune" 2>&1
[ $? -eq 0 ] && ! ls "$dir"/*.tail >/dev/null 2>&1; ok "kv prune"

printf 'not a database, not at all' >"$dir/index.sqlite"
ask -n 12 --kv-disk-dir "$dir" >"$box/fifth"
[ $? -eq 0 ] && grep -q "made anew" "$box/err"; ok "a damaged index is made anew"

mkdir -p "$box/open" && chmod 777 "$box/open"
ask -n 12 --kv-disk-dir "$box/open" >"$box/refused"
[ $? -eq 1 ] && grep -q "others may write" "$box/err"; ok "a folder that others may write is refused"

"$ds4" kv >/dev/null 2>&1; [ $? -eq 2 ]; ok "kv without a command"
"$ds4" kv ls >/dev/null 2>&1; [ $? -eq 2 ]; ok "kv ls without a folder"
"$ds4" kv ls --kv-disk-dir "$box/nowhere" >/dev/null 2>&1
[ $? -eq 1 ] && [ ! -e "$box/nowhere" ]; ok "kv ls makes no folder"
"$ds4" kv --help | grep -q prune; ok "kv --help"

rm -rf "$box"
finish
