#!/bin/sh
# server_store.sh - what a server keeps: responses and turns of several servers in one folder, of several
# keys, within the folder's budget; shown, listed, deleted; a folder that goes while it is used.
. tests/cli/tap.inc
. tests/cli/server.inc

[ -r models/ds4-mini.gguf ] || { echo "ok 1 - no bundled model # SKIP"; echo "1..1"; exit 0; }

kv=$box/kv
servers=

# begin NAME [OPTIONS]: one of several servers; use NAME turns to it.
begin() {
    name=$1
    shift
    start_server "$@"
    eval "url_$name=\$url pid_$name=\$server"
    servers="$servers $server"
    server=
}
use() { eval "url=\$url_$1"; }
end() {                                 # end NAME [SIGNAL]
    eval "gone=\$pid_$1"
    kill "${2:--TERM}" "$gone" 2>/dev/null
    wait "$gone" 2>/dev/null
}
trap 'for pid in $servers; do kill "$pid" 2>/dev/null; done; stop_server; rm -rf "$box"' EXIT

id() { sed -n 's/^{"id":"\([^"]*\)".*/\1/p' "$box/stdout"; }
respond() {                             # respond TEXT [BEFORE [CURL OPTIONS]]
    text=$1 before=${2:-}
    shift; [ $# -gt 0 ] && shift
    post /v1/responses "{\"input\":\"$text\",\"max_output_tokens\":2,\"reasoning\":{\"effort\":\"none\"}${before:+,\"previous_response_id\":\"$before\"}}" "$@"
}

# ---- two servers -------------------------------------------------------------------------------
begin a --kv-disk-dir "$kv" --turn-mem 1M
begin b --kv-disk-dir "$kv" --turn-mem 1M
use b; respond "My number is 12."
first=$(id)
use a; respond "and?" "$first"
is "one server goes on from what the other stored" 200 "$status"
head -c 30000 /dev/zero | tr '\0' x >"$box/blob"
printf '{"max_output_tokens":1,"input":[{"type":"compaction","blob":"%s"},{"role":"user","content":"hi"}]}' \
    "$(cat "$box/blob")" >"$box/large"
n=0
while [ $n -lt 50 ]; do
    use a; post /v1/responses "@$box/large"
    n=$((n + 1))
done
use b; respond "And 13." "$first"
second=$(id)
is "stored responses do not push each other out" 200 "$status"
end a -KILL; end b
begin b --kv-disk-dir "$kv" --turn-mem 1M
use b; respond "and?" "$first"
is "the first is there after a restart" 200 "$status"
respond "and?" "$second"
is "so is the second" 200 "$status"

# ---- shown, listed, deleted ---------------------------------------------------------------------
ask "/v1/responses/$second"
is "a stored response is shown" 200 "$status"
has "with its items" "$box/stdout" '"type":"output_text"'
has "and what it goes on from" "$box/stdout" "\"previous_response_id\":\"$first\""
has "and that it is stored" "$box/stdout" '"store":true'
ask "/v1/responses/$second/input_items?order=asc"
has "its input is listed" "$box/stdout" '"text":"And 13."'
ask "/v1/responses/$second/input_items?limit=0"
is "a limit out of range" 400 "$status"
ask "/v1/responses/$second" -X DELETE
is "it is deleted" "200 {\"id\":\"$second\",\"object\":\"response\",\"deleted\":true}" "$status $(cat "$box/stdout")"
ask "/v1/responses/$second" -X DELETE
is "once" 404 "$status"
ask "/v1/responses/$second"
is "then it is not shown" 404 "$status"
ask "/v1/responses/$second/input_items"
is "nor listed" 404 "$status"
respond "and?" "$second"
is "nor gone on from" 400 "$status"
ask "/v1/responses/$first" -X PUT
is "other methods" 405 "$status"
ask "/v1/responses/resp_%22%3Cx"
is "what cannot be an id" 404 "$status"
post /v1/responses '{"input":"x","max_output_tokens":1,"store":false}'
has "what is not to be stored is not said to be" "$box/stdout" '"store":false'
ask "/v1/responses/$(id)"
is "and is not" 404 "$status"
end b

# ---- keys ----------------------------------------------------------------------------------------
printf 'alpha-key-111\nbeta-key-2222\n' >"$box/keys"
chmod 600 "$box/keys"
a='Authorization: Bearer alpha-key-111' b='x-api-key: beta-key-2222'
for where in "--kv-disk-dir $box/keyed" ""; do
    # shellcheck disable=SC2086
    start_server --api-key-file "$box/keys" $where
    respond "My secret number is 7741." "" -H "$a"
    own=$(id)
    respond "Repeat it." "$own" -H "$b"
    is "another key's response is unknown${where:+, on disk}" 400 "$status"
    ask "/v1/responses/$own" -H "$b"
    is "it is not shown" 404 "$status"
    ask "/v1/responses/$own" -X DELETE -H "$b"
    is "nor deleted" 404 "$status"
    ask "/v1/responses/$own/input_items"
    is "nor anything without a key" 401 "$status"
    respond "Repeat it." "$own" -H "x-api-key: alpha-key-111"
    is "its own key goes on, whichever header shows it" 200 "$status"
    stop_server
done
private='{"messages":[{"role":"user","content":"A long private question about project Zanzibar. A long private question about project Zanzibar. A long private question about it."}],"max_tokens":1,"thinking":false}'
cached() { sed 's/.*"cached_tokens":\([0-9]*\).*/\1/' "$box/stdout"; }
for where in "" "--kv-keys-apart" "--kv-keys-apart --kv-disk-dir $box/apart --kv-cache-min-tokens 1"; do
    # shellcheck disable=SC2086
    start_server --api-key-file "$box/keys" $where
    post /v1/chat/completions "$private" -H "$a"
    is "a first question is new${where:+ ($where)}" 0 "$(cached)"
    post /v1/chat/completions "$private" -H "$b"
    if [ -z "$where" ]; then
        [ "$(cached)" -gt 20 ]; report $? "prompts are shared among keys"
    else
        is "and new for another key" 0 "$(cached)"
    fi
    post /v1/chat/completions "$private" -H "$a"
    [ "$(cached)" -gt 20 ]; report $? "the first key finds its own"
    post /v1/chat/completions "$private" -H "$b"
    [ "$(cached)" -gt 20 ]; report $? "so does the second"
    stop_server
done
! grep -aq "alpha-key" "$box/keyed/index.sqlite"
report $? "no key lies in the folder"

# ---- the budget ----------------------------------------------------------------------------------
start_server --kv-disk-dir "$box/small" --kv-disk-space-mb 8
n=0
while [ $n -lt 8 ]; do
    { printf '{"max_output_tokens":1,"input":[{"type":"compaction","blob":"'
      head -c 3000000 /dev/zero | tr '\0' x
      printf '"},{"role":"user","content":"hi %d"}]}' $n; } >"$box/large"
    post /v1/responses "@$box/large"
    n=$((n + 1))
done
last=$(id)
respond "and?" "$last"
is "the last large response is there" 200 "$status"
used=$(du -sk "$box/small" | cut -f1)
[ "$used" -le 8192 ]; report $? "the folder keeps to its budget: $used KiB of 8192"
stop_server
"$ds4" kv ls --kv-disk-dir "$box/small" >"$box/ls"
has "kv ls tells of responses" "$box/ls" "responses"
"$ds4" kv prune --kv-disk-dir "$box/small" --kv-disk-space-mb 1 >"$box/prune" 2>&1
used=$(du -sk "$box/small" | cut -f1)
[ "$used" -le 1024 ]; report $? "kv prune drops them: $used KiB"

# ---- one request, one answer ----------------------------------------------------------------------
# A conversation whose 35th turn this model samples in other tokens than its text has.
talk() {                                # talk TURNS
    { printf '{"temperature":0,"thinking":false,"max_tokens":12,"messages":['
      head -n "$1" tests/cli/data/turns.jsonl | paste -s -d , -
      printf ']}'; } >"$box/talk.json"
    post /v1/chat/completions "@$box/talk.json"
}
answer() { sed 's/.*"content":\("[^"]*"\).*"prompt_tokens":\([0-9]*\).*"sampled_tokens":\([0-9]*\).*/\1 \2 \3/' "$box/stdout"; }
start_server --kv-disk-dir "$box/same" -c 8192
talk 34
talk 36
answer >"$box/warm"
stop_server
start_server --kv-disk-dir "$box/same" -c 8192
talk 36
is "the same after a restart" "$(cat "$box/warm")" "$(answer)"
stop_server
rm -f "$box/same"/*.tail "$box/same"/*.block
start_server --kv-disk-dir "$box/same" -c 8192
talk 36
is "and when its rows are gone" "$(cat "$box/warm")" "$(answer)"
[ "$(sed 's/.*"cached_tokens":\([0-9]*\).*/\1/' "$box/stdout")" = 0 ]; report $? "which were read anew"
stop_server
start_server -c 8192
talk 36
has "a server that knows no turn says so" "$box/stdout" '"sampled_tokens":0'
post /v1/messages '{"max_tokens":2,"messages":[{"role":"user","content":"hi"}]}'
has "in the other APIs too" "$box/stdout" '"sampled_input_tokens":0'
respond "hi"
has "each in its place" "$box/stdout" '"sampled_tokens":0},"output_tokens"'
stop_server

# ---- a folder that goes --------------------------------------------------------------------------
story() {
    awk -v n="$1" 'BEGIN { printf "{\"max_tokens\":4,\"temperature\":0,\"messages\":[{\"role\":\"user\",\"content\":\""
        for (i = 0; i < 400; i++) printf "rule%d.%d ", n, i; print "\"}]}" }' >"$box/story.json"
    post /v1/chat/completions "@$box/story.json"
}
cached() { sed 's/.*"cached_tokens":\([0-9]*\).*/\1/' "$box/stdout"; }
mkdir "$box/old"
chmod 700 "$box/old"
echo x >"$box/old/server-turns.bin"
echo x >"$box/old/server-responses.bin"
start_server --kv-disk-dir "$box/old"
has "files of an older version are set aside with a word" "$box/log" "server-responses.bin is of an older version"
[ -e "$box/old/server-turns.bin.bad" ]; report $? "and are there"
story 1
sleep 0.5
rm -rf "$box/old"
respond "kept?" ""
own=$(id)
story 2
story 3
wait_for_metric disk_storing 1 150
report $? "storing goes on"
stop_server
start_server --kv-disk-dir "$box/old"
story 2
[ "$(cached)" -gt 500 ]; report $? "a folder that was removed is made anew: $(cached) tokens of it"
story 3
[ "$(cached)" -gt 500 ]; report $? "and all of it: $(cached)"
respond "and?" "$own"
is "responses too" 200 "$status"
stop_server

# ---- a disk that cannot be written ---------------------------------------------------------------
start_server --kv-disk-dir /proc/self/nowhere
story 1
is "a server without a disk serves" 200 "$status"
has "and says so" "$box/log" "conversations are not stored for now"
is "once" 1 "$(grep -c 'not stored for now' "$box/log")"
respond "kept?" ""
has "a response is not said to be stored" "$box/stdout" '"store":false'
respond "and?" "$(id)"
is "but is there as long as the server is" 200 "$status"
is "the metrics tell" 0 "$(metric disk_storing)"
stop_server
is "and it ends in order" 0 "$rc"

finish
