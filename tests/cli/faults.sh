#!/bin/sh
# faults.sh - a model file that is cut while it is in use, outputs that cannot be written,
# and Ctrl-C in every phase: one clear line, an exit code, and nothing left behind.
. tests/cli/tap.inc
. tests/cli/server.inc
quantize=$out/ds4-quantize
bench=$out/ds4-bench
size=$(wc -c <"$model")
whole=$model

fresh() { cp "$whole" "$box/m.gguf"; }          # a copy that may be cut
cut_file() { truncate -s $((size / 8)) "$box/m.gguf"; }

# wait_until COMMAND...: for at most 20 seconds.
wait_until() {
    left=400
    until "$@" || [ $left -eq 0 ]; do
        left=$((left - 1))
        sleep 0.05
    done
}
said() { grep -qF -e "$2" "$1" 2>/dev/null; }
longer() { [ "$(wc -c <"$1")" -gt "$2" ]; }

# Any token is as likely as any other: this seed draws 2,492 before one that ends, half not UTF-8.
endless="--raw -p Once --nothink -n 30000 --temp 100 --min-p 0 --seed 15"
awk 'BEGIN { for (i = 0; i < 6000; i++) printf "line %d of a long text. ", i }' >"$box/long.txt"

# background NAME... : starts a program with its output in the box.
background() {
    "$@" >"$box/stdout" 2>"$box/stderr" </dev/null &
    pid=$!
}

# ---- a file that is cut ---------------------------------------------------------------------

for how in "--experts resident" "--experts stream --expert-cache 2M"; do
    fresh
    background "$ds4" -m "$box/m.gguf" -t 2 $endless $how
    wait_until longer "$box/stdout" 50
    cut_file
    wait $pid
    is "an answer fails when the file is cut, $how" 1 $?
    has "the file is named" "$box/stderr" "m.gguf: truncated"

    fresh
    background "$ds4" -m "$box/m.gguf" -t 2 --raw --prompt-file "$box/long.txt" -n 1 -c 200000 $how
    wait_until said "$box/stderr" " MiB"
    sleep 0.5
    cut_file
    wait $pid
    is "a prompt fails when the file is cut, $how" 1 $?
    has "the file is named" "$box/stderr" "m.gguf: truncated"
done

fresh
background "$bench" -m "$box/m.gguf" -t 2 --ctx-start 64 --ctx-max 64 --gen-tokens 100000 --json "$box/b.json"
wait_until said "$box/stderr" " MiB"
sleep 1
cut_file
wait $pid
is "ds4-bench fails when the file is cut" 1 $?
has "the file is named" "$box/stderr" "m.gguf: truncated"
[ ! -e "$box/b.json" ]
report $? "and writes no results"

fresh
model=$box/m.gguf
start_server
body='{"messages":[{"role":"user","content":"Hello"}],"max_tokens":8}'
post /v1/chat/completions "$body"
is "the server answers" 200 "$status"
cut_file
post /v1/chat/completions "$body"
is "and says that it cannot when the file is cut" 500 "$status"
has "with the reason" "$box/stdout" "m.gguf: truncated"
post /v1/chat/completions "$body"
is "again and again" 500 "$status"
ask /health
is "it still listens, but is not well" 503 "$status"
has "and says why" "$box/stdout" '"status":"failing","reason":'
stop_server
is "and ends cleanly" 0 $rc
model=$whole

# ---- outputs that cannot be written ---------------------------------------------------------

# A limit on the size of files stands for a full disk; shells that cannot ignore its signal
# or do not know the limit skip.
limited() {                             # limited BLOCKS COMMAND...
    n_blocks=$1
    shift
    { (trap '' XFSZ && ulimit -f "$n_blocks" && exec "$@") 2>&1 </dev/null; echo "rc $?"; } |
        cat >"$box/stderr"
    rc=$(sed -n 's/^rc //p' "$box/stderr")
}
nothing_left() { [ -z "$(ls "$box/o")" ]; }
mkdir "$box/o"

limited 100 "$quantize" synth --like flash-q2 --layers 1 --experts 2 --out "$box/o/a.gguf"
is "synth without room" 1 $rc
has "names its file" "$box/stderr" "o/a.gguf"
nothing_left
report $? "and leaves nothing"

small="-m $model -t 2 --ctx-start 16 --ctx-max 16 --gen-tokens 4"
limited 0 "$bench" $small --csv "$box/o/a.csv"
is "ds4-bench without room" 1 $rc
has "names its file" "$box/stderr" "o/a.csv"
nothing_left
report $? "and leaves nothing"
limited 0 "$ds4" -m "$model" --raw -p Hi -n 2 --dump-logprobs "$box/o/l.json"
is "--dump-logprobs without room" 1 $rc
has "names its file" "$box/stderr" "o/l.json"
nothing_left
report $? "and leaves nothing"
limited 0 "$ds4_eval" logits -m tests/golden/flashlike.gguf --tokens tests/golden/flashlike.tokens.i32 \
    --out "$box/o/l.f32"
is "ds4-eval logits without room" 1 $rc
has "names its file" "$box/stderr" "o/l.f32"
nothing_left
report $? "and leaves nothing"
if [ -w /dev/full ]; then
    for command in "$bench $small" "$ds4 -m $model --raw -p Hi -n 2" "$ds4 -m $model --plan"; do
        $command >/dev/full 2>"$box/stderr" </dev/null
        is "a full standard output: ${command##*/}" 1 $?
        has "is told" "$box/stderr" "standard output"
    done
else
    skip "a full standard output" "no /dev/full"
fi

# ---- Ctrl-C ------------------------------------------------------------------------------------

interrupt_now() {                       # interrupt_now NAME [SIGNAL]: the running program must end by it
    kill -"${2:-INT}" $pid
    wait $pid
    is "$1" 130 $?
    has "and says so" "$box/stderr" "interrupted"
}

background "$ds4" -m "$model" -t 2 $endless
wait_until longer "$box/stdout" 50
kill -INT $pid
wait $pid
is "Ctrl-C while it answers" 130 $?
background "$ds4" -m "$model" -t 2 --raw --prompt-file "$box/long.txt" -n 1 -c 200000
wait_until said "$box/stderr" " MiB"
sleep 0.3
interrupt_now "Ctrl-C while it reads"
background "$bench" -m "$model" -t 2 --ctx-start 64 --ctx-max 64 --gen-tokens 100000 --json "$box/o/b.json"
wait_until said "$box/stderr" " MiB"
sleep 0.5
interrupt_now "Ctrl-C in ds4-bench"
made() { ls "$box/o" | grep -q .; }
# A hang-up that the shell was told to ignore (nohup) is ignored by all that it starts, unless env undoes it.
hup=HUP heard=
if env --default-signal=HUP true 2>/dev/null; then
    heard="env --default-signal=HUP"
elif [ -n "$(sh -c 'kill -HUP $$; echo ignored' 2>/dev/null)" ]; then
    hup=
    skip "SIGHUP in synth" "ignored here"
fi
for signal in INT TERM $hup; do
    # shellcheck disable=SC2086
    background $heard "$quantize" synth --like flash-q2 --layers 1 --experts 2 --out "$box/o/a.gguf"
    wait_until made
    interrupt_now "SIG$signal in synth" $signal
    nothing_left
    report $? "nothing is left"
done
finish
