#!/bin/sh
# server.sh - ds4-server as clients meet it: every endpoint, every kind of refusal, leaving
# early, keys, hosts and origins, and the end.
. tests/cli/tap.inc
. tests/cli/server.inc

hello='{"messages":[{"role":"user","content":"hello"}],"max_tokens":8,"temperature":0'

# ---- the command line ---------------------------------------------------------------------
run "$server_program" -m "$model" --host 0.0.0.0 --port 0
is "an address for everybody needs a key" 2 $rc
has "and says so" "$box/stderr" "add --api-key"
run "$server_program" -m "$model" --api-key ""
is "an empty key is refused" 2 $rc
printf 'sesame\n' >"$box/keys"
chmod 622 "$box/keys"
run "$server_program" -m "$model" --api-key-file "$box/keys"
is "a key file that others may write is refused" 2 $rc
has "and says so" "$box/stderr" "chmod 600"
for mode in 440 444 644; do
    chmod $mode "$box/keys"
    run "$server_program" --print-config codex --api-key-file "$box/keys"
    is "one that others may read, mode $mode, is read" "0 1" "$rc $(grep -c DS4_API_KEY=sesame "$box/stdout")"
    has "with a warning" "$box/stderr" "may be read by others (mode $mode)"
done
mkfifo "$box/pipe"
cat "$box/keys" >"$box/pipe" &
run "$server_program" --print-config codex --api-key-file "$box/pipe"
is "a pipe is read" "0 1" "$rc $(grep -c DS4_API_KEY=sesame "$box/stdout")"
run env DS4_API_KEY=from-outside "$server_program" --print-config codex
has "the environment may have the key" "$box/stdout" "DS4_API_KEY=from-outside"
run env DS4_API_KEY='no key' "$server_program" --print-config codex
is "and one that is none is refused" 2 $rc
mkdir "$box/credentials"
printf 'entrusted\n' >"$box/credentials/api-key"
chmod 440 "$box/credentials/api-key"
run env CREDENTIALS_DIRECTORY="$box/credentials" "$server_program" --print-config codex
is "a credential of the service manager is the key" "0 1" "$rc $(grep -c DS4_API_KEY=entrusted "$box/stdout")"
is "which its mode does not matter to" "" "$(cat "$box/stderr")"
run env CREDENTIALS_DIRECTORY="$box/credentials" "$server_program" --print-config codex \
    --api-key-file "$box/credentials/api-key"
is "the same when it is named" "0 1" "$rc $(grep -c DS4_API_KEY=entrusted "$box/stdout")"
chmod 600 "$box/keys"
run "$server_program" --print-config codex --api-key-file "$box/keys"
has "a key file of one's own is read" "$box/stdout" "DS4_API_KEY=sesame"
printf '# nobody yet\n' >"$box/keys"
run "$server_program" -m "$model" --api-key-file "$box/keys" --host 0.0.0.0
is "a key file without keys is refused" 2 $rc
printf 'good b{a}d\n' >"$box/keys"
run "$server_program" -m "$model" --api-key-file "$box/keys"
has "and one with something else" "$box/stderr" "letters, digits"
run "$server_program" -m "$model" --api-key-file "$box/no such file"
is "a key file that is not there is refused" 2 $rc
run "$server_program" --port 99999
is "a port out of range is refused" 2 $rc

for client in claude codex opencode kilo pi continue qwen copilot cline; do
    run "$server_program" --print-config $client --port 8123 --api-key sesame --ctx 40000
    is "--print-config $client" "0 1" "$rc $(grep -cF 'http://127.0.0.1:8123' "$box/stdout")"
done
run "$server_program" --print-config claude
is "Claude Code is not told of a window that it takes for a mistake" 0 "$(grep -c COMPACT_WINDOW "$box/stdout")"
has "but which context it wants" "$box/stderr" "--ctx 131072 or more"
run "$server_program" --print-config claude --ctx 131072
is "and of one that it takes" "1 0" "$(grep -c 'COMPACT_WINDOW=131072' "$box/stdout") $(grep -c . "$box/stderr")"
run "$server_program" --print-config emacs
is "a client that is not known" 2 $rc

start_server --parallel 2

# ---- answers ------------------------------------------------------------------------------
ask /health
is "health" '200 {"status":"ok"}' "$status $(cat "$box/stdout")"
ask /v1/models
has "models tell the context" "$box/stdout" '"context_length":4096'
for path in /v1/models/ //v1/models /v1//models// /v1/v1/models /models; do
    ask $path
    is "slashes too many: $path" "200 1" "$status $(grep -c '"object":"list"' "$box/stdout")"
