# code.awk - C without its comments and texts, for the checkers of the tree.

# The line without comments and without what is between quotes.
function code_of(text,    out, at, quote, end)
{
    out = ""
    while (text != "") {
        if (in_comment) {
            at = index(text, "*/")
            if (!at) return out
            text = substr(text, at + 2)
            in_comment = 0
            continue
        }
        if (!match(text, /["\047]|\/[*\/]/)) return out text
        out = out substr(text, 1, RSTART - 1)
        quote = substr(text, RSTART, 1)
        text = substr(text, RSTART + RLENGTH)
        if (quote == "/") {
            if (substr($0, length($0) - length(text), 1) == "/") return out
            in_comment = 1
            continue
        }
        end = 1
        while (end <= length(text) && substr(text, end, 1) != quote)
            end += substr(text, end, 1) == "\\" ? 2 : 1
        out = out quote quote
        text = substr(text, end + 1)
    }
    return out
}
