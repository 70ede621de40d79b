#!/bin/sh
# run.sh - ds4-server behind the proxies that people use, with the configurations of contrib/proxy:
# the page and streams through each of them; and two servers with one folder behind HAProxy, one of
# which is killed in the middle of a conversation.
. tests/cli/tap.inc
[ -r models/ds4-mini.gguf ] && model=models/ds4-mini.gguf
pids=

end_all() {
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill $pids 2>/dev/null
    wait
    rm -rf "$box"
}
trap end_all EXIT

# serve NAME OPTION...: leaves pid and port.
serve() {
    name=$1
    shift
    "$out/ds4-server" -m "$model" --port 0 -c 4096 -t 1 --parallel 2 "$@" 2>"$box/$name.log" &
    pid=$!
    pids="$pids $pid"
    left=200
    until grep -q 'listening on' "$box/$name.log" || [ $left -eq 0 ]; do
        left=$((left - 1))
        sleep 0.1
    done
    port=$(sed -n 's/.*listening on http:..[^:]*:\([0-9]*\).*/\1/p' "$box/$name.log")
}

# A port that nobody has: the system gives one to a server that is then ended.
free_port() {
    serve free
    kill $pid
    wait $pid 2>/dev/null
}

# behind NAME PORT: wait until a proxy passes requests on.
behind() {
    url=http://127.0.0.1:$2
    left=100
    until [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "$url/health")" = 200 ] || [ $left -eq 0 ]; do
        left=$((left - 1))
        sleep 0.1
    done
    [ $left -gt 0 ]
    report $? "$1 passes requests on"
}

# Requests of a browser for the page, and those of the page.
through() {                             # through NAME
    status=$(curl -s -m 10 -o "$box/stdout" -w '%{http_code}' -H "Origin: $url" -H 'Sec-Fetch-Site: same-origin' "$url/assets/chat.js")
    is "$1: the page's script" 200 "$status"
    status=$(curl -s -m 20 -o "$box/stdout" -w '%{http_code}' -H "Origin: $url" -H 'Sec-Fetch-Site: same-origin' \
        -H 'Content-Type: application/json' "$url/v1/chat/completions" \
        -d '{"messages":[{"role":"user","content":"hello"}],"max_tokens":4}')
    is "$1: a request of the page" 200 "$status"
    status=$(curl -s -m 10 -o "$box/stdout" -w '%{http_code}' -H 'Origin: http://elsewhere.example' -H 'Sec-Fetch-Site: cross-site' \
        -H 'Content-Type: application/json' "$url/v1/chat/completions" -d '{"messages":[{"role":"user","content":"hello"}]}')
    is "$1: a page from elsewhere" 403 "$status"
    curl -sN -m 30 "$url/v1/chat/completions" -o "$box/stdout" -w '%{time_starttransfer} %{time_total}\n' \
        -d '{"stream":true,"temperature":0,"messages":[{"role":"user","content":"Tell me a story."}],"max_tokens":400}' >"$box/times"
    is "$1: a stream comes to its end" "data: [DONE]" "$(grep . "$box/stdout" | tail -n 1)"
    awk '{ exit !($1 < $2 / 2 || $1 < 0.3) }' "$box/times"
    report $? "$1: it does not wait in the proxy: first byte and all after $(cat "$box/times") s"
}

need() { command -v "$1" >/dev/null; }

# ---- one server behind each of them --------------------------------------------------------------
serve one
one=$port
free_port
proxy=$port
for name in nginx caddy haproxy; do
    if ! need $name; then
        skip "behind $name" "no $name here; tools/setup.sh proxy installs it"
        continue
    fi
    case $name in
        nginx)
            sed "s/127.0.0.1:8080/127.0.0.1:$proxy/; s/127.0.0.1:8000/127.0.0.1:$one/" contrib/proxy/nginx.conf >"$box/nginx.conf"
            printf 'daemon off; master_process off; pid %s/nginx.pid; error_log %s/nginx.log;\n' "$box" "$box" >>"$box/nginx.conf"
            nginx -p "$box" -c "$box/nginx.conf" 2>"$box/nginx.err" & ;;
        caddy)
            sed "s/127.0.0.1:8080/127.0.0.1:$proxy/; s/127.0.0.1:8000/127.0.0.1:$one/" contrib/proxy/Caddyfile >"$box/Caddyfile"
            HOME=$box XDG_CONFIG_HOME=$box XDG_DATA_HOME=$box caddy run --adapter caddyfile --config "$box/Caddyfile" 2>"$box/caddy.log" & ;;
        haproxy)
            sed "s/127.0.0.1:8080/127.0.0.1:$proxy/; s/127.0.0.1:8001/127.0.0.1:$one/; /server two/d" contrib/proxy/haproxy.cfg >"$box/one.cfg"
            haproxy -db -f "$box/one.cfg" 2>"$box/haproxy.log" & ;;
    esac
    pid=$!
    pids="$pids $pid"
    behind $name "$proxy"
    through $name
    kill $pid
    wait $pid 2>/dev/null
