#!/bin/sh
# npm.sh - the agent with what others made: MCP servers and the protocol's own cases for clients, from npm.
# Prints TAP. Needs node and the npm registry; skips without them.
. tests/cli/tap.inc
here=$(pwd)
call=$here/$out/tests/agent/mcp_call
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    skip "MCP from npm" "no node and npm here"
    finish
fi
if [ ! -d tests/agent/node_modules/@modelcontextprotocol ] &&
   ! (cd tests/agent && npm ci --no-audit --no-fund --ignore-scripts --silent >"$box/npm" 2>&1); then
    skip "MCP from npm" "npm cannot install them"
    finish
fi
modules=$here/tests/agent/node_modules
everything=$modules/@modelcontextprotocol/server-everything/dist/index.js

check_everything() {                    # check_everything HOW: the server of $box/mcp.json
    run timeout 60 "$call" "$box/mcp.json"
    is "$1: tools are listed" "0 yes" "$rc $(grep -q '^  every__echo' "$box/stdout" && echo yes)"
    run timeout 60 "$call" "$box/mcp.json" every__echo '{"message": "Grüße"}'
    is "$1: a call is answered" "0 Echo: Grüße" "$rc $(cat "$box/stdout")"
    run timeout 60 "$call" "$box/mcp.json" every__get-sum '{"a": 2, "b": 40}'
    has "$1: numbers arrive" "$box/stdout" 42
    run timeout 60 "$call" "$box/mcp.json" every__get-sum '{"a": "no number"}'
    is "$1: an error of the tool is one" 3 "$rc"
    run timeout 60 "$call" "$box/mcp.json" every__trigger-long-running-operation '{"duration": 2, "steps": 4}'
    has "$1: a long call with progress" "$box/stdout" completed
    run timeout 60 "$call" "$box/mcp.json" every__get-tiny-image '{}'
    has "$1: an image is named" "$box/stdout" "[image image/png, "
    run timeout 60 "$call" "$box/mcp.json" every__get-resource-reference '{"resourceType": "Text", "resourceId": 1}'
    has "$1: a resource is text" "$box/stdout" "[resource demo://"
    run timeout 60 "$call" "$box/mcp.json" every__get-structured-content '{"location": "Chicago"}'
    has "$1: structured content" "$box/stdout" temperature
}

cat >"$box/mcp.json" <<END
{"mcpServers": {"every": {"command": "node", "args": ["$everything", "stdio"]}}}
END
check_everything stdio

PORT=$((20000 + $$ % 20000))
PORT=$PORT node "$everything" streamableHttp >"$box/log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$box"' EXIT
echo "{\"mcpServers\": {\"every\": {\"type\": \"http\", \"url\": \"http://127.0.0.1:$PORT/mcp\"}}}" >"$box/mcp.json"
n=0
while [ $n -lt 100 ] && ! grep -q "$PORT" "$box/log"; do sleep 0.1; n=$((n + 1)); done
check_everything http

for scenario in initialize tools_call sse-retry; do
    (cd "$box" && timeout 120 node "$modules/@modelcontextprotocol/conformance/dist/index.js" client \
        --command "$call" --scenario $scenario) >"$box/stdout" 2>&1
    is "conformance: $scenario" "0 0 failed" "$? $(grep -o '[0-9]* failed' "$box/stdout" | tail -n 1)"
    [ $tap_failed -eq 0 ] || sed 's/^/# /' "$box/stdout" | tail -n 15
done

# An editor with the protocol's own library, and a model whose words are prescribed.
. tests/cli/agent.inc
printf '#!/bin/sh\necho $(($1 - $2))\n' >"$project/sum.sh"
say -i "mend the sum" "I look first.</think>Let me see.$(call read path sum.sh)"
say -i 'echo $((' "It subtracts.</think>$(call edit path sum.sh old '$1 - $2' new '$1 + $2')"
say -i "sum.sh" "Now the test.</think>$(call bash command '[ $(sh sum.sh 2 3) = 5 ] && echo the test passes')"
say -i "the test passes" "One more.</think>$(call every__echo message 'over MCP')"
say -i "Echo: over MCP" "Done.</think>The sum is mended."
say -i "write it down" "So be it.</think>$(call write path note.txt content 'a note')"
say -i "Error" "No.</think>Not allowed, then."
say -i "count" "Long.</think>$(i=0; while [ $i -lt 3000 ]; do printf 'word %s ' $i; i=$((i + 1)); done)"
say -i "thanks" "Kind.</think>You are welcome."
say "Hm.</think>I do not know."
node tests/agent/acp_client.mjs "$(cd "$project" && pwd -P)" "$everything" "$agent" --acp -m "$mini" --sessions "$sessions" \
    --script "$box/script" --no-notes -t 1 -c 8192 >"$box/tap" 2>"$box/stderr"
sed "s/^1\.\..*//; /^$/d" "$box/tap" | awk -v n="$tap_n" '
    /^ok [0-9]/ || /^not ok [0-9]/ { at = /^not/ ? 3 : 2; $at = ++n }
    { print }'
grep -q '^not ok' "$box/tap" && tap_failed=1
grep -q '^1\.\.' "$box/tap" || tap_failed=1
[ $tap_failed -eq 0 ] || sed 's/^/# /' "$box/stderr" | tail -n 20
tap_n=$((tap_n + $(grep -c '^ok \|^not ok ' "$box/tap")))
finish
