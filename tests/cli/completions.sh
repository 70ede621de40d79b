#!/bin/sh
# completions.sh - what shells offer is what programs take: each option of --help, and no other.
. tests/cli/tap.inc

options_of() { sed -n 's/^  \(-[a-zA-Z0-9],\|   \) \(--[a-z0-9-]*\).*/\2/p' "$1" | sort -u; }

for program in ds4 ds4-eval ds4-quantize ds4-bench ds4-agent ds4-server; do
    case $program in
        ds4-eval)     commands="logits diff tokens ppl kld report corpus imatrix steer mini" ;;
        ds4-quantize) commands="convert requantize splice split merge inspect verify vocab synth" ;;
        *)            commands= ;;
    esac
    { "$out/$program" --help; for command in $commands; do "$out/$program" "$command" --help; done; } >"$box/help"
    options_of "$box/help" >"$box/options"
    for shell in bash zsh fish; do
        awk -v shell=$shell -v program=$program -f tools/completions.awk "$box/help" >"$box/$shell"
        case $shell in
            bash) sed -n "s/.*compgen -W '\(--[^']*\)'.*/\1/p" "$box/bash" | tr ' ' '\n' | sort -u >"$box/offered" ;;
            zsh)  sed -n "s/^    '\(--[a-z0-9-]*\)[[].*/\1/p" "$box/zsh" | sort -u >"$box/offered" ;;
            fish) sed -n 's/^complete .* -l \([a-z0-9-]*\) .*/--\1/p' "$box/fish" | sort -u >"$box/offered" ;;
        esac
        is "$program: $shell offers what --help lists" "$(tr '\n' ' ' <"$box/options")" "$(tr '\n' ' ' <"$box/offered")"
    done
done

offers() {                          # offers NAME EXPECTED WORD...: the last word is being written
    name=$1 expected=$2
    shift 2
    is "$name" "$expected" "$(bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ds4_server
        echo "${COMPREPLY[*]}"' - "$box/bash" "$@")"
}
offers "values of an option" "text json" ds4-server --log-format ""
offers "the rest of a value" "json" ds4-server --log-format j
offers "the rest of an option" "--log-level --log-format" ds4-server --log
offers "nothing for a number" "" ds4-server --port ""
offers "files" "tests/cli/tap.inc" ds4-server -m tests/cli/tap
finish
