#!/bin/sh
# server_ops.sh - ds4-server as those meet it who run it: the log, the numbers, browsers and
# proxies in front, the end, the service manager, the trace.
. tests/cli/tap.inc
. tests/cli/server.inc

hello='{"messages":[{"role":"user","content":"hello"}],"max_tokens":4,"temperature":0'
long='{"stream":true,"thinking":false,"max_tokens":3000,"messages":[{"role":"user","content":"count"}]}'
longer='{"stream":true,"thinking":false,"max_tokens":16000,"messages":[{"role":"user","content":"count"}]}'

# logged NAME TEXT...: one line of the log has all of them. A line is written behind the answer.
logged() {
    name=$1
    shift
    left=30
    while [ $left -gt 0 ]; do
        cp "$box/log" "$box/lines"
        for text in "$@"; do
            grep -F -e "$text" "$box/lines" >"$box/some"
            mv "$box/some" "$box/lines"
        done
        [ -s "$box/lines" ] && break
        left=$((left - 1))
        sleep 0.1
    done
    [ -s "$box/lines" ]
    report $? "$name"
    [ -s "$box/lines" ] || tail -n 3 "$box/log" | sed 's/^/# /'
}

counted() {                             # counted NAME LABELS VALUE
    is "$1" "$3" "$(curl -sS "$url/metrics" | sed -n "s/^ds4_http_responses_total{$2} //p")"
}

