#!/bin/sh
# server_calls.sh - tool calls that a model wrote wrong, through three APIs, streamed and
# whole: none is lost, none leaks as text, and what is no call stays text. Every way to
# begin a block is combined with every way to end one.
. tests/cli/tap.inc
. tests/cli/server.inc
server_program=$out/ds4-server-scripted

# One line of JSON for each case; @ stands for the special token, and the prompt names it.
awk -v script="$box/script" -v cases="$box/cases" '
function put(name, kind, say) {
    n++
    gsub(/@/, "｜DSML｜", say)
    gsub(/"/, "\\\"", say)
    gsub(/\n/, "\\n", say)
    printf "{\"if\": \"case %d!\", \"say\": \"%s\"}\n", n, say >script
    printf "%d %s %s\n", n, kind, name >cases
}
function call(open, invoke, parameter, close_parameter, end) {
    return open invoke parameter "echo hi" close_parameter end
}
BEGIN {
    invoke = "<@invoke name=\"bash\">\n"
    parameter = "<@parameter name=\"command\" string=\"true\">"
    shut = "</@parameter>\n"
    all = "</@invoke>\n</@tool_calls>"
    split("as trained|one newline|no newline|spaces|text before|inside reasoning|no closing of reasoning", open_name, "|")
    open[1] = "Yes.</think>\n\n<@tool_calls>\n"
    open[2] = "Yes.</think>\n<@tool_calls>\n"
    open[3] = "Yes.</think><@tool_calls>\n"
    open[4] = "Yes.</think>\n\n  <@tool_calls>\n\n"
    open[5] = "Yes.</think>I will look.\n\n<@tool_calls>\n"
    open[6] = "Yes. \n\n<@tool_calls>\n"
    open[7] = "</think>\n\n<@tool_calls>"
    split("as trained|no end of calls|no end of invoke|no end at all|space before the end|newlines between|text behind", end_name, "|")
    end[1] = all
    end[2] = "</@invoke>\n"
    end[3] = "</@tool_calls>"
    end[4] = ""
    end[5] = "  </@invoke>\n  </@tool_calls>"
    end[6] = "\n\n</@invoke>\n\n\n</@tool_calls>\n"
    end[7] = all "\nThat is all."
    for (i = 1; i <= 7; i++) for (k = 1; k <= 7; k++)
        put(open_name[i] ", " end_name[k], "call", call(open[i], invoke, parameter, shut, end[k]))

    begin = "</think>\n\n<@tool_calls>\n"
    put("wrapper without its line", "call", call("</think>\n\n<@toolcalls>\n", invoke, parameter, shut, "</@invoke>\n</@toolcalls>"))
    put("no wrapper", "call", call("</think>\n\n", invoke, parameter, shut, "</@invoke>"))
    put("no wrapper, but its end", "call", call("</think>\n\n", invoke, parameter, shut, all))
    put("string without quotes", "call", call(begin, invoke, "<@parameter name=\"command\" string=true>", shut, all))
    put("no string attribute", "call", call(begin, invoke, "<@parameter name=\"command\">", shut, all))
    put("a wrong string attribute", "call", call(begin, invoke, "<@parameter name=\"command\" string=\"invalid\">", shut, all))
    put("no JSON where JSON is said", "call", call(begin, invoke, "<@parameter name=\"command\" string=\"false\">", shut, all))
    put("JSON text where JSON is said", "call", begin invoke "<@parameter name=\"command\" string=\"false\">\"echo hi\"" shut all)
    put("single quotes", "call", call(begin, "<@invoke name=\x27bash\x27>\n", "<@parameter name=\x27command\x27 string=\x27true\x27>", shut, all))
    put("a parameter twice", "call", call(begin, invoke, parameter "old" shut parameter, shut, all))
    put("all arguments in one", "call", begin invoke "<@parameter name=\"arguments\" string=\"false\">{\"command\": \"echo hi\"}" shut all)
    put("all arguments in one, as text", "call", begin invoke "<@parameter name=\"input\" string=\"true\">{\"command\": \"echo hi\"}" shut all)
    put("no newline anywhere", "call", "</think><@tool_calls><@invoke name=\"bash\">" parameter "echo hi</@parameter></@invoke></@tool_calls>")
    put("no end of the parameter", "call", call(begin, invoke, parameter, "\n", all))
    put("ASCII bars", "call", "</think>\n\n<|DSML|tool_calls>\n<|DSML|invoke name=\"bash\">\n<|DSML|parameter name=\"command\" string=\"true\">echo hi</|DSML|parameter>\n</|DSML|invoke>\n</|DSML|tool_calls>")
    put("doubled bars", "call", "</think>\n\n<｜｜DSML｜｜tool_calls>\n<｜｜DSML｜｜invoke name=\"bash\">\n<｜｜DSML｜｜parameter name=\"command\" string=\"true\">echo hi</｜｜DSML｜｜parameter>\n</｜｜DSML｜｜invoke>\n</｜｜DSML｜｜tool_calls>")
    put("no first bar", "call", "</think>\n\n<DSML｜tool_calls>\n<DSML｜invoke name=\"bash\">\n<DSML｜parameter name=\"command\" string=\"true\">echo hi</DSML｜parameter>\n</DSML｜invoke>\n</DSML｜tool_calls>")
    put("a tool that is not known", "call", call(begin, "<@invoke name=\"shell\">\n", parameter, shut, all))
    put("markup of others", "text", "</think>Like <tool_calls><invoke name=\"bash\">echo hi</invoke></tool_calls> there.")
    put("only the name of the markup", "text", "</think>The word DSML and echo hi.")
    put("an opening tag alone in a sentence", "text", "</think>The tag <@tool_calls> begins it, echo hi.")
    put("an example in a fence", "text", "</think>The markup:\n```\n<@tool_calls>\n<@invoke name=\"bash\">\n```\nruns echo hi.")
    put("tags in prose", "text", "</think>Write <@tool_calls> and then <@invoke name=\"bash\"> to run echo hi.")
    put("torn inside the first argument", "text", begin invoke parameter "echo hi and")
    put("torn behind the first argument", "begun", begin invoke parameter "echo hi" shut "And so on.")
    long = "echo hi"
    while (length(long) < 400) long = long " and again"
    put("torn in a long argument", "begun", begin invoke parameter long)
}'
start_server --parallel 2 --script "$box/script"

