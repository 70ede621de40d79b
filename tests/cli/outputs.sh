#!/bin/sh
# outputs.sh - results are sent where people send them: devices, pipes, links, standard output,
# a full disk, a limit on the size of files.
. tests/cli/tap.inc
bench="$out/ds4-bench -m $model -t 1 --ctx-start 64 --ctx-max 64 --gen-tokens 2"
eval_logits="$out/ds4-eval logits -m $model -t 1"
quantize=$out/ds4-quantize
printf '\001\000\000\000\002\000\000\000' >"$box/tokens"
cd_out=$(cd "$out" && pwd)

kind() {                                # kind FILE: what lies there, a link not followed
    if [ -L "$1" ]; then echo link
    elif [ -p "$1" ]; then echo pipe
    elif [ -c "$1" ]; then echo device
    elif [ -f "$1" ]; then echo file
    else echo nothing
    fi
}
strays() { find "$box" -name '*.tmp.*' | wc -l | tr -d ' '; }

# Each way to write a file, to the output named: write_WHAT OUTPUT.
write_csv() { run timeout 60 $bench --csv "$1"; }
write_json() { run timeout 60 $bench --csv "$box/rest" --json "$1"; }
write_plot() { run timeout 60 $bench --csv "$box/rest" --plot "$1"; }
write_logprobs() { run timeout 60 "$ds4" -m "$model" -t 1 --raw -p Hi -n 2 --dump-logprobs "$1"; }
write_logits() { run timeout 60 $eval_logits --tokens "$box/tokens" --out "$1"; }
write_model() { run timeout 60 "$quantize" convert --from models/ds4-mini --experts q8 --out "$1"; }
ways="csv json plot logprobs logits"

if [ "$(id -u)" != 0 ]; then
    null=/dev/null                      # nobody but root could replace it
elif mknod "$box/null" c 1 3 2>/dev/null && : >"$box/null"; then
    null=$box/null
else
    null=
fi
for way in $ways; do
    if [ -n "$null" ]; then
        write_$way "$null"
        is "$way to a device" "0 device" "$rc $(kind "$null")"
    else
        skip "$way to a device" "no device can be made here"
    fi

    mkfifo "$box/pipe"
    wc -c <"$box/pipe" >"$box/count" &
    write_$way "$box/pipe"
    code=$rc
    [ "$(kind "$box/pipe")" = pipe ] || kill $!     # else it waits for ever
    wait $!
    is "$way to a pipe" "0 pipe" "$code $(kind "$box/pipe")"
    is "the reader of $way has something" yes "$([ "$(cat "$box/count")" -gt 7 ] && echo yes)"
    rm -f "$box/pipe"

    mkdir -p "$box/other"
    echo old >"$box/other/target"
    chmod 640 "$box/other/target"
    ln -sf other/target "$box/link"
    write_$way "$box/link"
    is "$way through a link" "0 link" "$rc $(kind "$box/link")"
    is "the file behind it is new, its mode is kept" "-rw-r----- yes" \
        "$(ls -l "$box/other/target" | cut -c1-10) $([ "$(wc -c <"$box/other/target")" -gt 7 ] && echo yes)"
    rm -f "$box/other/target"
    write_$way "$box/link"
    is "$way through a link to nothing" "0 link file" "$rc $(kind "$box/link") $(kind "$box/other/target")"
    rm -rf "$box/other" "$box/link"

    write_$way /dev/full
    is "$way to a full disk" 1 "$rc"
    has "$way says which" "$box/stderr" "/dev/full: cannot write"

    mkdir "$box/folder"
    write_$way "$box/folder"
    is "$way to a folder" 1 "$rc"
    has "$way names it" "$box/stderr" "$box/folder: "
    rmdir "$box/folder"
done

# ---- standard output ---------------------------------------------------------------------------

for name in - /dev/stdout /proc/self/fd/1; do
    [ "$name" = - ] || [ -e "$name" ] || { skip "results to $name" "not here"; continue; }
    { echo before; $bench --csv "$name" 2>/dev/null; echo after; } >"$box/all"
    is "results to $name stand between what is around them" "before after" \
        "$(sed -n '1p;$p' "$box/all" | tr '\n' ' ' | sed 's/ $//')"
    is "results to $name are there" 2 "$(grep -c , "$box/all")"
done
# shellcheck disable=SC2094
write_logits "$box/plain" && $eval_logits --tokens "$box/tokens" --out - 2>/dev/null | cmp -s - "$box/plain"
report $? "binary results to standard output"

# ---- large files -------------------------------------------------------------------------------

write_model "$box/whole.gguf"
is "a model file" 0 "$rc"
if [ "$rc" -eq 0 ]; then
    mkfifo "$box/pipe"
    cmp "$box/pipe" "$box/whole.gguf" >"$box/cmp" 2>&1 &
    write_model "$box/pipe"
    wait $!
    is "a model file through a pipe has the same bytes" "0 0" "$rc $?"
    rm -f "$box/pipe"
    if [ -n "$null" ]; then
        write_model "$null"
        is "a model file to a device" "0 device" "$rc $(kind "$null")"
    fi
fi

# ---- limits ------------------------------------------------------------------------------------

# The signal of a file that may not grow is an error like a full disk, and leaves nothing behind.
(ulimit -f 1 && cd "$box" && "$cd_out/ds4-eval" logits -m "$OLDPWD/$model" -t 1 --tokens tokens --out big) \
    >"$box/stdout" 2>"$box/stderr"
is "a limit on the size of files is an error" 1 $?
has "and is named" "$box/stderr" "big: cannot write: File too large"
is "nothing is left of it" "nothing" "$(kind "$box/big")"
is "no temporary files are left" 0 "$(strays)"

finish