# raw TEXT [SECONDS]: send bytes to the server, leave what comes in $box/raw.
raw() {
    host=${url#http://}
    printf "$1" | timeout "${2:-5}" "$out/tests/soak/raw" "${host##*:}" >"$box/raw"
}

# ---- the log: one line for each request, whatever became of it --------------------------------
awk 'BEGIN { printf "\""; for (i = 0; i < 9000; i++) printf "%d ", i; print "\"" }' >"$box/script"
server_program=$out/ds4-server-scripted
start_server --parallel 1 -c 60000 --script "$box/script" --vllm-metrics
post /v1/chat/completions '{"messages":['
logged "bad JSON" "warn ds4-server: chat status=400 client=127.0.0.1 method=POST path=/v1/chat/completions" "id=chatcmpl-" 'reason="'
post /v1/messages '{"messages":['
logged "the same, Anthropic" "messages status=400" "id=msg_"
ask /nowhere
logged "a path that is none" "other status=404" "method=GET path=/nowhere" 'reason="unknown endpoint'
ask /v1/models -X PUT
logged "a method that is none" "other status=405 client=127.0.0.1 method=PUT"
ask /v1/models -H 'Origin: http://elsewhere.example'
logged "a page from elsewhere" "other status=403" 'reason="this Origin is not allowed'
post /v1/chat/completions "$hello}" -H 'Origin: http://127.0.0.1' -H 'Content-Type: text/plain' -H 'Sec-Fetch-Site: same-origin'
ask /v1/models -H 'Host: elsewhere.example'
logged "a host from elsewhere" "other status=403" 'reason="this Host is not served'
raw 'GET / HTTP/1.1\nHost: x\n\n'
logged "what is no request" "warn ds4-server: other status=400" "method=- path=-" 'reason="a line of the request'
has "it is answered as all refusals are" "$box/raw" '"type":"invalid_request_error"'
post /v1/chat/completions "$longer" -m 1
logged "a stream that was left" "info ds4-server: chat status=200 broken=true" "id=chatcmpl-" "finish=cancelled"
post /v1/completions '{"prompt":"x","max_tokens":16000}' -m 1
logged "a whole answer that was left" "completions status=499 broken=true" "finish=cancelled"
post /v1/chat/completions "$hello,\"thinking\":false}" -H 'X-Forwarded-For: 192.0.2.7' -H 'x-session-id: s"1'
logged "an answer" "info ds4-server: chat status=200 client=127.0.0.1" "prompt=" "generated=4" "finish=length" 'forwarded_for="192.0.2.7"' "session=\"s'1\""
ask '/v1/models?x=1'
logged "a page" "info ds4-server: other status=200" "path=/v1/models ms="
is "lines have a date with its zone" 1 \
    "$(grep -c '^20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]\{3\}[+-][0-2][0-9]:[0-5][0-9] info ds4-server: ready' "$box/log")"
ask /health
is "what polls is not told of" "" "$(grep path=/health "$box/log")"

# ---- the numbers -------------------------------------------------------------------------------
counted "bad requests are counted" 'api="chat",code="400"' 1
counted "paths that are none" 'api="other",code="404"' 1
counted "methods that are none" 'api="other",code="405"' 1
counted "foreign pages and hosts" 'api="other",code="403"' 2
counted "those that left" 'api="completions",code="499"' 1
ask /metrics
cp "$box/stdout" "$box/metrics"
has "histograms" "$box/metrics" 'ds4_time_to_first_token_seconds_bucket{le="+Inf"}'
for name in between_tokens queue request prompt answer; do
    n=$(sed -n "s/^ds4_${name}_seconds_count //p" "$box/metrics")
    [ "${n:-0}" -ge 1 ]
    report $? "histogram of ds4_${name}_seconds: $n"
done
has "which version and model" "$box/metrics" 'ds4_build_info{version="'
for name in process_cpu_seconds_total process_resident_memory_bytes process_open_fds process_start_time_seconds \
        vllm:num_requests_running vllm:num_requests_waiting vllm:kv_cache_usage_perc vllm:request_success_total \
        vllm:time_to_first_token_seconds_bucket; do
    is "$name" 1 "$(grep -c "^$name[ {]" "$box/metrics" | sed 's/[2-9]\|[1-9][0-9]*/1/')"
done
run awk -f tests/cli/exposition.awk "$box/metrics"
is "the form is that of Prometheus" "" "$(cat "$box/stdout")"
stop_server

# ---- browsers, and proxies in front ------------------------------------------------------------
server_program=$out/ds4-server
start_server --parallel 1 --cors-origin http://localhost:3000 --allow-host proxy.example
ask /v1/chat/completions -X OPTIONS -H 'Origin: http://localhost:3000' -H 'Access-Control-Request-Method: POST' \
    -H 'Access-Control-Request-Headers: authorization,content-type,x-stainless-os,x-stainless-retry-count,x-new'
is "a named page asks first" 204 "$status"
has "and may send every header it asks for" "$box/headers" "authorization,content-type,x-stainless-os,x-stainless-retry-count,x-new"
has "under its own name" "$box/headers" "Access-Control-Allow-Origin: http://localhost:3000"
ask /v1/models -H 'Origin: http://localhost:3000'
has "it may read the headers that matter" "$box/headers" "Access-Control-Expose-Headers: x-request-id"
ask /v1/chat/completions -X OPTIONS -H 'Origin: http://elsewhere.example' -H 'Access-Control-Request-Method: POST'
is "another page is told nothing" "403 0" "$status $(grep -ci '^access-control' "$box/headers")"
ask /assets/chat.js -H 'Host: 127.0.0.1:8000' -H 'Origin: http://127.0.0.1:8080'
is "files of the page are public" 200 "$status"
allowed() {                             # allowed NAME STATUS CURL-OPTION...
    name=$1 wanted=$2
    shift 2
    ask /v1/models "$@"
    is "$name" "$wanted" "$status"
}
allowed "the page's own requests behind a plain proxy" 200 -H 'Host: 127.0.0.1:8000' \
    -H 'Origin: http://127.0.0.1:8080' -H 'Sec-Fetch-Site: same-origin'
allowed "with what the proxy forwards" 200 -H 'Host: 127.0.0.1:8000' -H 'Origin: https://ds4.lan' \
    -H 'X-Forwarded-Host: ds4.lan'
allowed "not with what it does not" 403 -H 'Origin: https://ds4.lan' -H 'X-Forwarded-Host: other.lan'
allowed "a page of the same site" 403 -H 'Origin: http://127.0.0.1:9' -H 'Sec-Fetch-Site: same-site'
allowed "a page elsewhere that shows no Origin" 403 -H 'Sec-Fetch-Site: cross-site' -H 'Sec-Fetch-Mode: no-cors'
allowed "a link elsewhere" 200 -H 'Sec-Fetch-Site: cross-site' -H 'Sec-Fetch-Mode: navigate'
allowed "an address that was typed" 200 -H 'Sec-Fetch-Site: none'
allowed "a host that was named" 200 -H 'Host: Proxy.Example:443'
allowed "one that only begins so" 403 -H 'Host: proxy.example.evil.example'
allowed "this machine by IPv6" 200 -H 'Host: [::1]:8000'
allowed "the same in full" 200 -H 'Host: [0:0:0:0:0:0:0:1]'
allowed "an address of this machine with something behind" 400 -H 'Host: 127.0.0.1:80@evil.example'
allowed "two ports" 400 -H 'Host: 127.0.0.1:80:80'
stop_server
start_server --parallel 1 --api-key sesame
allowed "whoever has the key is no page that came by" 200 -H 'Origin: http://192.0.2.1' -H 'x-api-key: sesame'
allowed "who has none still is" 403 -H 'Origin: http://192.0.2.1' -H 'x-api-key: wrong'
allowed "without an Origin it is the key that lacks" 401 -H 'x-api-key: wrong'

stop_server
if start_server --parallel 1 --host ::1 2>/dev/null; then
    allowed "an address of IPv6" 200
    is "is told in brackets" 'http://[::1]:' "$(printf '%s' "$url" | sed 's/[0-9]*$//')"
    logged "and who asked in the log" "other status=200 client=::1 method=GET path=/v1/models"
    stop_server
fi
start_server --parallel 1

# ---- two lengths ---------------------------------------------------------------------------------
inner='GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'
raw "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\nContent-Length: 50\r\n\r\n{}$inner"
is "two lengths are one answer" "1 400" "$(grep -c '^HTTP/1.1' "$box/raw") $(sed -n 's/^HTTP.1.1 \([0-9]*\).*/\1/p' "$box/raw")"
has "and the end of the connection" "$box/raw" "Connection: close"
stop_server

# ---- the end --------------------------------------------------------------------------------------
server_program=$out/ds4-server-scripted
start_server --parallel 1 -c 60000 --script "$box/script"
curl -sN --max-time 60 -d "$long" "$url/v1/chat/completions" >"$box/stream" &
client=$!
wait_for_metric jobs_running 1 50
kill -TERM "$server"
left=20
until grep -q 'draining' "$box/log" || [ $left -eq 0 ]; do
    left=$((left - 1))
    sleep 0.05
done
ask /health -m 2
is "while it drains, a new connection hears so at once" '503 {"status":"shutting down"}' "$status $(cat "$box/stdout")"
post /v1/chat/completions "$hello}" -m 2
is "a new request too" 503 "$status"
has "with when to come again" "$box/headers" "Retry-After: 5"
has "and its connection is the last" "$box/headers" "Connection: close"
wait $client
is "the stream that ran has come to its end" "data: [DONE]" "$(grep . "$box/stream" | tail -n 1)"
wait "$server"
is "and so has the server" 0 $?
server=

# ---- half closed ------------------------------------------------------------------------------------
start_server --parallel 1 -c 60000 --script "$box/script"
body='{"thinking":false,"max_tokens":400,"messages":[{"role":"user","content":"count"}]}'
raw "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${#body}\r\n\r\n$body" 20
has "a client that has closed its side is answered" "$box/raw" '"completion_tokens":400'
body="{\"stream\":true,${body#?}"
raw "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${#body}\r\n\r\n$body" 20
has "the same with a stream" "$box/raw" 'data: [DONE]'
stop_server

# ---- memory of requests ------------------------------------------------------------------------------
start_server --parallel 1 --request-mem 3M --script "$box/script"
awk 'BEGIN { printf "{\"messages\":["; for (i = 0; i < 30000; i++) printf "{\"role\":\"user\",\"content\":\"a\"},"; print "{\"role\":\"user\",\"content\":\"a\"}]}" }' >"$box/wide"
post /v1/chat/completions "@$box/wide"
is "a request that alone takes too much" 413 "$status"
has "is told never to come again" "$box/headers" "x-should-retry: false"
is "and gives back what it had" 0 "$(metric request_memory_bytes)"
awk 'BEGIN { printf "{\"prompt\":\""; for (i = 0; i < 1200000; i++) printf "a"; print "\"}" }' >"$box/thick"
for i in 1 2; do
    curl -sS -m 20 --limit-rate 400k -o "$box/slow$i" -w '%{http_code}\n' --data-binary "@$box/thick" \
        "$url/v1/completions" >"$box/status$i" 2>/dev/null &
    eval "slow$i=$!"
done
wait "$slow1" "$slow2"
is "of two at once that are too much, one is asked to come again" 1 "$(cat "$box"/status? | grep -c 503)"
is "nothing of them stays" 0 "$(metric request_memory_bytes)"
stop_server

# Eight large ones at once: all of them together are too much, and some are answered all the same.
start_server --parallel 1 --request-mem 20M --script "$box/script"
{
    printf '{"max_tokens":2,"messages":[{"role":"user","content":"look"},{"role":"assistant","content":[{"type":"tool_use",'
    printf '"id":"t","name":"read","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t",'
    printf '"content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"'
    head -c 5000000 /dev/zero | tr '\0' A
    printf '"}}]}]}]}'
} >"$box/picture"
asking=
for i in 1 2 3 4 5 6 7 8; do
    curl -sS -m 60 -o "$box/answer$i" -D "$box/head$i" -w '%{http_code}\n' -H 'Expect:' --data-binary "@$box/picture" \
        "$url/v1/messages" >"$box/large$i" 2>/dev/null &
    asking="$asking $!"
done
# shellcheck disable=SC2086
wait $asking
n_served=$(cat "$box"/large? | grep -c 200)
n_sent_away=$(cat "$box"/large? | grep -c 503)
[ "$n_served" -ge 1 ] && [ "$n_sent_away" -ge 1 ] && [ $((n_served + n_sent_away)) -eq 8 ]
report $? "of eight large requests at once $n_served are served, $n_sent_away asked to come again"
is "all of these are told when" "$n_sent_away" "$(cat "$box"/head? | grep -ci '^retry-after: [1-9]')"
is "and nothing stays of them" 0 "$(metric request_memory_bytes)"
stop_server

# ---- the service manager -----------------------------------------------------------------------------
server_program=$out/ds4-server
"$out/tests/soak/raw" --datagrams "$box/notify" >"$box/told" &
manager=$!
left=50
until [ -S "$box/notify" ] || [ $left -eq 0 ]; do
    left=$((left - 1))
    sleep 0.1
done
export NOTIFY_SOCKET="$box/notify"
start_server --parallel 1
unset NOTIFY_SOCKET
has "the service manager hears that it is ready" "$box/told" "READY=1"
stop_server
left=30
until grep -q STOPPING "$box/told" || [ $left -eq 0 ]; do
    left=$((left - 1))
    sleep 0.1
done
has "and that it ends" "$box/told" "STOPPING=1"
kill $manager
wait $manager 2>/dev/null

# ---- SIGHUP, the trace ---------------------------------------------------------------------------------
umask 022
# In a terminal a hang-up would end it.
command -v setsid >/dev/null && heard="setsid $heard"
start_server --parallel 1 --trace "$box/trace" --kv-disk-dir "$box/kv" --log-level debug --log-format json
post /v1/chat/completions "$hello}"
is "the trace is its owner's" 600 "$(stat -c %a "$box/trace" 2>/dev/null || stat -f %Lp "$box/trace")"
mv "$box/trace" "$box/trace.1"
kill -HUP "$server"
logged "SIGHUP writes what waits" '"subject":"hangup"' 'what waited is written'
post /v1/chat/completions "$hello}"
is "and the trace goes on in a new file" 600 "$(stat -c %a "$box/trace" 2>/dev/null || stat -f %Lp "$box/trace")"
has "with what was said since" "$box/trace" "hello"
ask /health
logged "debug tells of polls too, as JSON" '"level":"debug"' '"path":"/health"' '"status":200,'
is "every line is an object" "" "$(grep -v '^{"time":"20.*}$' "$box/log")"
stop_server
umask 077
for file in open link; do
    rm -f "$box/trace.2"
    case $file in
        open) : >"$box/trace.2"; chmod 644 "$box/trace.2" ;;
        link) ln -s "$box/trace.1" "$box/trace.2" ;;
    esac
    run timeout 20 "$server_program" -m "$model" --port 0 --trace "$box/trace.2"
    is "a trace that is $file is refused" 2 $rc
    has "with a reason" "$box/stderr" "--trace: $box/trace.2"
done

# ---- a port that is taken ---------------------------------------------------------------------------------
start_server --parallel 1
run timeout 20 "$server_program" -m "$model" --port "${url##*:}"
is "a port that is taken is told" 1 $rc
is "before the model is opened" 1 "$(grep -c . "$box/stderr")"
stop_server
finish
