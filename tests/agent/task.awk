# task.awk - a task of the agent's suite becomes a folder of files and a script of answers.
#
#     awk -v box=FOLDER -f task.awk FILE.task
#
# Lines that begin with % are told apart; what follows them up to the next is text:
#     %task TEXT           what the user asks, one line
#     %needs PROGRAM...    what it runs beside the base system
#     %file PATH           a file of the project            -> box/project/PATH
#     %answer TEXT         an answer of the model, for a turn that holds TEXT   -> box/script
#     %call NAME           in an answer: a call
#     %arg NAME VALUE      of a call, one line; %json NAME VALUE: not a string
#     %text NAME           of a call: the text below
#     %expect PATH         what the file is in the end      -> box/expect/PATH
#     %check COMMAND       fails before the task and succeeds after it          -> box/check
# A text ends without its last newline for %text, with it elsewhere; "%nonl" takes that too. \r and \t in files
# and texts are written as %CR% and %TAB%.
BEGIN { system("mkdir -p '" box "/project' '" box "/expect'") }

function json(t) {
    gsub(/\\/, "&&", t)
    gsub(/"/, "\\\"", t)
    gsub(/\r/, "\\r", t)
    gsub(/\t/, "\\t", t)
    gsub(/\n/, "\\n", t)
    return t
}

function plain(t) {
    gsub(/%CR%/, "\r", t)
    gsub(/%TAB%/, "\t", t)
    return t
}

function put(path, t,    folder) {
    folder = path
    if (sub(/\/[^\/]*$/, "", folder)) system("mkdir -p '" folder "'")
    printf "%s", t >path
    close(path)
}

# What was being collected is whole.
function end_part() {
    text = plain(text)
    if (kind == "file") put(box "/project/" name, text)
    if (kind == "expect") put(box "/expect/" name, text)
    if (kind == "text") {
        sub(/\n$/, "", text)
        parameter(name, "true", text)
    }
    if (kind == "answer") {
        sub(/\n$/, "", text)
        said = said text
    }
    kind = text = ""
}

function parameter(n, string, value) {
    said = said "<｜DSML｜parameter name=\"" n "\" string=\"" string "\">" value "</｜DSML｜parameter>\n"
}

function end_call() {
    if (in_call) said = said "</｜DSML｜invoke>\n"
    in_call = 0
}

function end_answer() {
    end_part()
    end_call()
    if (has_calls) said = said "</｜DSML｜tool_calls>"
    if (in_answer) answer[++n_answers] = "{\"if\": \"" json(when) "\", \"say\": \"" json(said) "\"}"
    if (in_answer) last = said
    in_answer = has_calls = 0
    said = ""
}

function rest() { sub(/^%[a-z]+ ?/, ""); return $0 }

/^#/ && !started { next }
{ started = 1 }
/^%nonl/   { sub(/\n$/, "", text); next }
/^%task/   { end_answer(); put(box "/task", rest()); next }
/^%needs/  { end_answer(); put(box "/needs", rest()); next }
/^%check/  { end_answer(); put(box "/check", rest() "\n"); next }
/^%file/   { end_answer(); kind = "file"; name = rest(); next }
/^%expect/ { end_answer(); kind = "expect"; name = rest(); next }
/^%answer/ { end_answer(); in_answer = 1; when = plain(rest()); kind = "answer"; next }
/^%call/ {
    end_part()
    end_call()
    said = said (has_calls ? "" : "\n\n<｜DSML｜tool_calls>\n") "<｜DSML｜invoke name=\"" rest() "\">\n"
    has_calls = in_call = 1
    n_calls++
    next
}
/^%(arg|json)/ {
    end_part()
    string = /^%arg/ ? "true" : "false"
    line = rest()
    n = line
    sub(/ .*/, "", n)
    sub(/^[^ ]* /, "", line)
    parameter(n, string, line)
    next
}
/^%text/   { end_part(); kind = "text"; name = rest(); next }
           { text = text $0 "\n" }
END {
    end_answer()
    # The first that fits is taken: what a later answer is for may be said together with what an earlier was.
    for (i = n_answers; i > 0; i--) print answer[i] >(box "/script")
    sub(/.*<\/think>/, "", last)
    put(box "/last", last)
    put(box "/calls", n_calls "\n")
}
