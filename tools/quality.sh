#!/bin/sh
# quality.sh - measure the bundled model in every recipe and write docs/QUALITY.md with its pictures.
#
#   tools/quality.sh [NAME=FILE...]
#
# More model files of the same vocabulary may be named; they stand behind the recipes in the report. Files are made in
# build/quality and used again when they are there. Every odd case of the model's own evaluation gives the importance,
# every even one is measured: no text is in both.
set -eu
box=build/quality
eval=build/ds4-eval
quantize=build/ds4-quantize
checkpoint=models/ds4-mini
mkdir -p "$box"

make_file() {                           # make_file NAME OPTION...
    name=$1
    shift
    [ -e "$box/$name.gguf" ] || "$quantize" convert --from $checkpoint --name mini --out "$box/$name.gguf" "$@"
}

grep -v '"recall' models/eval/cases.jsonl >"$box/cases.jsonl"
"$eval" corpus --cases "$box/cases.jsonl" --every 2 --first 1 --out "$box/calibration.txt"
"$eval" corpus --cases "$box/cases.jsonl" --every 2 --out "$box/measured.txt"
make_file native --recipe native
[ -e "$box/imatrix" ] ||
    "$eval" imatrix -m "$box/native.gguf" --text "$box/calibration.txt" --special --out "$box/imatrix"
[ -e "$box/base" ] ||
    "$eval" kld -m "$box/native.gguf" --text "$box/measured.txt" --special --ctx 512 --save "$box/base"
make_file q2 --recipe q2
make_file q2-imatrix --recipe q2-imatrix --imatrix "$box/imatrix"
make_file q2-standard --recipe q2 --encoder standard
make_file q2-fast --recipe q2-fast
make_file q4 --recipe q4

for name in q2 q2-imatrix q2-standard q2-fast q4 native; do
    set -- "$@" --compare "$name=$box/$name.gguf"
done
# Files of the command line come first in the list: they are turned into options behind the recipes.
n=$#
others=
while [ "$n" -gt 12 ]; do
    others="$others --compare $1"
    shift
    n=$((n - 1))
done
# shellcheck disable=SC2086
"$eval" report --base "$box/base" --out docs/QUALITY.md "$@" $others \
    --note "The bundled model (24 M parameters) in every recipe, compared with the checkpoint's own experts (\`native\`). It shows
which file is better than which; how large the differences are in V4 Flash is another question. Made by \`tools/quality.sh\`,
which takes more files to compare." \
    --note "Texts: conversations of \`models/eval/cases.jsonl\` without the recalls, up to where the model answers; the odd ones
gave the importance, the even ones are measured. \`standard\` files are written by the encoders that other
programs use, all others by the ones that search longer. \`q2-q4\` differs from \`q2\` from layer 37 on, which this
model does not have; its \`attn_q_b\` has rows of 128, no whole blocks of Q4_K, and stays Q8_0 in \`q2-fast\`."
