#!/bin/sh
# server_forms.sh - the form that an answer must have, under the names that servers have for it: it is
# kept in all APIs, streamed and whole, or the request is refused by the member's name.
. tests/cli/tap.inc
. tests/cli/server.inc

# The text of an answer, streamed or not.
text_of() {                             # text_of API FILE
    case $1 in
        chat)        grep -o '"content":"\([^"\\]\|\\.\)*"' "$2" | sed 's/"content":"\(.*\)"/\1/' ;;
        completions) grep -o '"text":"\([^"\\]\|\\.\)*"' "$2" | sed 's/"text":"\(.*\)"/\1/' ;;
        messages)    grep -o '"text":"\([^"\\]\|\\.\)*"' "$2" | sed 's/"text":"\(.*\)"/\1/' ;;
        responses)   grep -o '"type":"output_text","text":"\([^"\\]\|\\.\)*"' "$2" | tail -n 1 | sed 's/.*"text":"\(.*\)"/\1/' ;;
    esac | tr -d '\n'
}
ask_api() {                             # ask_api API MEMBERS
    said="\"temperature\":0,\"max_tokens\":40,$2"
    case $1 in
        chat)        post /v1/chat/completions "{\"messages\":[{\"role\":\"user\",\"content\":\"12 + 30?\"}],\"thinking\":false,$said}" ;;
        completions) post /v1/completions "{\"prompt\":\"12 + 30 =\",$said}" ;;
        messages)    post /v1/messages "{\"messages\":[{\"role\":\"user\",\"content\":\"12 + 30?\"}],$said}" ;;
        responses)   post /v1/responses "{\"input\":\"12 + 30?\",\"reasoning\":{\"effort\":\"none\"},$said}" ;;
    esac
}

start_server --parallel 2
schema='{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false}'
for api in chat completions messages responses; do
    for stream in false true; do
        name="$api, stream $stream"
        ask_api $api "\"stream\":$stream,\"guided_choice\":[\"yes\",\"no\"]"
        text_of $api "$box/stdout" | grep -q '^\(yes\|no\)$'
        report $? "$name: one of the texts"
        for member in "\"guided_json\":$schema" "\"format\":$schema" "\"structured_outputs\":{\"json\":$schema}" \
            "\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"schema\":$schema}}" \
            "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":$schema}}"; do
            ask_api $api "\"stream\":$stream,$member"
            text_of $api "$box/stdout" | sed 's/\\n//g; s/\\t//g; s/\\//g; s/ //g' | grep -q '^{"ok":\(true\|false\)}$'
            report $? "$name: fits the schema of ${member%%:*}"
        done
    done
    for member in '"grammar":"root ::= x"' '"guided_grammar":"x"' '"ebnf":"x"' '"structured_outputs":{"grammar":"x"}' \
        '"min_tokens":3' '"ignore_eos":true' '"bad_words":["a"]'; do
        name=$(echo "$member" | tr -d '"{}' | sed 's/structured_outputs:/structured_outputs./; s/:.*//')
        ask_api $api "$member"
        is "$api: $name is refused" 400 "$status"
        has "$api: by its name" "$box/stdout" "'$name' is not supported"
    done
done
stop_server
finish
