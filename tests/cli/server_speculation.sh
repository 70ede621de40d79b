#!/bin/sh
# server_speculation.sh - what clients get does not depend on guessed tokens: the same requests to a server
# with guesses and to one without. Only identifiers and times may differ.
. tests/cli/tap.inc
. tests/cli/server.inc

text='The old miller of Arlen kept three keys: one of iron, one of brass, and one of bone. The key of iron opened the gate'
tool='{"type":"function","function":{"name":"get_weather","description":"Get the weather in a city","parameters":{"type":"object","properties":{"city":{"type":"string"},"unit":{"type":"string","enum":["celsius","fahrenheit"]}},"required":["city"]}}}'
schema='{"type":"object","properties":{"name":{"type":"string"},"keys":{"type":"array","items":{"type":"string"},"maxItems":4},"old":{"type":"boolean"}},"required":["name","keys","old"],"additionalProperties":false}'
user() { printf '"messages":[{"role":"user","content":"%s"}]' "$1"; }

# ask_all NAME: the answers to all requests, one on each line, without what is another each time.
ask_all() {
    : >"$box/$1"
    while IFS= read -r line; do
        post "${line%% *}" "${line#* }"
        [ "$status" = 200 ] || echo "status $status: $line" >>"$box/$1"
        tr -d '\n' <"$box/stdout" | sed 's/"id":"[^"]*"//g; s/"created":[0-9]*//g; s/"call_id":"[^"]*"//g' >>"$box/$1"
        echo >>"$box/$1"
    done <"$box/requests"
}

cat >"$box/requests" <<END
/v1/chat/completions {$(user "Repeat this text exactly: $text"),"temperature":0,"max_tokens":120}
/v1/chat/completions {$(user "Repeat this text exactly: $text. $text"),"temperature":0.8,"seed":5,"max_tokens":160}
/v1/chat/completions {$(user "What is the weather in Paris?"),"temperature":0,"max_tokens":200,"tools":[$tool]}
/v1/chat/completions {$(user "What is the weather in Paris and in Rome?"),"temperature":0,"max_tokens":300,"tools":[$tool],"tool_choice":"required"}
/v1/chat/completions {$(user "Tell me of the miller. $text"),"temperature":0.7,"seed":3,"max_tokens":160,"response_format":{"type":"json_schema","json_schema":{"name":"miller","schema":$schema}}}
/v1/chat/completions {$(user "Repeat this text exactly: $text"),"temperature":0.6,"seed":9,"max_tokens":120,"stop":["bone"],"logprobs":true,"top_logprobs":3}
/v1/chat/completions {$(user "Say it again and again: $text"),"temperature":1,"seed":2,"max_tokens":90,"frequency_penalty":0.4,"presence_penalty":0.2}
/v1/messages {$(user "What is the weather in Berlin?"),"max_tokens":200,"temperature":0,"tools":[{"name":"get_weather","description":"Get the weather in a city","input_schema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}]}
/v1/completions {"prompt":"$text. $text","temperature":0,"max_tokens":60,"logprobs":2}
END

start_server --parallel 2 --speculate off
ask_all off
is "without guesses none are counted" 0 "$(metric drafted_tokens_total)"
stop_server

start_server --parallel 2 --speculate auto
ask_all auto
drafted=$(metric drafted_tokens_total)
accepted=$(metric draft_accepted_tokens_total)
[ "$drafted" -gt 20 ] && [ "$accepted" -gt 10 ]
report $? "with them some are made, and some come true ($accepted of $drafted)"
ask /ds4/stats
grep -q '"drafts":{"steps":[1-9]' "$box/stdout"
report $? "the dashboard's numbers have them"
grep -q 'drafted=[1-9][0-9]* accepted=[1-9]' "$box/log"
report $? "the log has them"
stop_server

start_server --parallel 2 --dspark models/ds4-mini-dspark.gguf --speculate dspark
ask_all dspark
computed=$(metric draft_computed_total)
drafted=$(metric drafted_tokens_total)
[ "$computed" -gt 10 ] && [ "$drafted" -gt 5 ]
report $? "the model's own drafter computes guesses ($computed, and $drafted of their tokens are used)"
stop_server

i=0
while [ $i -lt 9 ]; do
    i=$((i + 1))
    is "request $i has the same answer with the drafter" "$(sed -n "${i}p" "$box/off")" "$(sed -n "${i}p" "$box/dspark")"
    is "request $i has the same answer" "$(sed -n "${i}p" "$box/off")" "$(sed -n "${i}p" "$box/auto")"
done
has "tools were called" "$box/off" '"tool_calls":['
is "all were answered" 0 "$(grep -c '^status' "$box/off")"
finish
