#!/bin/sh
# server_schemas.sh - JSON schemas of answers and of tools, in all APIs: bounds, patterns and formats are
# kept, whatever stands beside a list of alternatives counts, tools without properties get their
# parameters, and no schema costs more than it may.
. tests/cli/tap.inc
. tests/cli/server.inc

# The answer's text, or the arguments of its call, without escapes; streamed ones put together.
answer() {                              # answer API
    case $1 in
        chat)      grep -o '"\(content\|arguments\)":"\([^"\\]\|\\.\)*"' "$box/stdout" | sed 's/"[a-z]*":"\(.*\)"/\1/' ;;
        messages)  grep -o '"\(text\|partial_json\)":"\([^"\\]\|\\.\)*"\|"input":{[^}]*}' "$box/stdout" |
                       sed 's/"[a-z_]*":"\(.*\)"/\1/; s/"input"://' | grep -v '^{}$' ;;
        responses) grep -o '"type":"output_text","text":"\([^"\\]\|\\.\)*"\|"arguments":"\([^"\\]\|\\.\)*"' "$box/stdout" |
                       tail -n 1 | sed 's/.*:"\(.*\)"/\1/' ;;
    esac | tr -d '\n' | sed 's/\\n//g; s/\\t//g; s/\\"/"/g; s/ //g'
}

# say API STREAM SCHEMA STRICT: an answer that must fit the schema.
say() {
    said="\"temperature\":1,\"seed\":7,\"max_tokens\":300,\"stream\":$2"
    case $1 in
        chat) post /v1/chat/completions "{\"messages\":[{\"role\":\"user\",\"content\":\"Give it.\"}],\"thinking\":{\"type\":\"disabled\"},$said,
            \"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"p\",\"strict\":$4,\"schema\":$3}}}" ;;
        messages) post /v1/messages "{\"messages\":[{\"role\":\"user\",\"content\":\"Give it.\"}],$said,
            \"output_config\":{\"format\":{\"type\":\"json_schema\",\"strict\":$4,\"schema\":$3}}}" ;;
        responses) post /v1/responses "{\"input\":\"Give it.\",\"reasoning\":{\"effort\":\"none\"},$(echo "$said" | sed 's/max_tokens/max_output_tokens/'),
            \"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"p\",\"strict\":$4,\"schema\":$3}}}" ;;
    esac
}

# call_tool API STREAM SCHEMA CHOICE TOOL_MEMBERS: a call of `find` with the schema as its parameters.
call_tool() {
    said="\"temperature\":0,\"max_tokens\":120,\"stream\":$2"
    ask_for='Call find with key set to \"kiwi7\".'
    case $1 in
        chat) post /v1/chat/completions "{\"messages\":[{\"role\":\"user\",\"content\":\"$ask_for\"}],\"thinking\":{\"type\":\"disabled\"},$said,
            \"parallel_tool_calls\":false,\"tool_choice\":$4,\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"find\",
            \"description\":\"Looks a thing up.\"$5${3:+,\"parameters\":$3}}}]}" ;;
        messages) post /v1/messages "{\"messages\":[{\"role\":\"user\",\"content\":\"$ask_for\"}],$said,
            \"tool_choice\":$4,\"tools\":[{\"name\":\"find\",\"description\":\"Looks a thing up.\"$5,\"input_schema\":${3:-{\}}}]}" ;;
        responses) post /v1/responses "{\"input\":\"$ask_for\",\"reasoning\":{\"effort\":\"none\"},$(echo "$said" | sed 's/max_tokens/max_output_tokens/'),
            \"parallel_tool_calls\":false,\"tool_choice\":$4,\"tools\":[{\"type\":\"function\",\"name\":\"find\",
            \"description\":\"Looks a thing up.\"$5${3:+,\"parameters\":$3}}]}" ;;
    esac
}

start_server --parallel 2 -c 16384

# ---- bounds, patterns, formats ----
while IFS='|' read -r name type right; do
    schema="{\"type\":\"object\",\"properties\":{\"x\":{$type}},\"required\":[\"x\"],\"additionalProperties\":false}"
    for api in chat messages responses; do
        for how in 'true true' 'false false'; do
            say $api "${how% *}" "$schema" "${how#* }"
            answer $api | grep -qE "^\{\"x\":$right\}\$"
            report $? "$api, stream and strict $how: $name"
        done
    done
done <<'END'
an integer between bounds|"type":"integer","minimum":1,"maximum":10|([1-9]|10)
a positive number|"type":"number","exclusiveMinimum":0,"maximum":99|[0-9]{1,2}(\.[0-9]+)?
a multiple|"type":"number","multipleOf":0.5,"minimum":0,"maximum":100|[0-9]+(\.[05])?
a pattern|"type":"string","pattern":"^[A-Z]{2}[0-9]{1,5}$"|"[A-Z]{2}[0-9]{1,5}"
a date|"type":"string","format":"date"|"[0-9]{4}-[01][0-9]-[0-3][0-9]"
a UUID|"type":"string","format":"uuid"|"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
words beside anyOf|"type":"integer","minimum":5,"anyOf":[{"maximum":6},{"const":9}]|[569]
words beside enum|"enum":["a","bbbb",5],"type":"string","maxLength":2|"a"
a reference and its neighbour|"$ref":"#/properties/x/allOf/0","allOf":[{"type":"integer","minimum":3},{"maximum":4}]|[34]
END

