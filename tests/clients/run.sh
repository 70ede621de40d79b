#!/bin/sh
# run.sh - coding agents as they are on npm, each with a task that needs a tool call, in two
# turns and once more after the server was started again; then with a wrong key. Each is set up with
# exactly what `ds4-server --print-config` prints. The tokens that are sampled are
# prescribed; tokenizer, prefill, parser, cache and HTTP are the real ones. From the second request on
# 98 % of the tokens before must come from the cache. Prints TAP, and a table for tests/run.sh.
#
# CLIENTS chooses some of: claude codex opencode pi continue kilo qwen copilot, and of the tasks
# claude-picture claude-deferred codex-picture. NODE_MODULES: where they are installed already.
# RECORD=FOLDER keeps their requests there, see README.md. Their prompts are long: it takes some minutes.
. tests/cli/tap.inc
. tests/cli/server.inc
clients=${CLIENTS:-claude claude-picture claude-deferred codex codex-picture opencode pi continue kilo qwen copilot}
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    skip "the clients" "no node and npm here"
    finish
fi

# As package-lock.json says. Not `npm ci`, which wants packages for every other system too. Three
# are put in place by their install scripts, no other script is run.
install_clients() {
    cd tests/clients && npm install --no-save --no-audit --no-fund --ignore-scripts &&
        npm rebuild @anthropic-ai/claude-code opencode-ai @kilocode/cli
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

# A task is a client's name, and behind a hyphen what else it does than read a file.
program_of() {                          # sets the client, its package, its program and its shell tool
    client=${1%%-*}
    case $client in
        claude)   package=@anthropic-ai/claude-code program=claude tool=Bash ;;
        codex)    package=@openai/codex program=codex tool=exec_command ;;
        opencode) package=opencode-ai program=opencode tool=bash ;;
        pi)       package=@mariozechner/pi-coding-agent program=pi tool=bash ;;
        continue) package=@continuedev/cli program=cn tool=Bash ;;
        kilo)     package=@kilocode/cli program=kilo tool=bash ;;
        qwen)     package=@qwen-code/qwen-code program=qwen tool=run_shell_command ;;
        copilot)  package=@github/copilot program=copilot tool=bash ;;
    esac
    [ "$client" = codex ] && parameter=cmd || parameter=command
}

# The task: a file to be read with the client's own shell tool, or a picture.
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
    node -e 'require("fs").writeFileSync(process.argv[1], Buffer.from(process.argv[2], "base64"))' "$box/folder/dot.png" \
        iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==
}

# The JSON text of a call: call_of TOOL (NAME VALUE)...
call_of() {
    bar=$(printf '\357\275\234')
    printf '\\n\\n<%sDSML%stool_calls>\\n<%sDSML%sinvoke name=\\"%s\\">\\n' "$bar" "$bar" "$bar" "$bar" "$1"
    shift
    while [ $# -gt 0 ]; do
        printf '<%sDSML%sparameter name=\\"%s\\" string=\\"true\\">%s</%sDSML%sparameter>\\n' "$bar" "$bar" "$1" "$2" "$bar" "$bar"
        shift 2
    done
    printf '</%sDSML%sinvoke>\\n</%sDSML%stool_calls>' "$bar" "$bar" "$bar" "$bar"
}

# Question, call and answer of a task's first turn.
set_task() {                            # set_task TASK
    case $1 in
        claude-picture)
            question="look at dot.png" answer="I cannot see pictures." sign="this model reads text only"
            call=$(call_of Read file_path "$box/folder/dot.png") ;;
        codex-picture)
            question="look at dot.png" answer="I cannot see pictures." sign="this model reads text only"
            call=$(call_of view_image path "$box/folder/dot.png") ;;
        claude-deferred)
            question="make the fetcher ready" answer="The fetcher is ready." sign="This tool can be called from now on"
            call=$(call_of ToolSearch query select:WebFetch) ;;
        *)
            question="read notes.txt and tell where the key is" answer="The spare key is under the kettle."
            sign="the spare key is under the kettle"
            call=$(call_of "$tool" "$parameter" "cat notes.txt" description 'Show the \"notes\" &amp; all') ;;
    esac
}

# The answers of the model, by the text that it was told last.
write_script() {
    cat >"$box/script" <<END
{"if": "Generate a title", "say": "</think>Reading the notes"}
{"if": "$sign", "say": "The result says it.</think>$answer"}
{"if": "<tool_result>", "say": "Nothing of use there.</think>I found nothing."}
{"if": "$question", "say": "I must see it.</think>I look.$call"}
{"if": "second question", "say": "Simple.</think>That is the second answer."}
{"if": "third question", "say": "Simple.</think>That is the third answer."}
{"say": "</think>OK"}
END
}

# ---- the server ---------------------------------------------------------------------------

# The server gets the same port again, so that a client's configuration stays right.
serve() {                               # serve [KEY]
    start_server --port "${port:-0}" --ctx $context --api-key "${1:-$key}" --kv-disk-dir "$box/kv" --script "$box/script"
    port=${url##*:}
    seen=0
}

# The answers of a turn, from the log.
keep_answers() {                        # keep_answers TURN
    sleep 0.3
    grep ' id=\| cache \(changed\|miss\) ' "$box/log" | tail -n +$((seen + 1)) | sed "s/.*ds4-server: /turn=$1 /; s/ wait_ms.*//" >>"$box/answers"
    seen=$(grep -c ' id=\| cache \(changed\|miss\) ' "$box/log")
}

# Requests of the first task pass through a recorder when they are to be kept.
recorder=
start_recorder() {                      # start_recorder TASK
    front=$port
    [ -n "${RECORD:-}" ] || return 0
    case $1 in *-*) return 0 ;; esac
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
    mkdir -p "$HOME/.codex" "$HOME/.pi/agent" "$HOME/.continue" "$XDG_CONFIG_HOME/opencode" "$XDG_CONFIG_HOME/kilo"
    case $client in
        claude)   config claude >"$box/env" ;;
        codex)    config codex >"$HOME/.codex/config.toml" ;;
        opencode) config opencode >"$XDG_CONFIG_HOME/opencode/opencode.json" ;;
        kilo)     config kilo >"$XDG_CONFIG_HOME/kilo/kilo.json" ;;
        pi)       config pi >"$HOME/.pi/agent/models.json" ;;
        continue) config continue >"$HOME/.continue/config.yaml" ;;
        qwen)     config qwen >"$box/env" ;;
        copilot)  config copilot >"$box/env" ;;
    esac
}

