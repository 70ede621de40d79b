#!/bin/sh
# server_scores.sh - how evaluation programs score a text through /v1/completions: echo with logprobs
# tells the likelihood of each token of the prompt, the same bits that sampling it would have told.
. tests/cli/tap.inc
. tests/cli/server.inc

list() {                                # list NAME: the lists of that name, in a row
    grep -o "\"$1\":\[[^]]*\]" "$box/stdout" | sed "s/\"$1\":\[\(.*\)\]/\1/" | grep . | tr '\n' ',' | sed 's/,$//'
}
length() { echo "$1" | tr ',' '\n' | grep -c .; }
last() { echo "$1" | tr ',' '\n' | tail -n "$2" | tr '\n' ' '; }

start_server --parallel 2
# More than one step of the prompt is looked at.
prompt=$(awk 'BEGIN { for (i = 0; i < 60; i++) printf "word %d, ", i; printf "The capital of France is" }')
post /v1/completions "{\"prompt\":\"$prompt\",\"max_tokens\":6,\"temperature\":0,\"logprobs\":1}"
sampled=$(list token_logprobs)
said=$(sed 's/.*"choices":\[{"text":"\(\([^"\\]\|\\.\)*\)".*/\1/' "$box/stdout")
is "offsets of an answer begin with it" 0 "$(list text_offset | sed 's/,.*//')"

for stream in false true; do
    post /v1/completions "{\"prompt\":\"$prompt$said\",\"max_tokens\":0,\"echo\":true,\"logprobs\":1,\"stream\":$stream}"
    is "stream $stream: a prompt is scored without an answer" '200 1' \
        "$status $(grep -c '"finish_reason":"length"' "$box/stdout")"
    scores=$(list token_logprobs)
    is "stream $stream: as likely as when they were sampled" "$(last "$sampled" 6)" "$(last "$scores" 6)"
    is "stream $stream: nothing is before the first token" null "${scores%%,*}"
    is "stream $stream: each token has a place" "$(length "$scores")" "$(length "$(list text_offset)")"
    is "stream $stream: and an alternative" $(($(length "$scores") - 1)) \
        "$(grep -o '"top_logprobs":\[[^]]*\]' "$box/stdout" | grep -o '{"' | grep -c .)"
    post /v1/completions "{\"prompt\":\"$prompt\",\"max_tokens\":6,\"temperature\":0,\"echo\":true,\"logprobs\":1,\"stream\":$stream}"
    is "stream $stream: prompt and answer together" "$scores" "$(list token_logprobs)"
done
post /v1/completions '{"prompt":"déjà vu","max_tokens":0,"echo":true,"logprobs":1}'
[ "$(list text_offset | tr ',' '\n' | tail -n 1)" -le 6 ]
report $? "offsets count characters"
post /v1/completions '{"prompt":"a b","max_tokens":0,"echo":true}'
has "an echo alone" "$box/stdout" '"text":"a b","index":0,"logprobs":null,"finish_reason":"length"'
post /v1/completions '{"prompt":"a b","max_tokens":0}'
is "nothing at all is refused" 400 "$status"
post /v1/chat/completions '{"messages":[{"role":"user","content":"a"}],"echo":true}'
has "chat has no echo" "$box/stdout" "'echo' is not supported"
stop_server
finish
