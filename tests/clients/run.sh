#!/bin/sh
# run.sh - coding agents as they are on npm, each with a task that needs a tool call, in two
# turns and once more after the server was started again. Each is set up with exactly what
# `ds4-server --print-config` prints. The tokens that are sampled are prescribed; tokenizer,
# prefill, parser, cache and HTTP are the real ones. From the second request on 98 % of the
# tokens before must come from the cache. Prints TAP, and a table for tests/run.sh.
#
# CLIENTS chooses some of: claude codex opencode pi continue. NODE_MODULES: where they are
# installed already. RECORD=FOLDER keeps their requests there, see README.md. Their prompts
# are long: it takes some minutes.
. tests/cli/tap.inc
. tests/cli/server.inc
clients=${CLIENTS:-claude codex opencode pi continue}
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    skip "the clients" "no node and npm here"
    finish
fi

# As package-lock.json says. Not `npm ci`, which wants packages for every other system too. Two
# are put in place by their install scripts, no other script is run.
install_clients() {
    cd tests/clients && npm install --no-save --no-audit --no-fund --ignore-scripts &&
        npm rebuild @anthropic-ai/claude-code opencode-ai
}
modules=${NODE_MODULES:-$PWD/tests/clients/node_modules}
if [ ! -d "$modules/.bin" ] && ! (install_clients) >"$box/npm" 2>&1; then
    sed 's/^/# /' "$box/npm"
    skip "the clients" "npm cannot install them"
    finish
fi
case $out in
    /*) server_program=$out/ds4-server-scripted ;;
    *)  server_program=$PWD/$out/ds4-server-scripted ;;
esac
bin=$modules/.bin
tests=$PWD/tests/clients
wrapper=$PWD/contrib/claude-ds4
model=$PWD/$model
key=sesame
context=131072
command -v timeout >/dev/null && limit="timeout 600" || limit=

program_of() {                          # the package and the program of a client
    case $1 in
        claude)   package=@anthropic-ai/claude-code program=claude tool=Bash ;;
        codex)    package=@openai/codex program=codex tool=exec_command ;;
        opencode) package=opencode-ai program=opencode tool=bash ;;
        pi)       package=@mariozechner/pi-coding-agent program=pi tool=bash ;;
        continue) package=@continuedev/cli program=cn tool=Bash ;;
    esac
    [ "$1" = codex ] && parameter=cmd || parameter=command
}

# The task: a file to be read with the client's own shell tool.
make_folder() {
    rm -rf "$box/folder"
    mkdir -p "$box/folder"
    awk 'BEGIN {
        n = split("kettle lamp chair window garden bottle ladder basket bridge candle", thing)
        split("blue round broken heavy small open empty warm green old", how)
        for (i = 1; i <= 340; i++)
            printf "note %d: the %s by the %s is %s\n", i, thing[i * 7 % n + 1], thing[i * 3 % n + 1], how[(i + int(i / 10)) % n + 1]
        print "the last note: the spare key is under the kettle"
    }' >"$box/folder/notes.txt"
}

# What the model says, by what was said last to it.
write_script() {
    bar=$(printf '\357\275\234')
    cat >"$box/script" <<END
{"if": "Generate a title", "say": "</think>Reading the notes"}
{"if": "the spare key is under the kettle", "say": "The last line says it.</think>The spare key is under the kettle."}
{"if": "<tool_result>", "say": "No key there.</think>I found no key."}
{"if": "read notes.txt", "say": "I must see the file.</think>I read the file.\n\n<${bar}DSML${bar}tool_calls>\n<${bar}DSML${bar}invoke name=\"$tool\">\n<${bar}DSML${bar}parameter name=\"$parameter\" string=\"true\">cat notes.txt</${bar}DSML${bar}parameter>\n<${bar}DSML${bar}parameter name=\"description\" string=\"true\">Show the \"notes\" &amp; all</${bar}DSML${bar}parameter>\n</${bar}DSML${bar}invoke>\n</${bar}DSML${bar}tool_calls>"}
{"if": "second question", "say": "Simple.</think>That is the second answer."}
{"if": "third question", "say": "Simple.</think>That is the third answer."}
{"say": "</think>OK"}
END
}

# ---- the server ---------------------------------------------------------------------------

# The same port again, so that a client's configuration stays right.
serve() {
    start_server --port "${port:-0}" --ctx $context --api-key $key --kv-disk-dir "$box/kv" --script "$box/script"
    port=${url##*:}
    seen=0
}

# What was answered in a turn, from the log.
keep_answers() {                        # keep_answers TURN
    sleep 0.3
    grep ' id=' "$box/log" | tail -n +$((seen + 1)) | sed "s/.*ds4-server: /turn=$1 /; s/ wait_ms.*//" >>"$box/answers"
    seen=$(grep -c ' id=' "$box/log")
}

# Requests pass through a recorder when they are to be kept.
recorder=
start_recorder() {
    front=$port
    [ -n "${RECORD:-}" ] || return 0
    : >"$box/raw"
    rm -f "$box/front"
    node "$tests/record.mjs" "$url" "$box/raw" >"$box/front" &
    recorder=$!
    until [ -s "$box/front" ]; do sleep 0.1; done
    front=$(cat "$box/front")
}
mark() {
    [ -z "$recorder" ] || echo "{\"mark\":\"$1\"}" >>"$box/raw"
}
stop_recorder() {
    [ -n "$recorder" ] || return 0
    kill "$recorder"
    wait "$recorder" 2>/dev/null
    recorder=
    mkdir -p "$RECORD"
    node "$tests/distill.mjs" "$1" "$2" "$box/raw" "$box/script" >"$RECORD/$1.json"
    report $? "$1: recorded"
}
trap 'stop_server; [ -z "$recorder" ] || kill "$recorder"; rm -rf "$box"' EXIT