done
ask /v1/models/anything
is "any model name is known" 200 "$status"
ask / -I
is "HEAD of the page" 200 "$status"
ask /dashboard
is "the dashboard" 200 "$status"

post /v1/chat/completions "$hello,\"seed\":null,\"unknown\":1}"
is "chat" 200 "$status"
for member in '"object":"chat.completion"' '"role":"assistant"' '"finish_reason":"' '"prompt_tokens":' '"cached_tokens":0'; do
    has "chat has $member" "$box/stdout" "$member"
done
has "chat names its request" "$box/headers" "x-request-id: chatcmpl-"
cp "$box/stdout" "$box/first"
post /v1/chat/completions "$hello}"
text() { sed 's/.*"message":\(.*\),"logprobs".*/\1/' "$1"; }
is "the same request has the same answer" "$(text "$box/first")" "$(text "$box/stdout")"
is "and is a cache hit" 1 "$(grep -c '"cached_tokens":[1-9]' "$box/stdout")"
for path in //v1/chat/completions /v1/chat/completions/ /v1//chat//completions; do
    post $path "$hello}"
    is "slashes too many: $path" "200 1" "$status $(grep -c '"object":"chat.completion"' "$box/stdout")"
done

post /v1/chat/completions "$hello,\"stream\":true,\"stream_options\":{\"include_usage\":true}}" -N
is "a stream is an event stream" 1 "$(grep -ci '^content-type: text/event-stream' "$box/headers")"
has "it begins with the role" "$box/stdout" '"delta":{"role":"assistant"'
has "it ends with the usage" "$box/stdout" '"choices":[],"usage":{"prompt_tokens"'
is "and with [DONE]" 'data: [DONE]' "$(grep . "$box/stdout" | tail -n 1)"
post /v1/chat/completions "$hello,\"thinking\":false,\"logprobs\":true,\"top_logprobs\":2}"
has "likelihoods" "$box/stdout" '"top_logprobs":[{"token":'
post /v1/chat/completions "$hello,\"n\":3,\"temperature\":1,\"seed\":9}"
is "three choices" 1 "$(grep -c '"index":2' "$box/stdout")"

post /v1/chat/completions "$hello,\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":3}}"
is "reasoning keeps to its budget" 4 "$(sed 's/.*"reasoning_tokens":\([0-9]*\).*/\1/' "$box/stdout")"

post /v1/completions '{"prompt":"a b c","max_tokens":4,"echo":true}'
has "completions, echoed" "$box/stdout" '"text":"a b c'
post /v1/completions '{"prompt":"a","suffix":"c","max_tokens":4,"stream":true}'
has "fill in the middle, streamed" "$box/stdout" '"object":"text_completion"'
post '/v1/messages?beta=true' '{"model":"m","max_tokens":8,"messages":[{"role":"user","content":"hello"}]}'
has "messages" "$box/stdout" '"type":"message","role":"assistant","model":"m"'
new=$(sed 's/.*"input_tokens":\([0-9]*\).*/\1/' "$box/stdout")
old=$(sed 's/.*"cache_read_input_tokens":\([0-9]*\).*/\1/' "$box/stdout")
count=$((new + old))
post /v1/messages/count_tokens '{"model":"m","messages":[{"role":"user","content":"hello"}]}'
is "count_tokens counts the same" "{\"input_tokens\":$count}" "$(cat "$box/stdout")"
post /v1/messages '{"model":"m","max_tokens":8,"stream":true,"thinking":{"type":"enabled"},"messages":[{"role":"user","content":"hello"}]}'
is "its stream begins with message_start" "event: message_start" "$(head -n 1 "$box/stdout")"
has "and ends with message_stop" "$box/stdout" 'data: {"type":"message_stop"}'
post /v1/responses '{"model":"m","input":"hello","max_output_tokens":8}'
has "responses" "$box/stdout" '"object":"response"'
id=$(sed 's/{"id":"\([^"]*\)".*/\1/' "$box/stdout")
post /v1/responses "{\"model\":\"m\",\"input\":\"and now?\",\"max_output_tokens\":8,\"previous_response_id\":\"$id\"}"
is "responses go on from an earlier one" 1 "$(grep -c '"cached_tokens":[1-9]' "$box/stdout")"
post /v1/responses '{"model":"m","input":[{"role":"user","content":"hello"}],"max_output_tokens":8,"stream":true}'
has "its stream begins" "$box/stdout" 'event: response.created'
is "and ends" 1 "$(grep -c '^event: response.\(completed\|incomplete\)' "$box/stdout")"
post /tokenize '{"content":"hello <think>"}'
has "tokenize" "$box/stdout" '"pieces":['
ask /v1/ds4/stats
has "numbers for the dashboard" "$box/stdout" '"slots":[{"id":0'