tool='"parameters":{"type":"object","properties":{"command":{"type":"string"}}}'
part() {                                # part FILE PATH BODY: one request of the next curl
    printf 'next\nurl = "%s%s"\noutput = "%s"\nsilent\nmax-time = 60\ndata-binary = "@%s.body"\n' "$url" "$2" "$1" "$1" >>"$box/curl"
    printf '%s' "$3" >"$1.body"
}
ask_all() {                             # ask_all N: bodies in $box/API.STREAM
    : >"$box/curl"
    for stream in false true; do
        part "$box/1.$stream" /v1/chat/completions "{\"messages\":[{\"role\":\"user\",\"content\":\"case $1!\"}],\"stream\":$stream,\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"bash\",$tool}}]}"
        part "$box/2.$stream" /v1/messages "{\"model\":\"m\",\"max_tokens\":999,\"thinking\":{\"type\":\"enabled\"},\"messages\":[{\"role\":\"user\",\"content\":\"case $1!\"}],\"stream\":$stream,\"tools\":[{\"name\":\"bash\",\"input_schema\":{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\"}}}}]}"
        part "$box/3.$stream" /v1/responses "{\"model\":\"m\",\"input\":\"case $1!\",\"stream\":$stream,\"tools\":[{\"type\":\"function\",\"name\":\"bash\",$tool}]}"
    done
    sed 1d "$box/curl" | curl -K -
}

# Text, arguments and the reason of the end of an answer, streamed or not.
texts() {                               # texts API FILE
    case $1 in
        1) sed -n 's/.*"content":"\(\([^"\\]\|\\.\)*\)".*/\1/p' "$2" ;;
        2) sed -n 's/.*"text":"\(\([^"\\]\|\\.\)*\)".*/\1/p; s/.*"text_delta","text":"\(\([^"\\]\|\\.\)*\)".*/\1/p' "$2" ;;
        3) sed -n 's/.*"type":"output_text","text":"\(\([^"\\]\|\\.\)*\)".*/\1/p' "$2" | tail -n 1 ;;
    esac | tr -d '\n'
}
arguments() {
    case $1 in
        1) grep -o '"arguments":"\([^"\\]\|\\.\)*"' "$2" | sed 's/"arguments":"\(.*\)"/\1/' ;;
        2) sed -n 's/.*"partial_json":"\(\([^"\\]\|\\.\)*\)".*/\1/p; s/.*"input":\({"[^}]*}\).*/\1/p' "$2" ;;
        3) grep -o '"arguments":"\([^"\\]\|\\.\)*"' "$2" | sed 's/"arguments":"\(.*\)"/\1/' | tail -n 1 ;;
    esac | tr -d '\n'
}
calls() {                               # is there a call, and does the answer end with it
    case $1 in
        1) grep -q '"finish_reason":"tool_calls"' "$2" ;;
        2) grep -q '"stop_reason":"tool_use"' "$2" ;;
        3) grep -q '"type":"function_call"' "$2" ;;
    esac
}
any_call() {                            # was one begun, whatever became of it
    grep -q '"tool_calls"\|"tool_use"\|"function_call"\|function_call_arguments' "$1"
}
# A call that was begun in a stream and turned out to be text cannot be taken back: it is never whole.
half_call() {                           # half_call API FILE
    ! calls "$1" "$2" || [ "$1" = 3 ] || return 1
    [ "$1" = 3 ] || return 0
    grep -q '"type":"function_call","status":"incomplete"' "$2" && ! grep -q 'function_call_arguments.done' "$2" &&
        ! grep -q '"type":"function_call","status":"completed"' "$2" && ! grep -q '"type":"message","status":"incomplete"' "$2"
}
check() {                               # check API KIND FILE
    case $2-$3 in
        call-*)
            calls "$1" "$3" || return 1
            arguments "$1" "$3" | grep -q 'command.*echo hi' || return 1
            ! texts "$1" "$3" | grep -q 'DSML\|echo hi' ;;
        begun-*.true) half_call "$1" "$3" && texts "$1" "$3" | grep -q 'echo hi' ;;
        *) ! any_call "$3" && texts "$1" "$3" | grep -q 'echo hi' ;;
    esac
}
while read -r i kind name; do
    wrong=
    ask_all "$i"
    for stream in false true; do
        for api in 1 2 3; do
            check $api "$kind" "$box/$api.$stream" || wrong="$wrong api=$api,stream=$stream"
        done
    done
    is "$kind: $name" "" "$wrong"
done <"$box/cases"
stop_server
finish
