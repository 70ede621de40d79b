#!/bin/sh
# resume_convert.sh - a conversion that is killed at any moment, or whose disk is full at any byte, is
# finished by --resume to the bytes of one that was not.
set -u
out=${OUT:-build}
quantize=$out/ds4-quantize
box=$out/cli_resume
n=0 failed=0

report() {                              # report STATUS NAME
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then echo "ok $n - $2"; return; fi
    failed=1
    echo "not ok $n - $2"
    printf '%s\n' "$text" | sed 's/^/# /'
}
convert() { timeout 120 "$quantize" convert --from models/ds4-mini --recipe q4 --name mini --save-every 100K "$@" 2>&1 </dev/null; }
rest() { find "$box" -name 'x.gguf*' | wc -l; }

rm -rf "$box" && mkdir -p "$box"
text=$(convert --out "$box/whole.gguf");                        report $? "a conversion without trouble"

# Killed again and again, until one run comes to the end: each goes on where the one before ended. The
# moments move, and come later as runs go by, so that a busy machine gets there too.
kills=0 runs=0
while [ ! -e "$box/x.gguf" ] && [ $runs -lt 60 ]; do
    timeout -s KILL "$((runs / 10)).$((runs % 7 + 2))" "$quantize" convert --from models/ds4-mini --recipe q4 \
        --name mini --save-every 100K --out "$box/x.gguf" --resume --threads 1 >"$box/log" 2>&1 </dev/null
    [ $? -eq 137 ] && kills=$((kills + 1))
    runs=$((runs + 1))
done
text="$kills kills in $runs runs; $(cat "$box/log")"
[ $kills -ge 1 ];                                               report $? "runs were killed"
cmp -s "$box/x.gguf" "$box/whole.gguf";                         report $? "the last one made every byte"
text=$(ls "$box"); [ "$(rest)" -eq 1 ];                         report $? "no partial file and no mark stay"

# The disk is full at many places: the write fails, and the run with room goes on.
for blocks in 1 700 3000 9001 15011 20500; do
    rm -f "$box"/x.gguf*
    text=$( (ulimit -f $blocks; convert --out "$box/x.gguf") ); [ $? -eq 1 ];   report $? "no room after $blocks blocks"
    text=$(convert --out "$box/x.gguf" --resume) && cmp "$box/x.gguf" "$box/whole.gguf"; report $? "then room again"
done

# Some leftovers are refused, some conversions begin anew.
rm -f "$box"/x.gguf*
text=$( (ulimit -f 9001; convert --out "$box/x.gguf") ); [ -e "$box/x.gguf.partial" ]; report $? "a partial file stays"
text=$(timeout 60 "$quantize" convert --from models/ds4-mini --recipe native --out "$box/x.gguf" --resume 2>&1)
[ $? -ne 0 ] && printf '%s\n' "$text" | grep -q "begun from another input or recipe"
report $? "another recipe does not go on with it"
[ -e "$box/x.gguf.partial" ];                                   report $? "and leaves it"
printf 'nonsense\n' >"$box/x.gguf.partial.mark"
text=$(convert --out "$box/x.gguf" --resume) && cmp "$box/x.gguf" "$box/whole.gguf"; report $? "a mark that is none: from the beginning"
text=$( (ulimit -f 9001; convert --out "$box/x.gguf") )
head -c 100000 /dev/zero >"$box/x.gguf.partial"                 # shorter than the mark says
text=$(convert --out "$box/x.gguf" --resume) && cmp "$box/x.gguf" "$box/whole.gguf"; report $? "a partial file that was cut: from the beginning"
text=$( (ulimit -f 9001; convert --out "$box/x.gguf") )
text=$(convert --out "$box/x.gguf") && cmp "$box/x.gguf" "$box/whole.gguf"; report $? "without --resume: from the beginning"
text=$(ls "$box"); [ "$(rest)" -eq 1 ];                         report $? "and nothing stays"

# Model files go on in the same way.
text=$( (ulimit -f 9001; timeout 60 "$quantize" requantize --from "$box/whole.gguf" --recipe native --save-every 100K --out "$box/y.gguf" 2>&1) )
text=$(timeout 60 "$quantize" requantize --from "$box/whole.gguf" --recipe native --resume --out "$box/y.gguf" 2>&1);   report $? "requantize goes on"
text=$(timeout 60 "$quantize" requantize --from "$box/whole.gguf" --recipe native --out "$box/z.gguf" 2>&1) && cmp "$box/y.gguf" "$box/z.gguf"
report $? "to the same bytes"

rm -rf "$box"
echo "1..$n"
exit $failed
