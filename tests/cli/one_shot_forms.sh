#!/bin/sh
# one_shot_forms.sh - ds4 alone holds an answer to a form, closes long reasoning and ends loops,
# as the server does. The weights of the model are noise: what fits is the grammar's doing.
. tests/cli/tap.inc

answer="$ds4 -m $model -n 80 --seed 5"

cat >"$box/colour.json" <<'END'
{"type": "object", "properties": {"colour": {"enum": ["red", "green"]}, "n": {"type": "boolean"}},
 "required": ["colour", "n"], "additionalProperties": false}
END
for seed in 1 2 3; do
    run "$ds4" -m "$model" -n 80 --seed $seed -p "Which?" --nothink --temp 0.5 --json-schema "$box/colour.json"
    is "an answer with a schema succeeds, seed $seed" 0 $rc
    tr -d ' \n\t' <"$box/stdout" >"$box/dense"
    if grep -qxE '\{"colour":"(red|green)","n":(true|false)\}' "$box/dense"; then
        report 0 "it fits the schema, seed $seed"
    else
        report 1 "it fits the schema, seed $seed"
        head -n 3 "$box/stdout" | sed 's/^/# /'
    fi
    run "$ds4" -m "$model" -n 80 --seed $seed -p "Which?" --nothink --regex '[0-9]{3}-[0-9]{4}'
    if grep -qxE '[0-9]{3}-[0-9]{4}' "$box/stdout"; then
        report 0 "it matches the pattern, seed $seed"
    else
        report 1 "it matches the pattern, seed $seed"
        head -n 3 "$box/stdout" | sed 's/^/# /'
    fi
done
run $answer -p "Which?" --raw --regex '(yes|no)'
if grep -qxE 'yes|no' "$box/stdout"; then report 0 "also with --raw"; else report 1 "also with --raw"; fi

# Each answer of a conversation, in lines of standard input too.
printf 'one\ntwo\n' | "$ds4" -m "$model" -n 40 --seed 5 --nothink --regex '[ab]{4}' >"$box/stdout" 2>"$box/stderr"
is "a conversation with a pattern succeeds" 0 $?
is "each of its answers matches" 2 "$(grep -cxE '[ab]{4}' "$box/stdout")"

run $answer -p "Which?" --think-budget 5 --json --regex 'done'
is "reasoning with a budget succeeds" 0 $rc
has "the answer follows" "$box/stdout" '"text": "done"'
has "reasoning ended at its budget" "$box/stdout" '"reasoning_tokens": 6'

run "$ds4" -m "$model" -n 2000 --seed 5 -p "Again" --nothink --temp 0 --regex '(ab){1000}' --loop-tokens 100
is "an answer in a loop is ended" 0 $rc
has "it is said why" "$box/stderr" "the answer repeated itself and was ended (--loop-tokens)"

printf '{"type": "object", "not": {"type": "string"}, "dependentSchemas": 7' >"$box/bad.json"
run $answer -p "Which?" --json-schema "$box/bad.json"
is "a schema that does not parse is refused" 2 $rc
has "it is named" "$box/stderr" "bad.json: "
run $answer -p "Which?" --json-schema "$box/none.json"
is "a schema that is not there is refused" 2 $rc
has "its name is said" "$box/stderr" "none.json"
run $answer -p "Which?" --regex '(a'
is "a pattern that is none is refused" 2 $rc
run $answer -p "Which?" --regex 'a' --json-schema "$box/colour.json"
is "one form at a time" 2 $rc
run $answer -p "Which?" --regex 'a' --dump-logprobs -
is "no form where the model's own choice is asked for" 2 $rc

finish
