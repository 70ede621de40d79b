#!/bin/sh
# options.sh - help, version, and what programs say about a wrong command line.
. tests/cli/tap.inc

for program in ds4 ds4-eval; do
    run "$out/$program" --help
    is "$program --help succeeds" 0 "$rc"
    has "$program --help shows its usage" "$box/stdout" "Usage: $program"
    is "$program --help is silent on standard error" "" "$(cat "$box/stderr")"
    run "$out/$program" --version
    is "$program --version" "0 $program 0." "$rc $(cut -c1-$((${#program} + 3)) "$box/stdout")"
    run "$out/$program" --nonsense
    is "$program refuses an unknown option" 2 "$rc"
    has "$program names it" "$box/stderr" "$program: unknown option --nonsense"
    is "$program prints nothing else" "" "$(cat "$box/stdout")"
done
run "$ds4" -h
is "ds4 -h is help too" 0 "$rc"
for command in logits diff tokens ppl kld report corpus imatrix steer mini; do
    run "$ds4_eval" $command --help
    has "ds4-eval $command --help" "$box/stdout" "Usage: ds4-eval $command"
done
run "$ds4_eval"
is "ds4-eval needs a command" 2 "$rc"
run "$ds4_eval" nonsense
has "ds4-eval names an unknown command" "$box/stderr" "ds4-eval: unknown command nonsense"

wrong() {                               # wrong MESSAGE ARGUMENT...
    message=$1
    shift
    run "$ds4" "$@"
    is "ds4 $*: code" 2 "$rc"
    is "ds4 $*: message" "$message" "$(head -n 1 "$box/stderr")"
}
wrong "ds4: missing value for -n" -n
wrong "ds4: missing value for --tokens" --tokens
wrong "ds4: missing value for -sys" -sys
wrong "ds4: unknown option -x" -x
wrong "ds4: unknown option --mtp" --mtp draft.gguf
wrong "ds4: missing value for --backend" --backend
run "$ds4" --backend tpu -m "$model" -p x
is "ds4 --backend tpu: code" 2 "$rc"
has "ds4 --backend tpu: message" "$box/stderr" 'ds4: there is no backend "tpu" in this build, which has: cpu'
wrong "ds4: the cpu backend has no device 7, only device 0" --backend cpu --device 7 -m "$model" -p x
wrong "ds4: invalid value for --device: x" --device x
wrong "ds4: the cpu backend has no memory of its own: --mem limits what it uses" \
    --device-mem 1G -m "$model" -p x
for program in ds4 ds4-server ds4-bench "ds4-eval logits" "ds4-eval ppl" "ds4-eval mini"; do
    # shellcheck disable=SC2086
    run $out/$program --devices
    is "$program --devices" "0 cpu 0" "$rc $(sed -n 's/^\(cpu [0-9]*\)  .* computes as .*/\1/p' "$box/stdout")"
done
wrong "ds4: unknown option --tem" --tem 1
wrong "ds4: no value is taken by --think" --think=yes
wrong "ds4: unexpected argument hello" hello
for value in abc 1x "" " 1" 1e999 nan inf -1 0x1 1,5; do
    wrong "ds4: invalid value for --temp: $value" --temp "$value"
done
for value in abc 0 -1 +1 1.5 "" " 1" "1 " 0x10 99999999999999999999; do
    wrong "ds4: invalid value for -n: $value" -n "$value"
    wrong "ds4: invalid value for --threads: $value" --threads="$value"
done
wrong "ds4: invalid value for --top-p: 0" --top-p 0
wrong "ds4: invalid value for --top-p: 1.1" --top-p 1.1
wrong "ds4: invalid value for --min-p: 2" --min-p 2
wrong "ds4: invalid value for -c: 2000000" -c 2000000
wrong "ds4: invalid value for --seed: 18446744073709551616" --seed 18446744073709551616
wrong "ds4: invalid value for --stop: " --stop ""
wrong "ds4: invalid value for --logprobs-top-k: 129" --logprobs-top-k 129
wrong "ds4: give either -p or --prompt-file, not both" -p a --prompt-file b
wrong "ds4: --json needs a prompt: add -p or --prompt-file" --json
finish
