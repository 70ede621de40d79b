#!/bin/sh
# server_old_forms.sh - calls in chat in the older form, "functions", and of custom tools that take free
# text; streamed and whole, and what a client sends back of them.
. tests/cli/tap.inc
. tests/cli/server.inc
server_program=$out/ds4-server-scripted
bar=$(printf '\357\275\234')
cat >"$box/script" <<END
{"if": "call f", "say": "\n\n<${bar}DSML${bar}tool_calls>\n<${bar}DSML${bar}invoke name=\"f\">\n<${bar}DSML${bar}parameter name=\"a\" string=\"true\">b</${bar}DSML${bar}parameter>\n</${bar}DSML${bar}invoke>\n</${bar}DSML${bar}tool_calls>"}
{"if": "patch it", "say": "\n\n<${bar}DSML${bar}tool_calls>\n<${bar}DSML${bar}invoke name=\"patch\">\n<${bar}DSML${bar}parameter name=\"input\" string=\"true\">free \"text\"</${bar}DSML${bar}parameter>\n</${bar}DSML${bar}invoke>\n</${bar}DSML${bar}tool_calls>"}
{"if": "<tool_result>", "say": "Read."}
END
start_server --script "$box/script"

functions='"thinking":false,"functions":[{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"string"}}}}]'
custom='"thinking":false,"tools":[{"type":"custom","custom":{"name":"patch","description":"d"}}]'
post /v1/chat/completions "{\"messages\":[{\"role\":\"user\",\"content\":\"call f\"}],$functions}"
has "functions are answered by a function_call" "$box/stdout" '"function_call":{"name":"f","arguments":"{\"a\": \"b\"}"}'
has "and end with it" "$box/stdout" '"finish_reason":"function_call"'
post /v1/chat/completions "{\"messages\":[{\"role\":\"user\",\"content\":\"call f\"}],\"stream\":true,$functions}"
has "streamed: its name" "$box/stdout" '"delta":{"function_call":{"name":"f","arguments":""}}'
has "streamed: its arguments" "$box/stdout" '"delta":{"function_call":{"arguments":"'
has "streamed: its end" "$box/stdout" '"finish_reason":"function_call"'
is "streamed: no call in the newer form" 0 "$(grep -c tool_calls "$box/stdout")"
post /v1/chat/completions "{\"messages\":[{\"role\":\"user\",\"content\":\"call f\"},{\"role\":\"assistant\",\"content\":null,\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"role\":\"function\",\"name\":\"f\",\"content\":\"c\"}],$functions}"
has "its result is read" "$box/stdout" '"content":"Read."'

whole='"type":"custom","custom":{"name":"patch","input":"free \"text\""}'
for stream in false true; do
    post /v1/chat/completions "{\"messages\":[{\"role\":\"user\",\"content\":\"patch it\"}],\"stream\":$stream,$custom}"
    has "stream $stream: free text comes as it is" "$box/stdout" "$whole"
    has "stream $stream: and ends as a call" "$box/stdout" '"finish_reason":"tool_calls"'
done
post /v1/chat/completions "{\"messages\":[{\"role\":\"user\",\"content\":\"patch it\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":\"custom\",\"custom\":{\"name\":\"patch\",\"input\":\"x\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"done\"}],$custom}"
has "the result of a custom tool is read" "$box/stdout" '"content":"Read."'

# Penalties: a token that is forbidden does not come, and what repeats comes less.
stop_server
server_program=$out/ds4-server
start_server
ask_text() { post /v1/completions "{\"prompt\":\"a b c\",\"max_tokens\":24,\"temperature\":0$1}"; sed 's/.*"text":"\(\([^"\\]\|\\.\)*\)".*/\1/' "$box/stdout"; }
free=$(ask_text "")
is "no penalty changes nothing" "$free" "$(ask_text ',"frequency_penalty":0,"presence_penalty":0,"logit_bias":{}')"
[ "$free" != "$(ask_text ',"frequency_penalty":2,"presence_penalty":2')" ]
report $? "a penalty changes the answer"
first=$(curl -s "$url/tokenize" -d "{\"content\":\"$(printf '%s' "$free" | cut -c1-6)\"}" | sed 's/.*"tokens":\[\([0-9]*\).*/\1/')
[ "$(printf '%s' "$free" | cut -c1-6)" != "$(ask_text ",\"logit_bias\":{\"$first\":-100}" | cut -c1-6)" ]
report $? "a token that is forbidden does not come"
stop_server
finish
