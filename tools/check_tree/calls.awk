# calls.awk - who calls whom: the reader goes down and never up, and nothing is public for nobody.
#
#   awk -f code.awk -f calls.awk FILES      headers first
#
# circle: a function of a.c calls one of b.c, which comes back to a.c; the same for headers that include each
#         other and for folders of src. A circle has no floor to begin reading at.
# unused: a function that a header declares is called in its own file only (then it is static), or by tests only
#         and the comment above its declaration does not say that tests use it and why, or is defined nowhere.
# What only include/ds4.h declares may be used by examples and tests alone: it is there for other programs.

function report(file, line, rule, what)
{
    printf "%s:%d: %s: %s\n", file, line, rule, what
    n_violations++
}

# The part of src that a file belongs to, as docs/ARCHITECTURE.md lists them.
function part_of(path,    p)
{
    if (path ~ /^src\/service\/store\//) return "src/service/store"
    split(path, p, "/")
    return p[2] == "app" ? "src/app/" p[3] : "src/" p[2]
}

function link(kind, from, to, why)
{
    if (from == to || (kind, from, to) in linked) return
    linked[kind, from, to] = why
    below[kind, from] = below[kind, from] " " to
    nodes[kind] = nodes[kind] " " from
}

# ---- reading ---------------------------------------------------------------------

function begin_file()
{
    in_comment = continued = depth = in_body = 0
    signature = statement = told = ""
    is_header = FILENAME ~ /\.h$/
    in_src = FILENAME ~ /^src\//
}

# The first name before a parenthesis that is no attribute.
function name_in(text)
{
    gsub(/__attribute__ *\(\(([^()]|\([^()]*\))*\)\)/, "", text)
    return match(text, /[A-Za-z_][A-Za-z_0-9]* *\(/) ? substr(text, RSTART, index(substr(text, RSTART), "(") - 1) : ""
}

# A declaration in a header: remembered with the comment above it.
function end_statement(    name)
{
    if (statement !~ /\{|\(\*|^ *(static|typedef|extern ""|_Static_assert)/) {
        name = name_in(statement)
        sub(/ +$/, "", name)
        if (name != "") {
            declared[name] = declared[name] " " FILENAME
            n_declared[name, FILENAME]++
            if (!(name in place)) { place[name] = FILENAME; line_of[name] = begun }
            if (told ~ /[Tt]est/) for_tests[name] = 1
            if (FILENAME == "include/ds4.h") is_library[name] = 1
        }
    }
    statement = told = ""
}

function read_header(code)
{
    if (code ~ /^extern ""/) return
    if (statement ~ /^ *$/) begun = FNR
    if (depth == 0 || statement != "") statement = statement " " code
}

# The body of a public function begins where a brace stands alone in column 1.
function read_source(code,    name)
{
    if (depth == 0) {
        if (code ~ /^[A-Za-z_].*\(/) signature = code
        if ((code ~ /^\{/ || code ~ /^[A-Za-z_].*\) *\{/) && signature != "" && signature !~ /^(static|typedef)/) {
            name = name_in(signature)
            sub(/ +$/, "", name)
            if ((name in declared) && !(name in home)) home[name] = FILENAME
        }
        if (code ~ /[{};] *$/) signature = ""
    }
}

function count_braces(code,    t, n_open)
{
    if (code ~ /^extern ""/ || (code ~ /^\}/ && depth == 0)) return
    t = code; n_open = gsub(/\{/, "", t)
    depth += n_open - gsub(/\}/, "", t)
    if (depth < 0) depth = 0
}

function note_uses(code,    n, i, words)
{
    gsub(/(\.|->) *[A-Za-z_][A-Za-z_0-9]*/, " ", code)      # members have names of their own
    n = split(code, words, /[^A-Za-z0-9_]+/)
    for (i = 1; i <= n; i++) {
        if (is_header) n_words[words[i], FILENAME]++
        else if (words[i] in declared && !((words[i], FILENAME) in uses)) {
            uses[words[i], FILENAME] = 1
            users[words[i]] = users[words[i]] " " FILENAME
        }
    }
    if (is_header && !(FILENAME in is_listed)) {
        is_listed[FILENAME] = 1
        headers = headers " " FILENAME
    }
}

function note_include(    what)
{
    if (!is_header || !match($0, /"[^"]*"/)) return
    what = substr($0, RSTART + 1, RLENGTH - 2)
    link("header", FILENAME, (in_src || what != "ds4.h" ? "src/" : "include/") what, "included")
}

FNR == 1 { begin_file() }
{
    if (is_header) told = told " " $0
    if (!in_comment && $0 ~ /^ *# *include/) { note_include(); told = ""; next }
    code = code_of($0)
    if (code == "") next
    note_uses(code)
    if (continued || code ~ /^ *#/) {
        continued = code ~ /\\$/
        if (!continued) told = ""
        next
    }
    if (is_header) read_header(code)
    else read_source(code)
    count_braces(code)
    if (is_header && depth == 0 && code ~ /[;}] *$/) end_statement()
}

# ---- judging ---------------------------------------------------------------------

function judge_users(name,    n, i, list, by_src, by_test)
{
    if (!(name in home)) {
        report(place[name], line_of[name], "unused", name "() is declared and defined nowhere")
        return
    }
    n = split(users[name], list, " ")
    for (i = 1; i <= n; i++) {
        if (list[i] == home[name]) continue
        if (list[i] ~ /^src\// || home[name] !~ /^src\//) by_src = 1
        else by_test = list[i]
    }
    n = split(headers, list, " ")
    for (i = 1; i <= n; i++)
        if (n_words[name, list[i]] > n_declared[name, list[i]]) by_src = 1
    if (by_src) return
    if (by_test == "")
        report(place[name], line_of[name], "unused", name "() has no user outside of " home[name])
    else if (!(name in is_library) && !(name in for_tests))
        report(place[name], line_of[name], "unused", "tests alone use " name "(), and its comment does not say why")
}

function judge_calls(name,    n, i, list)
{
    if (home[name] !~ /^src\//) return
    n = split(users[name], list, " ")
    for (i = 1; i <= n; i++)
        if (list[i] ~ /^src\//) {
            link("file", list[i], home[name], name)
            link("folder", part_of(list[i]), part_of(home[name]), list[i])
        }
}

# Whoever has nobody alive below is no part of a circle.
function trim(kind, alive,    n, i, k, m, again, list, next_ones, lives)
{
    do {
        again = 0
        n = split(nodes[kind], list, " ")
        for (i = 1; i <= n; i++) {
            if (!(list[i] in alive)) continue
            lives = 0
            m = split(below[kind, list[i]], next_ones, " ")
            for (k = 1; k <= m; k++) if (next_ones[k] in alive) lives = 1
            if (!lives) { delete alive[list[i]]; again = 1 }
        }
    } while (again)
}

# Walks down until a node comes again, and tells the way between, from its first name on.
function tell_circle(kind, alive, start,    way, seen, n, at, k, m, next_ones, text, i, first, from, to)
{
    for (at = start; !(at in seen); at = next_ones[k]) {
        way[++n] = at
        seen[at] = n
        m = split(below[kind, at], next_ones, " ")
        for (k = 1; k < m && !(next_ones[k] in alive); k++) { }
    }
    m = n - seen[at] + 1
    first = seen[at]
    for (i = seen[at]; i <= n; i++) if (way[i] < way[first]) first = i
    text = way[first]
    for (i = 0; i < m; i++) {
        from = way[seen[at] + (first - seen[at] + i) % m]
        to = way[seen[at] + (first - seen[at] + i + 1) % m]
        text = text " -> " to " (" linked[kind, from, to] ")"
        delete alive[from]
    }
    report(way[first], 1, "circle", text)
}

function judge_circles(kind,    n, i, list, alive)
{
    n = split(nodes[kind], list, " ")
    for (i = 1; i <= n; i++) alive[list[i]] = 1
    trim(kind, alive)
    for (i = 1; i <= n; i++)
        if (list[i] in alive) {
            tell_circle(kind, alive, list[i])
            trim(kind, alive)
        }
}

END {
    for (name in declared) {
        judge_users(name)
        if (name in home) judge_calls(name)
    }
    judge_circles("file")
    judge_circles("folder")
    judge_circles("header")
    exit n_violations > 0
}