done
# As guides have it: nothing but proxy_pass, and with the name but without the port.
if need nginx; then
    for host in '' 'proxy_set_header Host $host;'; do
        cat >"$box/plain.conf" <<END
daemon off; master_process off; pid $box/nginx.pid; error_log $box/nginx.log; events {}
http { access_log off; server { listen 127.0.0.1:$proxy; location / { proxy_pass http://127.0.0.1:$one; $host } } }
END
        nginx -p "$box" -c "$box/plain.conf" 2>"$box/nginx.err" &
        pid=$!
        pids="$pids $pid"
        behind "plain nginx" "$proxy"
        through "plain nginx${host:+, $host}"
        kill $pid
        wait $pid 2>/dev/null
    done
fi

# ---- two servers, one folder, HAProxy in front -----------------------------------------------------
if ! need haproxy; then
    skip "two servers behind HAProxy" "no haproxy here; tools/setup.sh proxy installs it"
    finish
fi
serve first --kv-disk-dir "$box/kv"
first=$port first_pid=$pid
serve second --kv-disk-dir "$box/kv"
second=$port second_pid=$pid
sed "s/127.0.0.1:8080/127.0.0.1:$proxy/; s/127.0.0.1:8001/127.0.0.1:$first/; s/127.0.0.1:8002/127.0.0.1:$second/" \
    contrib/proxy/haproxy.cfg >"$box/two.cfg"
haproxy -db -f "$box/two.cfg" 2>"$box/haproxy.log" &
pids="$pids $!"
behind "HAProxy with two servers" "$proxy"

answered() { grep -c ' chat status=200' "$box/$1.log"; }

# ask SESSION: the conversation in $box/SESSION with one more question; leaves the numbers.
ask_more() {
    printf '{"temperature":0,"thinking":false,"max_tokens":16,"messages":[%s]}' "$(cat "$box/$1")" >"$box/body"
    curl -s -m 60 -H "x-session-id: $1" -H 'Content-Type: application/json' --data-binary "@$box/body" \
        "$url/v1/chat/completions" >"$box/stdout"
    said=$(sed -n 's/.*"content":"\(\([^"\\]\|\\.\)*\)".*/\1/p' "$box/stdout")
    prompt=$(sed -n 's/.*"prompt_tokens":\([0-9]*\).*/\1/p' "$box/stdout")
    cached=$(sed -n 's/.*"cached_tokens":\([0-9]*\).*/\1/p' "$box/stdout")
    printf ',{"role":"assistant","content":"%s"},{"role":"user","content":"And then, %d?"}' "$said" "$2" >>"$box/$1"
}

awk 'BEGIN { printf "{\"role\":\"user\",\"content\":\""; for (i = 0; i < 500; i++) printf "word%d ", i; printf "\"}" }' >"$box/talk"
turn=1
while [ $turn -le 10 ]; do
    ask_more talk $turn
    turn=$((turn + 1))
done
is "ten turns of a conversation are on one server" "0 10" \
    "$(printf '%s\n' "$(answered first)" "$(answered second)" | sort -n | tr '\n' ' ' | sed 's/ $//')"
[ $((cached * 100)) -ge $((prompt * 97)) ]
report $? "where the tenth finds what the others read: $cached of $prompt tokens"

for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    printf '{"role":"user","content":"hello %d"}' $i >"$box/other$i"
    ask_more other$i 1
done
a=$(answered first) b=$(answered second)
[ "$a" -gt 0 ] && [ "$b" -gt 0 ]
report $? "other conversations are on both: $a and $b answers"

if grep -q 'session="talk"' "$box/first.log"; then killed=$first_pid left=second; else killed=$second_pid left=first; fi
sleep 1                                 # what the last turn left is being written
kill -9 $killed
wait $killed 2>/dev/null
ask_more talk 11
is "one is killed, the other one answers" 1 "$(grep -c 'session="talk"' "$box/$left.log")"
[ $((${cached:-0} * 100)) -ge $((${prompt:-1} * 90)) ]
report $? "with what it finds in the folder: $cached of $prompt tokens"
finish