# ---- the clients --------------------------------------------------------------------------

config() {
    "$server_program" --print-config "$1" --port "$front" --ctx $context --api-key $key 2>/dev/null
}
home_of() {
    HOME="$box/home-$1"
    export HOME XDG_CONFIG_HOME="$HOME/.config" XDG_DATA_HOME="$HOME/.local/share" XDG_CACHE_HOME="$HOME/.cache" \
           XDG_STATE_HOME="$HOME/.local/state"
}
configure() {
    home_of "$1"
    mkdir -p "$HOME/.codex" "$HOME/.pi/agent" "$HOME/.continue" "$XDG_CONFIG_HOME/opencode"
    case $1 in
        claude)   config claude >"$box/env" ;;
        codex)    config codex >"$HOME/.codex/config.toml" ;;
        opencode) config opencode >"$XDG_CONFIG_HOME/opencode/opencode.json" ;;
        pi)       config pi >"$HOME/.pi/agent/models.json" ;;
        continue) config continue >"$HOME/.continue/config.yaml" ;;
    esac
}

# One turn; the first begins a conversation, others go on with it. Claude Code's last one
# goes through the wrapper.
turn() {                                # turn CLIENT 1|2|3 TEXT
    on=
    [ "$2" = 1 ] || on=-c
    mark "turn $2"
    (
        home_of "$1"
        cd "$box/folder" || exit
        case $1-$2 in
            claude-3)
                export DISABLE_AUTOUPDATER=1 DISABLE_TELEMETRY=1 IS_SANDBOX=1
                PATH="$bin:$PATH" DS4_SERVER=$server_program DS4_SERVER_OPTIONS="--port $front --ctx $context --api-key $key" \
                    $limit "$wrapper" -p $on "$3" --dangerously-skip-permissions ;;
            claude-*)
                export DISABLE_AUTOUPDATER=1 DISABLE_TELEMETRY=1 IS_SANDBOX=1
                . "$box/env"
                $limit "$bin/claude" -p $on "$3" --dangerously-skip-permissions ;;
            codex-*)
                export DS4_API_KEY=$key
                [ "$2" = 1 ] || on="resume --last"
                # shellcheck disable=SC2086
                $limit "$bin/codex" exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox $on "$3" ;;
            opencode-*)
                $limit "$bin/opencode" run $on -m ds4/deepseek-v4-flash "$3" ;;
            pi-*)
                export PI_OFFLINE=1
                $limit "$bin/pi" -p $on --provider ds4 --model deepseek-v4-flash "$3" ;;
            continue-*)
                [ "$2" = 1 ] || on=--resume
                $limit "$bin/cn" -p $on --config "$HOME/.continue/config.yaml" --auto "$3" ;;
        esac
    ) >"$box/stdout" 2>"$box/stderr" </dev/null
    ended=$?
    keep_answers "$2"
}

# ended, and what the client printed
shows() {                               # shows NAME TEXT
    has "$1" "$box/stdout" "$2"
    [ "$ended" -eq 0 ] || sed 's/^/# /' "$box/stderr" | tail -n 20
    is "$1: it ended well" 0 "$ended"
}

# "REQUESTS FIRST SECOND THIRD": the least part of all earlier tokens that the requests of a
# turn found again, in percent. Requests without tools stand beside the conversation.
shares() {
    awk '{
        for (i = 1; i <= NF; i++) {
            split($i, part, "=")
            value[part[1]] = part[2]
        }
        if (value["tools"] == 0) next
        turn = value["turn"]
        share = before ? 100 * value["cached"] / before : ""
        if (before && (!(turn in least) || share < least[turn])) least[turn] = share
        before = value["prompt"] + value["generated"]
    } END { printf "%d %.1f %.1f %.1f\n", NR, least[1], least[2], least[3] }' "$box/answers"
}

echo "#| client      version   requests   cached: turn 1   turn 2   restarted   passed"
for client in $clients; do
    rm -rf "$box/kv" "$box/answers"
    port=
    failed_before=$tap_failed tap_failed=0
    program_of $client
    version=$(node -p 'require(process.argv[1]).version' "$modules/$package/package.json")
    make_folder
    write_script
    serve
    start_recorder
    configure $client
    turn $client 1 "read notes.txt and tell where the key is"
    shows "$client: the tool was called and its result read" "The spare key is under the kettle."
    turn $client 2 "second question"
    shows "$client: a second turn" "That is the second answer."
    stop_server
    mark restart
    serve
    turn $client 3 "third question"
    shows "$client: a third after a restart" "That is the third answer."
    stop_server
    stop_recorder $client "$version"
    # shellcheck disable=SC2046
    set -- $(shares)
    found=0
    for share in "$2" "$3" "$4"; do
        [ "${share%.*}" -ge 98 ] || found=1
    done
    report $found "$client: at least 98 % of what was there came from the cache ($2 $3 $4 %)"
    sed 's/^/# /' "$box/answers"
    [ $tap_failed -eq 0 ] && passed=yes || passed=NO
    printf '#| %-10s %8s %10d %14s %% %6s %% %9s %%   %s\n' $client "$version" "$1" "$2" "$3" "$4" $passed
    [ "$failed_before" -eq 0 ] || tap_failed=1
done
finish
