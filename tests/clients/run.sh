#!/bin/sh
# run.sh - coding agents as they are on npm, each with a task that needs a tool call, in two
# turns and once more after the server was started again. The tokens that are sampled are
# prescribed; tokenizer, prefill, parser, cache and HTTP are the real ones. From the second
# request on 98 % of what was there before must come from the cache. Prints TAP.
#
# CLIENTS chooses some of: claude codex opencode pi continue. NODE_MODULES: where they are
# installed already. Their prompts are long: it takes some minutes.
. tests/cli/tap.inc
. tests/cli/server.inc
clients=${CLIENTS:-claude codex opencode pi continue}
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    skip "the clients" "no node and npm here"
    finish
fi
modules=${NODE_MODULES:-$PWD/tests/clients/node_modules}
if [ ! -d "$modules/.bin" ] &&
   ! (cd tests/clients && npm install --no-audit --no-fund --silent >"$box/npm" 2>&1); then
    skip "the clients" "npm cannot install them"
    finish
fi
bin=$modules/.bin
server_program=$PWD/$out/ds4-server-scripted
model=$PWD/$model
export HOME="$box/home" XDG_CONFIG_HOME="$box/home/.config" XDG_DATA_HOME="$box/home/.local/share"
mkdir -p "$HOME"

# What the model says: a call of the client's own shell tool, then the answer.
script_for() {                          # script_for TOOL [PARAMETER]
    bar=$(printf '\357\275\234')
    cat >"$box/script" <<END
{"if": "hi from the shell", "say": "It printed it.</think>The command printed: hi from the shell."}
{"if": "<tool_result>", "say": "It ran.</think>The command ran."}
{"if": "run echo hi", "say": "I run it.</think>Running it.\n\n<${bar}DSML${bar}tool_calls>\n<${bar}DSML${bar}invoke name=\"$1\">\n<${bar}DSML${bar}parameter name=\"${2:-command}\" string=\"true\">echo hi from the shell</${bar}DSML${bar}parameter>\n<${bar}DSML${bar}parameter name=\"description\" string=\"true\">Print hi</${bar}DSML${bar}parameter>\n</${bar}DSML${bar}invoke>\n</${bar}DSML${bar}tool_calls>"}
{"if": "second question", "say": "Simple.</think>That is the second answer."}
{"if": "third question", "say": "Simple.</think>That is the third answer."}
{"say": "</think>OK"}
END
}

# The same port again, so that a client's configuration stays right.
serve() {
    start_server --port "${port:-0}" --ctx 131072 --kv-disk-dir "$box/kv" --script "$box/script"
    port=${url##*:}
    cat "$box/log" >>"$box/logs"
}
unserve() {
    stop_server
    grep ' id=' "$box/log" >>"$box/answers"
}
config() {
    "$server_program" --print-config "$1" --port "$port" --ctx 131072
}

start_client() {
    case $1 in
        claude)   config claude >"$box/env"
                  . "$box/env"
                  export DISABLE_AUTOUPDATER=1 DISABLE_TELEMETRY=1 IS_SANDBOX=1 ;;
        codex)    mkdir -p "$HOME/.codex"
                  config codex >"$HOME/.codex/config.toml"
                  export DS4_API_KEY=ds4 ;;
        opencode) mkdir -p "$XDG_CONFIG_HOME/opencode"
                  config opencode >"$XDG_CONFIG_HOME/opencode/opencode.json" ;;
        pi)       mkdir -p "$HOME/.pi/agent"
                  config pi >"$HOME/.pi/agent/models.json"
                  export PI_OFFLINE=1 ;;
        continue) mkdir -p "$HOME/.continue"
                  config continue >"$HOME/.continue/config.yaml" ;;
    esac
}

# One turn; the first begins a conversation, others go on with it.
turn() {                                # turn CLIENT first|next TEXT
    go=
    case $1-$2 in
        claude-next) go=-c ;;
        pi-next)     go=-c ;;
        opencode-next) go=-c ;;
        continue-next) go=--resume ;;
    esac
    (
        cd "$box/folder" || exit
        case $1 in
            claude)   timeout 600 "$bin/claude" -p $go "$3" --dangerously-skip-permissions ;;
            codex)    if [ "$2" = first ]; then
                          timeout 600 "$bin/codex" exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox "$3"
                      else
                          timeout 600 "$bin/codex" exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox resume --last "$3"
                      fi ;;
            opencode) timeout 600 "$bin/opencode" run $go -m ds4/deepseek-v4-flash "$3" ;;
            pi)       timeout 600 "$bin/pi" -p $go --provider ds4 --model deepseek-v4-flash "$3" ;;
            continue) timeout 600 "$bin/cn" -p $go --config "$HOME/.continue/config.yaml" --auto "$3" ;;
        esac
    ) >"$box/stdout" 2>"$box/stderr" </dev/null
}

# The shortest part of earlier prompts that later ones found again, in percent. Small
# requests beside the conversation (titles) do not count.
worst_hit() {
    awk '{
        for (i = 1; i <= NF; i++) {
            split($i, part, "=")
            value[part[1]] = part[2]
        }
        if (value["prompt"] < 1000) next
        known = before < value["prompt"] ? before : value["prompt"]
        if (before > 0 && (worst == "" || 100 * value["cached"] / known < worst)) worst = 100 * value["cached"] / known
        before = value["prompt"]
    } END { printf "%d", worst == "" ? 0 : worst }' "$box/answers"
}

for client in $clients; do
    rm -rf "$box/folder" "$box/kv" "$box/answers"
    mkdir -p "$box/folder"
    port=
    case $client in
        claude)   script_for Bash ;;
        codex)    script_for exec_command cmd ;;
        continue) script_for Bash ;;
        *)        script_for bash ;;
    esac
    serve
    start_client $client
    turn $client first "run echo hi"
    has "$client: the tool was called and its result read" "$box/stdout" "The command printed: hi from the shell."
    turn $client next "second question"
    has "$client: a second turn" "$box/stdout" "That is the second answer."
    unserve
    serve
    turn $client next "third question"
    has "$client: a third after a restart" "$box/stdout" "That is the third answer."
    unserve
    hit=$(worst_hit)
    [ "$hit" -ge 98 ]
    report $? "$client: at least 98 % of what was there came from the cache ($hit %)"
    sed 's/.*ds4-server: /# /; s/wait_ms.*//' "$box/answers"
done
finish
