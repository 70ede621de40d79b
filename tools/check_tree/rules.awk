# rules.awk - the rules that a line or a file keeps or breaks by itself.
#
#   awk -f code.awk -f rules.awk FILES

function report(line, rule, what)
{
    printf "%s:%d: %s: %s\n", FILENAME, line, rule, what
    n_violations++
}

# ---- what a file is ---------------------------------------------------------------

# The floor of a path below src; a file may include its own folder and lower floors.
function floor_of(path)
{
    if (path ~ /^base\//)    return 0
    if (path ~ /^format\//)  return 1
    if (path ~ /^kernels\//) return 1
    if (path ~ /^text\//)    return 1
    if (path ~ /^backend\//) return 2
    if (path ~ /^model\//)   return 3
    if (path ~ /^engine\//)  return 4
    if (path ~ /^service\/store\//) return 4.5   # below the rest of service
    if (path ~ /^service\//) return 5
    if (path ~ /^agent\//)   return 5.5
    if (path ~ /^app\//)     return 6
    return -1
}

function folder_of(path)
{
    return path ~ /\// ? substr(path, 1, match(path, /\/[^\/]*$/) - 1) : ""
}

function begin_file(    parts, n)
{
    if (FILENAME in seen) return
    seen[FILENAME] = 1
    n_files++
    is_c = FILENAME ~ /\.([chkm]|cu|cpp)$/
    is_doc = FILENAME ~ /\.md$/ && FILENAME !~ /\/sample\.md$/       # a sample is data
    in_src = FILENAME ~ /^src\//
    in_tests = FILENAME ~ /^tests\//
    in_lib = in_src && FILENAME !~ /^src\/app\//
    is_table = FILENAME ~ /_table\.[ch]$/
    n = split(FILENAME, parts, "/")
    name = parts[n]
    inside = in_src ? substr(FILENAME, 5) : ""
    depth = body_line = in_comment = continued = in_code = has_reason = 0
    signature = ""
    if (is_c && FILENAME ~ /^(src|tests|include)\// && name != "main.c") {
        if (name in owner) report(1, "name", "also the name of " owner[name])
        owner[name] = FILENAME
    }
    if (is_c && index($0, "/* " name " - ") != 1)
        report(1, "header", "the first line is not \"/* " name " - purpose\"")
}

# ---- lines of every text file --------------------------------------------------------

function check_text(    t)
{
    if ($0 ~ /[ \t\r]$/) report(FNR, "space", "white space at the end of the line")
    if ($0 ~ /TOD[O]|FIXM[E]/) report(FNR, "unfinished", "a note to do something later")
    if ($0 ~ /(^|[^A-Za-z0-9_.\/-])\/(wor[k]|roo[t])(\/|[^A-Za-z0-9_\/-]|$)/ ||
        $0 ~ /(^|[^A-Za-z0-9_.\/-])\/(hom[e]|User[s])\/[A-Za-z0-9_]/ ||
        (FILENAME !~ /\.(md|py)$/ && $0 ~ /(^|[^A-Za-z0-9_.\/-])\/tm[p]\//))
        report(FNR, "path", "a path of one machine")
}

# Rows of tables and what stands between fences are as long as they are.
function check_doc()
{
    if ($0 ~ /^ *```/) in_code = !in_code
    if (in_code || $0 ~ /^ *\|/ || length($0) <= 140 || columns($0) <= 140) return
    report(FNR, "columns", columns($0) " columns, at most 140")
}

# ---- lines of C ----------------------------------------------------------------------

function check_include(    what, mine, its, own)
{
    if (match($0, /<[^>]*>/)) {
        what = substr($0, RSTART + 1, RLENGTH - 2)
        if (in_src && what ~ library) {
            if (what ~ /^readline\//) what = "editline/readline.h"
            if (what in library_user && library_user[what] != FILENAME)
                report(FNR, "library", "<" what "> is already seen by " library_user[what])
            library_user[what] = FILENAME
        }
        return
    }
    if (!in_src || !match($0, /"[^"]*"/)) return
    what = substr($0, RSTART + 1, RLENGTH - 2)
    if (what == "ds4.h") return
    its = floor_of(what)
    mine = floor_of(inside)
    if (its < 0) {
        report(FNR, "include", "\"" what "\" is not written as \"folder/file.h\" below src")
        return
    }
    own = folder_of(what)
    if (its < mine || index(folder_of(inside) "/", own "/") == 1) return
    if (its == 1 && mine == 1 && inside ~ /^kernels\// && what ~ /^format\//) return
    if (its == 6 && what ~ /^app\/common\//) return
    if (what ~ /^backend\/gpu\/kernels\// && inside ~ /^backend\/gpu\//) return
    report(FNR, "include", inside " must not see " what)
}

function check_calls(code)
{
    if (code ~ /(^|[^A-Za-z0-9_])(secure_)?getenv *\(/ && in_src && name != "knob.c")
        report(FNR, "getenv", "the environment is read by base/knob.c only")
    if (!in_lib) return
    if (code ~ /(^|[^A-Za-z0-9_])(exit|_exit|_Exit|quick_exit|abort) *\(/)
        report(FNR, "exit", "only a program may end the process")
    if (code ~ /(^|[^A-Za-z0-9_])(printf|vprintf|puts|putchar|perror) *\(/ ||
        code ~ /(^|[^A-Za-z0-9_])(stdout|stderr)([^A-Za-z0-9_]|$)/)
        report(FNR, "print", "only a program may print")
}

# Functions are told from other braces by the house style: a name in column 1, the
# opening brace alone on its line. A long one has a comment, above it or in it, that says "longer than 60
# lines" and why.
function check_function(code,    n_open, n_close, n_lines, t)
{
    if (code ~ /^extern ""/) return
    if (depth == 0) {
        if (code ~ /^[A-Za-z_].*\(/) {
            signature = code
            if (match(code, /[A-Za-z_0-9]+ *\(/)) signature = substr(code, RSTART, RLENGTH - 1)
        }
        if (code ~ /^\{/) body_line = FNR
        if (code ~ /^[A-Za-z_ ].*\) *\{ *$/ && code !~ /=/)
            report(FNR, "brace", "the opening brace of a function stands on its own line")
    }
    t = code; n_open = gsub(/\{/, "", t)
    t = code; n_close = gsub(/\}/, "", t)
    depth += n_open - n_close
    if (depth < 0) depth = 0
    if (depth == 0 && body_line) {
        n_lines = FNR - body_line + 1
        if (n_lines > 60 && !is_table && !has_reason)
            report(body_line, "function", signature "() has " n_lines " lines; more than 60 need a reason")
        body_line = has_reason = 0
    }
}

function columns(text)
{
    gsub(/[\200-\277]/, "", text)       # the later bytes of a character
    return length(text)
}

function check_c(    code, was_comment)
{
    if (index($0, "\t")) report(FNR, "tab", "a tab")
    if (length($0) > 110 && !is_table && FILENAME ~ /\.[ch]$/ && columns($0) > 110)
        report(FNR, "columns", columns($0) " columns, at most 110")
    if (FNR == 601 && !is_table) report(FNR, "length", "more than 600 lines")
    if ($0 ~ /[Ll]onger than 60 lines/) has_reason = 1
    if ($0 ~ /^ *\/\* (What|Where|Whose|Who|Whom|How|Which|Why) / && $0 !~ /\?/ && !in_tests)
        report(FNR, "riddle", "a comment begins with its subject, not with a question word")
    if (!in_comment && $0 ~ /^ *# *include/) check_include()
    code = code_of($0)
    check_calls(code)
    if (continued || code ~ /^ *#/) {
        continued = code ~ /\\$/
        return
    }
    check_function(code)
}

BEGIN {
    # A library is seen by one file, so that it can be replaced there. Not listed: jansson,
    # whose tree is the form of JSON between reading and use.
    library = "^(pcre2.*|histedit|editline/readline|readline/.*|cmocka|xxhash|sqlite3|" \
              "utf8proc|popt|cblas|curl/.*)\\.h$"
}
FNR == 1 { begin_file() }
{ check_text() }
is_doc { check_doc() }
is_c { check_c() }
END {
    exit n_violations > 0
}
