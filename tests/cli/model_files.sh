#!/bin/sh
# model_files.sh - recipes, and the commands of ds4-quantize that take a model file: what they make
# opens, answers, and is byte for byte what it must be.
set -u
out=${OUT:-build}
quantize=$out/ds4-quantize
mini=models/ds4-mini.gguf
box=$out/cli_model_files
n=0 failed=0

report() {                              # report NAME, with $? of the check before
    if [ "$1" -eq 0 ]; then n=$((n + 1)); echo "ok $n - $2"; return; fi
    n=$((n + 1)) failed=1
    echo "not ok $n - $2"
    printf '%s\n' "$text" | sed 's/^/# /'
}
run() { text=$(timeout 900 "$quantize" "$@" 2>&1 </dev/null); rc=$?; }
says() { [ "$rc" -eq "$2" ] && printf '%s\n' "$text" | grep -qF -- "$3"; report $? "$1"; }
same() { text=$(cmp "$2" "$3" 2>&1); report $? "$1"; }
types() { "$quantize" inspect "$1" | grep -E "^  $2 +$3 "; }
has() { text=$(types "$2" "$3" "$4"); [ -n "$text" ]; report $? "$1"; }
answers() {                             # a model that was made in good order still knows its name
    text=$(timeout 60 "$out/ds4" -m "$2" --nothink -p "What is ds4?" --temp 0 -n 30 2>/dev/null || true)
    printf '%s\n' "$text" | grep -q "ds4"
    report $? "$1"
}

rm -rf "$box" && mkdir -p "$box"
# Recipes from a checkpoint.
for recipe in q2 q2-fast q4 native; do
    run convert --from models/ds4-mini --recipe $recipe --name mini --out "$box/$recipe.gguf"
    says "convert by recipe $recipe" 0 "288 tensors"
done
has "q2 has experts in IQ2_XXS" "$box/q2.gguf" blk.0.ffn_gate_exps.weight IQ2_XXS
has "and Q2_K" "$box/q2.gguf" blk.7.ffn_down_exps.weight Q2_K
has "vectors stay F32" "$box/q2.gguf" blk.3.attn_norm.weight F32
has "q2-fast has shared experts in Q6_K" "$box/q2-fast.gguf" blk.3.ffn_up_shexp.weight Q6_K
has "and attention in Q4_K" "$box/q2-fast.gguf" blk.3.attn_output_a.weight Q4_K
answers "a file by recipe answers" "$box/q2-fast.gguf"
run convert --from models/ds4-mini --experts q4 --name mini --out "$box/short.gguf"
same "the short options say the recipe q4" "$box/short.gguf" "$box/q4.gguf"

# The trellis in one tensor, for its search takes microseconds a weight; the rest stays as it is.
echo 'ffn_down_exps t66 3' >"$box/trellis.txt"
run requantize --from $mini --recipe "$box/trellis.txt" --out "$box/trellis.gguf"
says "requantize to the trellis" 0 "1 of them changed"
has "down of layer 3 is T66" "$box/trellis.gguf" blk.3.ffn_down_exps.weight T66
has "the other layers are not" "$box/trellis.gguf" blk.4.ffn_down_exps.weight MXFP4
run inspect "$box/trellis.gguf"
says "the file says which version it has" 0 "ds4.t66.version"
run verify "$box/trellis.gguf"
says "a trellis file is whole" 0 "whole, and every weight is a finite number"
answers "a trellis file answers" "$box/trellis.gguf"
run requantize --from "$box/trellis.gguf" --recipe "$box/trellis.txt" --out "$box/again.gguf"
same "requantized again it is the same file" "$box/trellis.gguf" "$box/again.gguf"

# A recipe of one's own: layers, patterns, the last line wins.
cat >"$box/own.txt" <<'END'
# layers of their own
file-type 1
*             q8_0
ffn_*_exps    q4_k        # all layers
ffn_*_exps    q8_0  2-3
ffn_*_exps    bf16  mtp
END
run convert --from models/ds4-mini --recipe "$box/own.txt" --out "$box/own.gguf"
says "a recipe of one's own" 0 "288 tensors"
has "layer 1" "$box/own.gguf" blk.1.ffn_up_exps.weight Q4_K
has "layer 2" "$box/own.gguf" blk.2.ffn_up_exps.weight Q8_0
has "layer 4" "$box/own.gguf" blk.4.ffn_up_exps.weight Q4_K
has "the block of the next tokens" "$box/own.gguf" mtp.0.ffn_up_exps.weight BF16