# ---- stop strings -------------------------------------------------------------------------
post /v1/completions '{"prompt":"a b c","max_tokens":30,"temperature":0}'
whole=$(sed 's/.*"text":"\([^"\\]*\).*/\1/' "$box/stdout")
stop=$(printf '%s' "$whole" | cut -c6-8)
post /v1/completions "{\"prompt\":\"a b c\",\"max_tokens\":30,\"temperature\":0,\"stop\":[\"$stop\"]}"
has "a stop string ends the answer" "$box/stdout" '"finish_reason":"stop"'
is "and is not in it" "" "$(sed 's/.*"text":"\([^"]*\)".*/\1/' "$box/stdout" | grep -F -e "$stop")"

# ---- refusals -------------------------------------------------------------------------------
refused() {                             # refused NAME STATUS TEXT
    is "$1: status" "$2" "$status"
    has "$1: text" "$box/stdout" "$3"
}
post /v1/chat/completions '{"messages":'
refused "bad JSON" 400 '"type":"invalid_request_error"'
has "a refusal names its request" "$box/headers" "x-request-id: chatcmpl-"
post /v1/messages '{"messages":'
refused "bad JSON, Anthropic" 400 '{"type":"error","error":{"type":"invalid_request_error"'
id=$(sed -n 's/^request-id: \(msg_[0-9a-f]*\).*/\1/p' "$box/headers")
has "its refusal names it inside too" "$box/stdout" "\"request_id\":\"${id:-none}\""
has "and that it stays one" "$box/headers" "x-should-retry: false"
post /v1/chat/completions '{"messages":[]}'
refused "no messages" 400 '"param":"messages"'
post /v1/chat/completions "$hello,\"bad_words\":[\"a\"]}"
refused "a field that is not supported" 400 "'bad_words' is not supported"
post /v1/chat/completions "$hello,\"frequency_penalty\":0.0,\"logit_bias\":{},\"user\":\"me\"}"
is "fields that mean nothing are let through" 200 "$status"
post /v1/chat/completions '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}'
refused "an image" 400 "only text input is supported"
post /v1/chat/completions "$hello,\"tool_choice\":\"required\"}"
refused "a tool without tools" 400 '"param":"tool_choice"'
ask /v1/embeddings -d '{}'
refused "an unknown endpoint" 404 "unknown endpoint"
ask /v1/chat/completions
refused "a wrong method" 405 "takes POST only"
ask /v1/models -H 'Host: evil.example'
refused "a foreign host" 403 "Host is not served"
ask /v1/models -H 'Origin: http://evil.example'
refused "a foreign origin" 403 "Origin is not allowed"
ask /v1/models -X OPTIONS
is "OPTIONS" 204 "$status"
awk 'BEGIN { printf "{\"messages\":[{\"role\":\"user\",\"content\":\""; for (i = 0; i < 6000; i++) printf "word "; print "\"}]}" }' >"$box/long.json"
post /v1/chat/completions "@$box/long.json"
refused "a prompt that is too long" 400 "This model's maximum context length is 4096 tokens"
has "with its code" "$box/stdout" '"code":"context_length_exceeded"'
post /v1/messages "@$box/long.json"
refused "the same, Anthropic" 400 'prompt is too long: '
head -c 34000000 /dev/zero | tr '\0' ' ' >"$box/huge"
post /v1/chat/completions "@$box/huge"
refused "too large a body" 413 'larger than this server takes'
post /v1/messages "@$box/huge" -H 'Transfer-Encoding: chunked'
refused "the same in chunks" 413 '"type":"request_too_large"'
awk 'BEGIN { printf "{\"messages\":"; for (i = 0; i < 100000; i++) printf "["; }' >"$box/deep"
post /v1/chat/completions "@$box/deep"
is "deep nesting" 400 "$status"
post /v1/chat/completions "$hello}" -H 'Transfer-Encoding: chunked' -H 'Expect: 100-continue'
is "a body in chunks" 200 "$status"

stop_server
is "SIGTERM ends it with success" 0 "$rc"
grep -q 'hello\|count"' "$box/log"
is "no prompt is in the log" 1 $?

# ---- a key, origins, a trace ----------------------------------------------------------------
start_server --api-key sesame --cors-origin http://good.example --trace "$box/trace"
ask /v1/models
refused "no key" 401 '"code":"invalid_api_key"'
has "it says which kind of key" "$box/headers" "WWW-Authenticate: Bearer"
has "and that asking again is of no use" "$box/headers" "x-should-retry: false"
has "the log says who had none" "$box/log" "other status=401 client=127.0.0.1 method=GET path=/v1/models"
is "and it is counted" 1 "$(curl -sS -H 'x-api-key: sesame' "$url/metrics" | sed -n 's/^ds4_responses_total{status="4xx"} //p')"
post /v1/messages "$hello}" -H 'x-api-key: wrong'
refused "a wrong key, Anthropic" 401 '"type":"authentication_error"'
ask /v1/models -H 'Authorization: Bearer sesame' -H 'Host: far.example'
is "the key as a bearer token, any host" 200 "$status"
ask /v1/models -H 'x-api-key: sesame' -H 'Origin: http://good.example'
is "the key as x-api-key, a named origin" 200 "$status"
has "the origin is answered" "$box/headers" "Access-Control-Allow-Origin: http://good.example"
post /v1/chat/completions "$hello}" -H 'x-api-key: sesame'
has "the trace has the prompt" "$box/trace" "hello"
stop_server

printf '# two people\nfirst-key  # Anna\nsecond-key third-key\n' >"$box/keys"
start_server --api-key-file "$box/keys"
ask /v1/models -H 'x-api-key: sesame'
is "a key that is not in the file" 401 "$status"
ask /v1/models -H 'x-api-key: second'
is "the beginning of one" 401 "$status"
for key in first-key second-key third-key; do
    ask /v1/models -H "Authorization: Bearer $key"
    is "$key of the file" 200 "$status"
done
stop_server

# ---- other options ----------------------------------------------------------------------------
run "$server_program" -m "$model" --chdir "$box/nowhere"
is "a folder that is not there" 2 $rc
cp "$model" "$box/here.gguf"
before=$model
model=here.gguf
start_server --chdir "$box" --warm-weights --max-body-mb 1 --prefill-chunk 16 --official-sampling \
    --disable-exact-dsml-tool-replay --tool-memory-max-ids 10
model=$before
has "the model is read first" "$box/log" "model read "
head -c 1100000 "$box/huge" >"$box/large"
post /v1/chat/completions "@$box/large"
is "a body that is larger than this server takes" 413 "$status"
post /v1/chat/completions "$hello,\"seed\":1}"
text "$box/stdout" >"$box/first"
post /v1/chat/completions '{"messages":[{"role":"user","content":"hello"}],"max_tokens":8,"seed":1}'
is "reasoning passes over the temperature" "$(cat "$box/first")" "$(text "$box/stdout")"
is "and no turn is remembered" 0 "$(metric turn_bytes)"
stop_server

# ---- on disk -----------------------------------------------------------------------------------
awk 'BEGIN { printf "{\"max_tokens\":8,\"temperature\":0,\"messages\":[{\"role\":\"user\",\"content\":\""; for (i = 0; i < 500; i++) printf "word%d ", i; print "\"}]}" }' >"$box/story.json"
start_server --kv-disk-dir "$box/kv"
post /v1/chat/completions "@$box/story.json"
has "a long prompt is new" "$box/stdout" '"cached_tokens":0'
prompt=$(sed 's/.*"prompt_tokens":\([0-9]*\).*/\1/' "$box/stdout")
text "$box/stdout" >"$box/first"
stop_server
start_server --kv-disk-dir "$box/kv"
post /v1/chat/completions "@$box/story.json"
cached=$(sed 's/.*"cached_tokens":\([0-9]*\).*/\1/' "$box/stdout")
[ "$cached" -ge $((prompt * 9 / 10)) ]
report $? "it is known after a restart: $cached of $prompt"
is "and answered the same" "$(cat "$box/first")" "$(text "$box/stdout")"

# Responses outlive it too: the third goes on from the second, which went on from the first.
respond() {                             # respond INPUT [ID]: leaves the response's id in id
    post /v1/responses "{\"model\":\"m\",\"input\":\"$1\",\"max_output_tokens\":8,\"temperature\":0${2:+,\"previous_response_id\":\"$2\"}}"
    id=$(sed 's/{"id":"\([^"]*\)".*/\1/' "$box/stdout")
}
input_tokens() { sed 's/.*"input_tokens":\([0-9]*\).*/\1/' "$box/stdout"; }
respond "one word"
respond "another word" "$id"
second=$id
respond "and a third" "$second"
before=$(input_tokens)
stop_server
start_server --kv-disk-dir "$box/kv"
respond "and a third" "$second"
is "a response goes on from one before a restart" "200 $before" "$status $(input_tokens)"
respond "and a third" resp_00000000000000000000000000000000
refused "a response that is not known" 400 '"param":"previous_response_id"'
is "what is kept is private" "" "$(find "$box/kv" -type f -perm /077)"
stop_server

# ---- leaving early ----------------------------------------------------------------------------
server_program=$out/ds4-server-scripted
awk 'BEGIN { printf "\""; for (i = 0; i < 9000; i++) printf "%d ", i; print "\"" }' >"$box/script"
start_server --parallel 1 --max-queue 1 -c 60000 --script "$box/script"
long='{"messages":[{"role":"user","content":"count"}],"thinking":false'
curl -sN --max-time 60 -d "$long,\"stream\":true}" "$url/v1/chat/completions" >"$box/left" 2>&1 &
client=$!
wait_for_metric jobs_running 1 50
report $? "a long answer runs"
curl -sN --max-time 60 -d "$long,\"stream\":true}" "$url/v1/chat/completions" >"$box/waits" 2>&1 &
waiting=$!
wait_for_metric jobs_waiting 1 50
report $? "another waits"
post /v1/chat/completions "$long}"
refused "a full line" 429 '"type":"rate_limit_error"'
has "it says when to come again" "$box/headers" "Retry-After:"
post /v1/messages '{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"count"}]}'
refused "a full line, Anthropic" 529 '"type":"overloaded_error"'
left=80
until grep -q 'place 1 in the line' "$box/waits" || [ $left -eq 0 ]; do
    left=$((left - 1))
    sleep 0.1
done
has "who waits learns the place in the line" "$box/waits" ": place 1 in the line"
kill -9 $waiting
wait_for_metric jobs_waiting 0 10
report $? "a client that waited can leave"
kill -9 $client
wait_for_metric jobs_running 0 10
report $? "an answer ends within a second when its client leaves"
curl -s --max-time 60 -d "$long}" "$url/v1/chat/completions" >/dev/null 2>&1 &
client=$!
wait_for_metric jobs_running 1 50
kill -9 $client
wait_for_metric jobs_running 0 10
report $? "the same without a stream"
stop_server

# ---- loops -----------------------------------------------------------------------------------------
awk 'BEGIN { printf "{\"if\": \"think\", \"say\": \""; for (i = 0; i < 900; i++) printf "again and "; printf "\"}\n{\"say\": \"</think>"; for (i = 0; i < 900; i++) printf "over and "; print "\"}" }' >"$box/script"
start_server --loop-tokens 300 --script "$box/script"
post /v1/chat/completions '{"messages":[{"role":"user","content":"talk"}]}'
has "an endless answer is ended" "$box/stdout" '"finish_reason":"length"'
has "the log says why" "$box/log" "finish=loop"
# Why, beside the word that the API has for it: in each API, streamed and whole.
for stream in false true; do
    said="\"stream\":$stream,\"max_tokens\":900"
    post /v1/chat/completions "{\"messages\":[{\"role\":\"user\",\"content\":\"talk\"}],$said}"
    has "a loop is told, chat, stream $stream" "$box/stdout" '"finish_reason":"length","stop_reason":"loop"'
    post /v1/messages "{\"messages\":[{\"role\":\"user\",\"content\":\"talk\"}],\"thinking\":{\"type\":\"enabled\"},$said}"
    has "a loop is told, messages, stream $stream" "$box/stdout" '"stop_reason":"max_tokens","stop_sequence":null,"stop_details":{"type":"loop"}'
    post /v1/responses "{\"input\":\"talk\",$said}"
    has "a loop is told, responses, stream $stream" "$box/stdout" '"incomplete_details":{"reason":"loop"}'
    post /v1/completions "{\"prompt\":\"talk\",$said}"
    has "a loop is told, completions, stream $stream" "$box/stdout" '"finish_reason":"length","stop_reason":"loop"'
done
post /v1/chat/completions '{"messages":[{"role":"user","content":"think"}]}'
has "endless reasoning is closed" "$box/log" "loop reasoning closed"
stop_server
finish
