#!/bin/sh
# server_kills.sh - two servers on one folder, one of them killed again and again at random moments: no
# response of either that was acknowledged is lost. DS4_KILLS says how often [8]; make kills: 200 times.
. tests/cli/tap.inc
. tests/cli/server.inc

[ -r models/ds4-mini.gguf ] || { echo "ok 1 - no bundled model # SKIP"; echo "1..1"; exit 0; }

kills=${DS4_KILLS:-8}
seed=${DS4_SEED:-$(date +%s)}
pids=
trap 'touch "$box/stop"; for pid in $pids $server; do kill -9 "$pid" 2>/dev/null; done; wait 2>/dev/null; rm -rf "$box"' EXIT

# Everybody's next number: from 0 to N - 1.
random() {
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    number=$((seed / 65536 % $1))
}

begin() {                               # begin NAME: its address is in a file that appears whole
    start_server --kv-disk-dir "$box/kv" --kv-cache-min-tokens 64
    eval "pid_$1=\$server"
    pids="$pids $server"
    server=
    echo "$url" >"$box/url.tmp"
    mv "$box/url.tmp" "$box/url_$1"
}

# Asks one server without end; ids that were acknowledged as stored go into a file.
client() {                              # client NAME NUMBER
    n=0
    while [ ! -e "$box/stop" ]; do
        n=$((n + 1))
        body=$box/body_$1_$2
        printf '{"max_output_tokens":2,"reasoning":{"effort":"none"},"input":[{"type":"compaction","blob":"%s"},{"role":"user","content":"%s %s"}]}' \
            "$(head -c $((n % 7 * 15000)) /dev/zero | tr '\0' x)" "$1" "$n" >"$body"
        curl -sS --max-time 20 -H 'Content-Type: application/json' --data-binary "@$body" \
            "$(cat "$box/url_$1")/v1/responses" >"$box/answer_$1_$2" 2>/dev/null || { sleep 0.05; continue; }
        grep -q '"store":true' "$box/answer_$1_$2" || continue
        own=$(sed -n 's/^{"id":"\([^"]*\)".*/\1/p' "$box/answer_$1_$2")
        [ -n "$own" ] && echo "$own" >>"$box/acked"
    done
}

echo "# seed $seed"
begin a
begin b
: >"$box/acked"
clients=
for name in a b; do
    for number in 1 2; do
        client $name $number &
        clients="$clients $!"
    done
done
n=0
while [ $n -lt "$kills" ]; do
    n=$((n + 1))
    random 60
    sleep "0.$(printf %02d "$number")"
    random 2
    [ "$number" = 0 ] && name=a || name=b
    eval "victim=\$pid_$name"
    kill -9 "$victim"
    wait "$victim" 2>/dev/null
    begin $name
done
sleep 0.3
touch "$box/stop"
for pid in $clients; do wait "$pid"; done

total=0 lost=0
for id in $(cat "$box/acked"); do
    for name in a b; do
        url=$(cat "$box/url_$name")
        ask "/v1/responses/$id"
        [ "$status" = 200 ] || { lost=$((lost + 1)); echo "# $name does not know $id: $status"; }
    done
    total=$((total + 1))
done
is "none of $total acknowledged responses is lost after $kills kills" 0 $lost
[ "$total" -ge "$kills" ]; report $? "there were some"
"$ds4" kv verify --kv-disk-dir "$box/kv" >"$box/verify" 2>&1
report $? "all files are good: $(cat "$box/verify")"
finish
