# completions.awk - completion for a shell, from what programs say to --help.
#
#   awk -v shell=bash|zsh|fish -v program=ds4 -f tools/completions.awk HELP
#
# HELP holds the texts of a program and of its commands, if it has any. An option stands on a line
# of its own as "  -m, --model FILE   words"; what its value is called says what to offer: FILE and
# DIR, or the values themselves between strokes, as text|json.
/^  (-[a-zA-Z0-9],|   ) --[a-z]/ {
    letter = substr($0, 3, 1) == "-" ? substr($0, 4, 1) : ""
    rest = substr($0, 7)
    name = rest
    sub(/ .*/, "", name)
    if (name in known) next
    known[name] = 1
    rest = substr(rest, length(name) + 1)
    value = ""
    if (match(rest, /^ [^ ]+/)) value = substr(rest, 2, RLENGTH - 1)
    words = substr(rest, length(value) + 2)
    sub(/^ +/, "", words)
    n++
    names[n] = name; letters[n] = letter; values[n] = value; helps[n] = words
    wait = words == ""
    next
}
wait && /^ +[^ ]/ {
    helps[n] = $0
    sub(/^ +/, "", helps[n])
    wait = 0
}

function choices(value) { gsub(/\|/, " ", value); return value }
function is_choice(value) { return index(value, "|") > 0 }
# Text between single quotes of any of the shells.
function plain(text) { gsub(/['\\`$:\[\]]/, "", text); return text }

END {
    if (shell == "bash") bash()
    else if (shell == "zsh") zsh()
    else fish()
}

function bash(    i, all) {
    print "# " program "(1) completion"
    print "_" func_name() "()"
    print "{"
    print "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}"
    print "    COMPREPLY=()"
    print "    case $before in"
    for (i = 1; i <= n; i++) {
        all = all " --" substr(names[i], 3)
        if (values[i] == "") continue
        printf "    %s%s)\n", letters[i] != "" ? "-" letters[i] "|" : "", names[i]
        if (is_choice(values[i]))
            print "        mapfile -t COMPREPLY < <(compgen -W '" choices(values[i]) "' -- \"$word\")"
        else if (values[i] == "DIR") print "        mapfile -t COMPREPLY < <(compgen -d -- \"$word\")"
        else if (values[i] == "FILE") print "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")"
        print "        return ;;"
    }
    print "    esac"
    print "    if [[ $word == -* ]]; then"
    print "        mapfile -t COMPREPLY < <(compgen -W '" substr(all, 2) "' -- \"$word\")"
    print "    else"
    print "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")"
    print "    fi"
    print "}"
    print "complete -o filenames -F _" func_name() " " program
}

function func_name(    f) { f = program; gsub(/-/, "_", f); return f }

function zsh(    i, form) {
    print "#compdef " program
    print "_arguments -S \\"
    for (i = 1; i <= n; i++) {
        form = "[" plain(helps[i]) "]"
        if (is_choice(values[i])) form = form ":value:(" choices(values[i]) ")"
        else if (values[i] == "FILE") form = form ":file:_files"
        else if (values[i] == "DIR") form = form ":folder:_files -/"
        else if (values[i] != "") form = form ":" tolower(values[i]) ":"
        if (letters[i] != "") print "    '-" letters[i] form "' \\"
        print "    '" names[i] form "' \\"
    }
    print "    '*:file:_files'"
}

function fish(    i) {
    for (i = 1; i <= n; i++) {
        printf "complete -c %s -l %s", program, substr(names[i], 3)
        if (letters[i] != "") printf " -s %s", letters[i]
        if (is_choice(values[i])) printf " -x -a '%s'", choices(values[i])
        else if (values[i] == "FILE") printf " -r -F"
        else if (values[i] == "DIR") printf " -x -a '(__fish_complete_directories)'"
        else if (values[i] != "") printf " -x"
        printf " -d '%s'\n", plain(helps[i])
    }
}
