#!/bin/sh
# agent_acp.sh - ds4-agent --acp: an editor that is a shell script, and a model whose words are prescribed.
. tests/cli/tap.inc
. tests/cli/agent.inc

say -i "make a file" "I write.</think>I write it.$(call write path a.txt content 'one\n')"
say -i "Created" "Fine.</think>It is there."
say "Hm.</think>I do not know."
project=$(cd "$project" && pwd -P)

mkfifo "$box/in" "$box/out"
timeout 120 "$agent" --acp --ask -m "$mini" --sessions "$sessions" --script "$box/script" --no-notes -t 1 -c 8192 \
    <"$box/in" >"$box/out" 2>"$box/stderr" &
agent_pid=$!
exec 3>"$box/in" 4<"$box/out"

# until_line TEXT: lines of the agent, kept in $box/said, to the first that has the text; it is in $line.
until_line() {
    while IFS= read -r line <&4; do
        printf '%s\n' "$line" >>"$box/said"
        case $line in *"$1"*) return 0 ;; esac
    done
    return 1
}
request() { printf '{"jsonrpc":"2.0","id":%s,"method":"%s","params":%s}\n' "$1" "$2" "$3" >&3; }

request 0 initialize '{"protocolVersion":1,"clientCapabilities":{}}'
until_line '"id":0,"result":{"protocolVersion":1'; report $? "initialize"
request 1 session/new "{\"cwd\":\"$project\",\"mcpServers\":[]}"
until_line '"id":1,"result":{"sessionId":"'; report $? "session/new"
id=$(printf '%s\n' "$line" | sed 's/.*"sessionId":"\([^"]*\)".*/\1/')
case $line in *'"currentModeId":"ask"'*) true ;; *) false ;; esac; report $? "the mode of the command line"

request 2 session/prompt "{\"sessionId\":\"$id\",\"prompt\":[{\"type\":\"text\",\"text\":\"make a file\"}]}"
until_line '"method":"session/request_permission"'; report $? "permission is asked"
[ ! -e "$project/a.txt" ]; report $? "nothing is written before the answer"
asked=$(printf '%s\n' "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
printf '{"jsonrpc":"2.0","id":%s,"result":{"outcome":{"outcome":"selected","optionId":"once"}}}\n' "$asked" >&3
until_line '"id":2,"result":{"stopReason":"end_turn"}'; report $? "the prompt settles"
is "the file is written" one "$(cat "$project/a.txt")"
has "the change is a diff" "$box/said" "\"type\":\"diff\",\"path\":\"$project/a.txt\",\"oldText\":null,\"newText\":\"one\\n\""
is "it settles once" 1 "$(grep -c '"id":2,' "$box/said")"
is "every line is of the protocol" 0 "$(grep -vc '^{"jsonrpc":"2.0"' "$box/said")"

request 3 session/load "{\"sessionId\":\"$id\",\"cwd\":\"$project\",\"mcpServers\":[]}"
until_line '"id":3,"result":{"modes":'; report $? "session/load"
has "the past is told" "$box/said" '"user_message_chunk","content":{"type":"text","text":"make a file"}'
exec 3>&-
wait $agent_pid
is "it ends with its editor" 0 $?
finish