# ---- what cannot be enforced ----
odd='{"type":"object","properties":{"x":{"type":"array","items":{"type":"integer","minimum":1,"maximum":9},"maxItems":2,"uniqueItems":true}},"required":["x"]}'
for api in chat messages responses; do
    say $api false "$odd" true
    is "$api: refused where strict is asked" 400 "$status"
    has "$api: by its name" "$box/stdout" "uniqueItems"
    say $api false "$odd" false
    is "$api: ignored where it is not" 200 "$status"
    answer $api | grep -qE '^\{"x":\[([1-9](,[1-9])?)?\]\}$'
    report $? "$api: what is beside it is kept"
done

# ---- tools without properties ----
key='{"type":"object","properties":{"key":{"type":"string"}},"required":["key"]}'
while IFS='|' read -r name schema; do
    for api in chat messages responses; do
        case $api in
            messages) required='{"type":"any"}' named='{"type":"tool","name":"find"}' ;;
            chat) required='"required"' named='{"type":"function","function":{"name":"find"}}' ;;
            responses) required='"required"' named='{"type":"function","name":"find"}' ;;
        esac
        call_tool $api false "$schema" "$required" ''
        is "$api: $name, a call is required" '{"key":"kiwi7"}' "$(answer $api)"
        call_tool $api true "$schema" "$required" ''
        answer $api | grep -q '{"key":"kiwi7"}'
        report $? "$api: $name, streamed"
        call_tool $api false "$schema" "$named" ',"strict":true'
        is "$api: $name, named and strict" '{"key":"kiwi7"}' "$(answer $api)"
    done
done <<END
a reference|{"\$ref":"#/\$defs/Args","\$defs":{"Args":$key}}
a reference into a list|{"\$ref":"#/\$defs/l/anyOf/1","\$defs":{"l":{"anyOf":[{"type":"null"},$key]}}}
anyOf|{"anyOf":[$key,{"type":"null"}]}
oneOf|{"oneOf":[$key,{"type":"array"}]}
allOf|{"allOf":[{"type":"object"},$key]}
a map|{"type":"object","additionalProperties":{"type":"string"}}
any object|{"type":"object"}
required without properties|{"type":"object","required":["key"]}
END
post /v1/chat/completions "{\"messages\":[{\"role\":\"user\",\"content\":\"Call find with key set to \\\"kiwi7\\\".\"}],
    \"thinking\":{\"type\":\"disabled\"},\"temperature\":0,\"max_tokens\":80,\"parallel_tool_calls\":false,\"tools\":[
    {\"type\":\"function\",\"function\":{\"name\":\"find\",\"parameters\":{\"type\":\"object\",\"additionalProperties\":true}}},
    {\"type\":\"function\",\"function\":{\"name\":\"other\",\"strict\":true,\"parameters\":$key}}]}"
is "a map beside a strict tool" '{"key":"kiwi7"}' "$(answer chat)"

# ---- names ----
for name in 'a\"b' '<x>' 'a\tb'; do
    for request in "chat/completions|{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"$name\"}}]}" \
        "messages|{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tools\":[{\"name\":\"$name\",\"input_schema\":{}}]}" \
        "responses|{\"input\":\"x\",\"tools\":[{\"type\":\"function\",\"name\":\"$name\"}]}"; do
        post "/v1/${request%%|*}" "${request#*|}"
        is "${request%%|*}: a tool named $name is refused" 400 "$status"
        has "${request%%|*}: at its place" "$box/stdout" "tools[0]"
    done
done

# ---- prices ----
nest() {                                # nest DEPTH WIDTH
    awk -v depth="$1" -v width="$2" 'BEGIN {
        s = "{\"type\":\"string\"}"
        types = "\"object\""
        for (i = 1; i < width; i++) types = types ",\"object\""
        for (i = 0; i < depth; i++) s = "{\"type\":[" types "],\"properties\":{\"a\":" s "}}"
        print s
    }'
}
both=$(awk 'BEGIN { for (i = 0; i < 25; i++) s = s (i ? "," : "") "{\"anyOf\":[{\"required\":[\"a" i "\"]},{\"required\":[\"b" i "\"]}]}"; print "{\"allOf\":[" s "]}" }')
for api in chat messages responses; do
    begin=$(date +%s%N)
    say $api false "$(nest 20 16)" false
    is "$api: twenty lists of types in each other" 200 "$status"
    say $api false "$both" false
    is "$api: combinations without end are refused" 400 "$status"
    has "$api: with the bound" "$box/stdout" "which is the bound"
    call_tool $api false "$both" "$(test $api = messages && echo '{"type":"any"}' || echo '"required"')" ',"strict":true'
    is "$api: also those of a strict tool" 400 "$status"
    took=$((($(date +%s%N) - begin) / 1000000))
    [ $took -lt 20000 ]
    report $? "$api: all of it at once ($took ms)"
done
nest 20000 1 >"$box/deep"
say chat false "$(head -c 2000 "$box/deep")" false
is "what is no JSON is refused" 400 "$status"
begin=$(date +%s)
stop_server
[ $(($(date +%s) - begin)) -lt 20 ]
report $? "and the server ends when it is told to"
finish
