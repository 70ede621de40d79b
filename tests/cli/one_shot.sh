#!/bin/sh
# one_shot.sh - ds4 with a prompt: what goes to standard output, and the dumps. The weights of
# the model are noise, so nothing is said about what it answers.
. tests/cli/tap.inc

answer="$ds4 -m $model -n 12 --seed 5"

run $answer -p hello --nothink
is "an answer succeeds" 0 $rc
is "one line on standard error: the plan" 1 "$(wc -l <"$box/stderr")"
has "it says what is in memory" "$box/stderr" "MiB (weights"
cp "$box/stdout" "$box/first"
run $answer -p hello --nothink
cmp -s "$box/stdout" "$box/first"
report $? "the same seed gives the same answer"
run $answer -p hello --nothink --threads 1
cmp -s "$box/stdout" "$box/first"
report $? "on one thread too"
printf 'hello' >"$box/prompt"
run $answer --prompt-file "$box/prompt" --nothink
cmp -s "$box/stdout" "$box/first"
report $? "the same from a file"
printf 'hello\n' | $answer -p - --nothink >"$box/stdout" 2>/dev/null
cmp -s "$box/stdout" "$box/first"
report $? "the same from standard input"
run $answer -p hello
is "reasoning does not go into a pipe" "" "$(cat "$box/stdout")"
run $answer -p hello --nothink --stats
has "--stats prints the speeds" "$box/stderr" "ds4: prefill: "

run $answer -p hello --json
is "--json succeeds" 0 $rc
is "--json is one line" 1 "$(wc -l <"$box/stdout" | tr -d ' ')"
for member in model text reasoning tool_calls finish_reason seed usage times; do
    has "--json has $member" "$box/stdout" "\"$member\": "
done
has "--json counts the answer" "$box/stdout" '"completion_tokens": 12'

run $answer -p hello --raw --json
has "--raw adds only the beginning-of-sentence token" "$box/stdout" '"prompt_tokens": 6'
bos=$(printf '<\357\275\234begin\342\226\201of\342\226\201sentence\357\275\234>')
run $answer -p "${bos}hello" --raw --json
has "--raw takes a text that begins with it as rendered" "$box/stdout" '"prompt_tokens": 6'

run "$ds4" -m "$model" --plan
is "--plan of what fits" 0 $rc
has "--plan names the parts" "$box/stdout" "KV"
run "$ds4" -m "$model" --plan --mem 1M
is "--plan of what does not fit" 1 $rc
has "--plan says what would" "$box/stdout" "are needed"
run $answer -p hello --mem 1M
is "a start that cannot fit is refused" 1 $rc
has "with the numbers" "$box/stderr" "may be used (--mem)"
run "$ds4" -m "$model" -p hello --mem 12Q
is "a size that is none" 2 $rc
has "is named" "$box/stderr" "invalid value for --mem: 12Q"

run "$ds4" -m "$model" --dump-tokens -p 'a <think>
b'
is "--dump-tokens lists the ids first" 1 "$(head -n 1 "$box/stdout" | grep -cE '^\[[0-9]+(, [0-9]+)*\]$')"
is "--dump-tokens has a line for each" 5 "$(tail -n +2 "$box/stdout" | grep -cE '^ *[0-9]+  ')"
has "--dump-tokens recognises special tokens" "$box/stdout" "  <think>"
has "--dump-tokens escapes" "$box/stdout" '  \n'

run $answer -p hello --dump-logprobs "$box/logprobs.json" --logprobs-top-k 3
is "--dump-logprobs prints nothing" "0 " "$rc $(cat "$box/stdout")"
has "--dump-logprobs writes steps" "$box/logprobs.json" '{"step": 0, "selected": {"id": '
is "--dump-logprobs has top-k entries for each step" 3 \
   "$(grep -F '"step": 0,' "$box/logprobs.json" | grep -oF '"logprob": ' | wc -l | tr -d ' ')"

run "$ds4" -m "$model" --inspect
is "--inspect succeeds" 0 $rc
for text in "golden flashlike" "7 layers" "deepseek4.block_count  u32  7" "tensors by type" "token_embd.weight"; do
    has "--inspect shows $text" "$box/stdout" "$text"
done

run $answer -p hello -c 20
is "a prompt larger than the context fails" 1 $rc
has "and says so" "$box/stderr" "the context of 20 tokens"
run $answer --prompt-file "$box/none"
is "a missing prompt file fails" 1 $rc
has "and is named" "$box/stderr" "$box/none"
$answer -p hello --nothink >/dev/full 2>"$box/stderr"
is "a full disk is a failure" 1 $?

printf 'first line\nsecond line\n' | "$ds4" -m "$model" --nothink -n 4 --seed 5 --stats >"$box/stdout" 2>"$box/stderr"
is "lines on standard input are a conversation" 0 $?
is "with an answer to each" 2 "$(grep -c 'ds4: prefill: ' "$box/stderr")"
printf '/ctx 64\n/think\n/foo\n/quit\nnever\n' | "$ds4" -m "$model" -n 4 --stats >"$box/stdout" 2>"$box/stderr"
is "commands succeed" 0 $?
has "/ctx is confirmed" "$box/stderr" "the context now has 64 tokens"
has "an unknown command is named" "$box/stderr" "there is no command /foo"
is "/quit ends" 0 "$(grep -c 'ds4: prefill: ' "$box/stderr")"

# The default is looked for in the working folder, where a user may have a model.
mkdir "$box/bare"
ln -s "$PWD/models" "$box/bare/models"
case $ds4 in
    /*) default=$ds4 ;;
    *)  default=$PWD/$ds4 ;;
esac
(cd "$box/bare" && "$default" --nothink --temp 0 -p Hello) >"$box/stdout" 2>"$box/stderr" </dev/null
is "without -m the bundled model answers" 0 $?
has "and is named" "$box/stderr" "using the model models/ds4-mini.gguf"
is "it answers something" 1 "$(grep -c . "$box/stdout")"

# Reading this prompt takes long enough to be interrupted.
head -c 200000 /dev/zero | tr '\0' x >"$box/long"
"$ds4" -m "$model" -c 250000 --prompt-file "$box/long" >"$box/stdout" 2>"$box/stderr" &
pid=$!
sleep 1
kill -INT $pid
wait $pid
is "an interrupted answer ends with 130" 130 $?
has "and says so" "$box/stderr" "ds4: interrupted"

printf '{"text": "a<think>"}\n\n{"text": "<think>", "special": true}\n' | "$ds4_eval" tokens -m "$model" >"$box/stdout"
is "tokens gives a line for each text" 2 "$(wc -l <"$box/stdout" | tr -d ' ')"
is "tokens recognises special tokens when asked" 1 "$(tail -n 1 "$box/stdout" | grep -cE '^\[[0-9]+\]$')"
printf '{"text": 3}\n' | "$ds4_eval" tokens -m "$model" >"$box/stdout" 2>"$box/stderr"
is "tokens refuses what is no text" 1 $?
has "and names the line" "$box/stderr" "line 1"
head -c 2000 LICENSE >"$box/text"
run "$ds4_eval" ppl -m "$model" --file "$box/text" --ctx 300
is "ppl succeeds" 0 $rc
is "ppl prints its summary" 1 \
   "$(grep -cE '^tokens=300 scored=268 nll=[0-9.]+ avg_nll=[0-9.]+ ppl=[0-9.]+$' "$box/stdout")"
finish
