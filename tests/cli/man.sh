#!/bin/sh
# man.sh - the manual pages name the options that the programs have, no more and no fewer.
. tests/cli/tap.inc

# The long options of a program and its commands, as --help lists them.
of_help() {
    program=$1
    shift
    { "$program" --help; for command in "$@"; do "$program" $command --help; done; } 2>&1 |
        sed -n 's/^  \(-[a-zA-Z],\|   \) --\([a-z0-9-]*\).*/\2/p' | sort -u
}

# Those that a page lists with .It; several may stand on one line.
of_page() {
    grep '^\.It Fl' "$1" | tr ' ' '\n' | sed -n 's/^-\([a-z0-9-]*\)$/\1/p' | sort -u
}

for name in ds4 ds4-eval ds4-quantize ds4-bench ds4-server ds4-agent; do
    case $name in
        ds4-eval)     commands="logits diff tokens ppl kld report corpus imatrix steer mini" ;;
        ds4-quantize) commands="convert requantize splice split merge inspect verify vocab synth" ;;
        *)            commands= ;;
    esac
    # shellcheck disable=SC2086
    of_help "$out/$name" $commands >"$box/help"
    of_page "man/$name.1" >"$box/page"
    # Said once for all commands, in words.
    case $name in
        ds4-eval|ds4-quantize) printf 'help\nversion\n' | sort -u - "$box/page" -o "$box/page" ;;
    esac
    is "man/$name.1 has the options of --help" "" "$(comm -23 "$box/help" "$box/page" | tr '\n' ' ')"
    is "and no others" "" "$(comm -13 "$box/help" "$box/page" | tr '\n' ' ')"
    is "man/$name.1 begins as a page does" ".Dt $(echo "$name" | tr a-z A-Z) 1" "$(sed -n 2p "man/$name.1")"
done
finish