refuse() {                              # refuse NAME WORDS, the recipe on standard input
    cat >"$box/bad.txt"
    run convert --from models/ds4-mini --recipe "$box/bad.txt" --out "$box/no.gguf"
    says "$1" 2 "$2"
}
echo "* q9_0" | refuse "an unknown type" 'line 1: no tensor can be written as "q9_0"'
printf '* q8_0\nffn_gat_exps q4_k\n' | refuse "a slip in a name" 'line 2: no tensor of the model is called "ffn_gat_exps"'
printf '* q8_0\nffn_*_exps q4_k 5-2\n' | refuse "layers backwards" 'line 2: "5-2" is not a layer'
printf '* q8_0\nffn_gate_exps q4_k\n' | refuse "gate and up apart" 'they need one type'
echo "attn_* q8_0" | refuse "a tensor without a type" 'no line gives a type to "token_embd.weight"'
echo "*" | refuse "one word" "line 1 has one word"
printf '# nothing\n' | refuse "an empty recipe" "no line names a type"
head -c 300 /dev/zero | refuse "bytes that are no text" "line 1 is no text"
run convert --from models/ds4-mini --recipe nowhere --out "$box/no.gguf"
says "a recipe that does not exist" 2 'no recipe "nowhere"'
run convert --from models/ds4-mini --recipe q2 --experts q4 --out "$box/no.gguf"
says "two ways to say the types" 2 "cannot be given with --recipe"

# Pieces.
run split --from $mini --max-size 5M --out "$box/mini"
says "split" 0 "in 4 files"
run merge --from "$box/mini-00003-of-00004.gguf" --out "$box/whole.gguf"
says "merge, by the name of any piece" 0 "in 1 file"
same "split and merged again: every byte" "$box/whole.gguf" $mini
answers "the pieces answer" "$box/mini-00001-of-00004.gguf"
run split --from $mini --max-size 1K --out "$box/tiny"
says "a piece smaller than a tensor" 2 "more than a piece of 1024 holds"
rm "$box/mini-00002-of-00004.gguf"
run merge --from "$box/mini-00001-of-00004.gguf" --out "$box/no.gguf"
says "a missing piece" 1 "piece 2 of 4"

# Other types from a model file.
run requantize --from "$box/native.gguf" --recipe native --out "$box/again.gguf"
says "requantize to its own recipe" 0 "0 of them changed"
run requantize --from "$box/native.gguf" --recipe q4 --threads 1 --out "$box/q4-1.gguf"
says "requantize" 0 "27 of them changed"
run requantize --from "$box/native.gguf" --recipe q4 --threads 3 --out "$box/q4-3.gguf"
same "the number of threads changes nothing" "$box/q4-1.gguf" "$box/q4-3.gguf"
# MXFP4 holds the checkpoint's experts without loss, so that the way through it leads to the same file.
run splice --from "$box/q4.gguf" --with "$box/q4-1.gguf" --take 'ffn_*_exps' --out "$box/way.gguf"
says "splice" 0 "27 of them changed"
same "a lossless file on the way loses nothing" "$box/way.gguf" "$box/q4.gguf"
run splice --from "$box/q2.gguf" --with "$box/q4.gguf" --take 'ffn_*_exps@6-7' --out "$box/mixed.gguf"
says "splice of two layers" 0 "6 of them changed"
has "a layer before" "$box/mixed.gguf" blk.5.ffn_up_exps.weight IQ2_XXS
has "a layer that was taken" "$box/mixed.gguf" blk.6.ffn_up_exps.weight Q4_K
answers "the spliced file answers" "$box/mixed.gguf"
run splice --from "$box/q2.gguf" --with "$box/q4.gguf" --take 'ffn_x' --out "$box/no.gguf"
says "a pattern that fits nothing" 2 'no tensor of the model is called "ffn_x"'
run splice --from "$box/q2.gguf" --take 'ffn_*' --out "$box/no.gguf";   says "splice with nothing" 2 "missing option --with"
run requantize --from $mini --out "$box/no.gguf";                       says "no recipe" 2 "missing option --recipe"

# Verify.
run verify $mini
says "verify" 0 "whole, and every weight is a finite number"
sum=$(sha256sum $mini 2>/dev/null || shasum -a 256 $mini)
sum=${sum%% *}
printf '%s\n' "$text" | grep -q "^$sum  "; report $? "the digest is that of the system's own program"
run verify $mini --sha256 "$sum";         says "the wanted digest" 0 "whole"
run verify $mini --sha256 "0${sum#?}";          says "another digest than wanted" 2 "its SHA-256 is not"
run verify $mini --sha256 12;                   says "no digest" 2 "invalid value for --sha256: 12"
run verify "$box/none.gguf";                    says "no file" 1 "none.gguf"
run verify;                                     says "no name" 2 "missing model file"
cp "$box/native.gguf" "$box/nan.gguf"           # the last bytes are scales and codes of MXFP4: 255 is NaN
size=$(wc -c <"$box/nan.gguf")
head -c 40000 /dev/zero | tr '\000' '\377' | dd of="$box/nan.gguf" bs=1 seek=$((size - 900000)) conv=notrunc 2>/dev/null
run verify "$box/nan.gguf";                     says "a number that is none" 2 "has NaN or infinity"

run inspect "$box/q2.gguf";                     says "inspect" 0 "tensors, 288"
run inspect models/README.md;                   says "inspect something else" 2 "README.md"
text=$(find "$box" -name 'no*.gguf'); [ -z "$text" ]; report $? "what was refused left no file"

rm -rf "$box"
echo "1..$n"
exit $failed
