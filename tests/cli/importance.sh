#!/bin/sh
# importance.sh - from texts to a file of importance to a better model file: ds4-eval imatrix, and --imatrix and
# --encoder of ds4-quantize.
. tests/cli/tap.inc
quantize=$out/ds4-quantize
mini=models/ds4-mini.gguf

says() { has "$1" "$box/stderr" "$2"; }
imatrix() { run timeout 60 "$ds4_eval" imatrix -m $mini -c 256 "$@"; }

mkdir -p "$box/texts/more"
head -c 4000 models/eval/filler.txt >"$box/texts/a.txt"
head -c 2000 docs/KV.md >"$box/texts/more/b.md"
printf 'ab\0c' >"$box/texts/binary"
cp "$box/texts/a.txt" "$box/texts/.hidden"

imatrix --text "$box/texts" --out "$box/all.gguf"
is "texts of a folder are read" 0 "$rc"
says "every expert was seen" " 0 of 64 experts unseen"
imatrix --text "$box/texts/a.txt" --text "$box/texts/more/b.md" --out "$box/named.gguf" -t 1
run "$quantize" inspect "$box/all.gguf"
has "experts have sums of their own" "$box/stdout" "blk.0.ffn_down_exps.weight.in_sum2       F32      256 x 8"
grep -v dataset "$box/stdout" | sed 1,2d >"$box/of_folder"
"$quantize" inspect "$box/named.gguf" | grep -v dataset | sed 1,2d >"$box/of_files"
is "a folder is its files, in order, without hidden ones and data" "$(cat "$box/of_folder")" "$(cat "$box/of_files")"

# Stopped after some texts and gone on with: the same bytes as in one go.
imatrix --text "$box/texts" --out "$box/part.gguf" --chunks 2
imatrix --text "$box/texts" --out "$box/part.gguf" --resume
is "other texts are not gone on with" 2 "$rc"
says "and that is said" "is of other texts"
cp "$box/all.gguf" "$box/whole.gguf"
imatrix --text "$box/texts" --out "$box/kill.gguf" --save-every 1 &
sleep 1.5
kill -TERM $! 2>/dev/null
wait $! 2>/dev/null
imatrix --text "$box/texts" --out "$box/kill.gguf" --resume
is "after an interruption --resume goes on" 0 "$rc"
cmp -s "$box/kill.gguf" "$box/whole.gguf"; report $? "to the same bytes"

# Adding up.
run "$ds4_eval" imatrix --add "$box/all.gguf" --add "$box/part.gguf" --out "$box/sum.gguf"
is "files are added up" 0 "$rc"
run "$ds4_eval" imatrix --out "$box/no.gguf";   is "nothing to do is wrong" 2 "$rc"
run "$ds4_eval" imatrix --add $mini --out "$box/no.gguf"
is "a model file is no importance" 2 "$rc"
says "and that is said" 'general.type is not "imatrix"'

# Model files. Two layers' experts are enough to see the difference.
printf 'ffn_*_exps q2_k 3-4\nffn_gate_inp f16\n' >"$box/some.txt"
make_with() {                           # make_with NAME OPTION...
    name=$1
    shift
    run "$quantize" requantize --from $mini --recipe "$box/some.txt" --out "$box/$name.gguf" "$@"
    is "requantize, $name" 0 "$rc"
}
make_with best --encoder best
make_with standard --encoder standard
make_with weighted --imatrix "$box/all.gguf"
! cmp -s "$box/best.gguf" "$box/standard.gguf"; report $? "the encoders differ"
! cmp -s "$box/best.gguf" "$box/weighted.gguf"; report $? "importance makes a difference"
run "$quantize" inspect "$box/weighted.gguf"
has "the file says what it was made with" "$box/stdout" "quantize.imatrix.file"
run "$quantize" requantize --from $mini --recipe q2-imatrix --out "$box/no.gguf"
is "the recipe q2-imatrix wants importance" 2 "$rc"
says "and says who makes it" "ds4-eval imatrix makes such a file"
printf '* q8_0\nimatrix maybe\n' >"$box/bad.txt"
run "$quantize" requantize --from $mini --recipe "$box/bad.txt" --out "$box/no.gguf"
says "a recipe cannot want it perhaps" "line 2: imatrix \"maybe\", expected imatrix required"
finish