# One turn; the first begins a conversation, others go on with it. Claude Code's last one
# goes through the wrapper.
turn() {                                # turn TASK 1|2|3 TEXT
    on=
    [ "$2" = 1 ] || on=-c
    mark "turn $2"
    (
        home_of "$1"
        cd "$box/folder" || exit
        case $client-$2 in
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
            kilo-*)
                $limit "$bin/kilo" run $on --auto -m ds4/deepseek-v4-flash "$3" ;;
            qwen-*)
                . "$box/env"
                $limit "$bin/qwen" $on --auth-type openai --yolo "$3" ;;
            copilot-*)
                . "$box/env"
                [ "$2" = 1 ] || on=--continue
                $limit "$bin/copilot" $on -p "$3" --allow-all-tools --allow-all-paths ;;
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
# turn found again, in percent. Requests with fewer tools (titles, memories) stand beside the conversation.
# Known is what the request and a conversation that is there begin with alike: all of the request before and
# its answer, or, where the client has changed something (the log tells), what lies in front of the change.
shares() {
    awk '{
        for (i = 1; i <= NF; i++) {
            split($i, part, "=")
            value[part[1]] = part[2]
        }
        if ($0 ~ / cache (changed|miss) /) {
            changed = value["common"]
            next
        }
        n++
        kept[n] = changed
        changed = 0
        tools[n] = value["tools"] + 0; turn[n] = value["turn"]
        cached[n] = value["cached"]; all[n] = value["prompt"] + value["generated"]
        if (tools[n] > most) most = tools[n]
    } END {
        for (i = 1; i <= n; i++) {
            if (tools[i] < most * 0.8) continue
            if (kept[i] && kept[i] < before) before = kept[i]
            share = before ? 100 * cached[i] / before : ""
            if (share > 100) share = 100
            if (before && (!(turn[i] in least) || share < least[turn[i]])) least[turn[i]] = share
            before = all[i]
        }
        printf "%d %.1f %.1f %.1f\n", n, least[1], least[2], least[3]
    }' "$box/answers"
}

# A client with a wrong key says so soon after the first refusal, and ends. Sets seconds.
wrong_key() {                           # wrong_key TASK
    serve another
    front=$port                         # without the recorder, if there was one
    configure "$1"
    : >"$box/stdout"
    : >"$box/stderr"
    turn "$1" 1 "hello" &
    client_turn=$!
    refused= told= tenths=0
    while kill -0 $client_turn 2>/dev/null && [ $tenths -lt 1200 ]; do
        [ -n "$refused" ] || ! grep -q 'status=401' "$box/log" || refused=$tenths
        [ -n "$told" ] || ! grep -qi '401\|API key\|authent\|unauthor' "$box/stdout" "$box/stderr" || told=$tenths
        tenths=$((tenths + 1))
        sleep 0.1
    done
    grep -qi '401\|API key\|authent\|unauthor' "$box/stdout" "$box/stderr"
    report $? "$1: a wrong key is told"
    wait $client_turn
    stop_server
    [ -n "$refused" ] && seconds=$(awk -v a="$refused" -v b="${told:-$tenths}" 'BEGIN { printf "%.1f", (b > a) ? (b - a) / 10 : 0 }')
    [ -n "$seconds" ] && awk -v s="$seconds" 'BEGIN { exit s > 2 }'
    report $? "$1: within 2 s (${seconds:-never})"
}

echo "#| task             version   requests   cached: turn 1   turn 2   restarted   wrong key   passed"
for task in $clients; do
    rm -rf "$box/kv" "$box/answers"
    port=
    seconds=
    failed_before=$tap_failed tap_failed=0
    program_of "$task"
    set_task "$task"
    version=$(node -p 'require(process.argv[1]).version' "$modules/$package/package.json")
    make_folder
    write_script
    serve
    start_recorder "$task"
    configure "$task"
    turn "$task" 1 "$question"
    shows "$task: the tool was called and its result read" "$answer"
    turn "$task" 2 "second question"
    shows "$task: a second turn" "That is the second answer."
    stop_server
    mark restart
    serve
    turn "$task" 3 "third question"
    shows "$task: a third after a restart" "That is the third answer."
    stop_server
    stop_recorder "$task" "$version"
    # shellcheck disable=SC2046
    set -- $(shares)
    found=0
    for share in "$2" "$3" "$4"; do
        [ "${share%.*}" -ge 98 ] || found=1
    done
    report $found "$task: at least 98 % of what was there came from the cache ($2 $3 $4 %)"
    sed 's/^/# /' "$box/answers"
    case $task in
        *-*) ;;
        *)   wrong_key "$task" ;;
    esac
    [ $tap_failed -eq 0 ] && passed=yes || passed=NO
    printf '#| %-15s %8s %10d %14s %% %6s %% %9s %% %9s s   %s\n' "$task" "$version" "$1" "$2" "$3" "$4" "${seconds:--}" $passed
    [ "$failed_before" -eq 0 ] || tap_failed=1
done
finish
