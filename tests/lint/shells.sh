#!/bin/sh
# shells.sh - each shell reads the completions that are made for it.
. tests/cli/tap.inc

for program in ds4 ds4-eval ds4-quantize ds4-bench ds4-server; do
    "$out/$program" --help >"$box/help"
    for shell in bash zsh fish; do
        if command -v $shell >/dev/null; then
            awk -v shell=$shell -v program=$program -f tools/completions.awk "$box/help" >"$box/$shell"
            run $shell -n "$box/$shell"
            is "$program: $shell can read it" "0" "$rc$(cat "$box/stderr")"
        else
            skip "$program: $shell can read it" "no $shell here"
        fi
    done
done
finish
