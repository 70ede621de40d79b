#!/bin/sh
# tokens_golden.sh - texts become the token ids of the reference tokenizer: the vocabulary file
# made from its tokenizer.json, read without weights.
. tests/cli/tap.inc

data=tests/golden/data
golden=$data/tokenizer_golden.jsonl
run "$out/ds4-quantize" vocab --tokenizer "$data/deepseek_v4_tokenizer.json" --out "$box/vocab.gguf"
is "the vocabulary file is written" 0 $rc

# compare NAME SED_OF_INPUT SED_OF_IDS
compare() {
    sed -n "$2" "$golden" >"$box/input"
    sed -n "$3" "$golden" >"$box/expected"
    "$ds4_eval" tokens -m "$box/vocab.gguf" <"$box/input" >"$box/found" 2>"$box/stderr"
    cmp -s "$box/expected" "$box/found"
    report $? "$1: $(wc -l <"$box/expected" | tr -d ' ') texts"
}
compare "special tokens recognised" 's/^{/{"special": true, /p' 's/.*"ids": \(\[[^]]*\]\).*/\1/p'
compare "special tokens as text" '/"ids_plain": /p' 's/.*"ids_plain": \(\[[^]]*\]\).*/\1/p'
run "$ds4" -m "$box/vocab.gguf" --dump-tokens -p 'Hello!'
is "ds4 --dump-tokens reads it too" "[19923, 3]" "$(head -n 1 "$box/stdout")"
run "$ds4" -m "$box/vocab.gguf" -p hi
is "a file without weights cannot answer" 2 $rc
finish
