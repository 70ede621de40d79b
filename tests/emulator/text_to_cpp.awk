# text_to_cpp.awk - Metal's text for a C++ compiler, line by line: arrays of a group come from the
# emulator, which poisons and watches them, and nothing else is changed.
BEGIN { array = "threadgroup [a-z_0-9]+ [a-z_0-9]+\\[[^]]*\\];" }
{
    while (match($0, array)) {
        split(substr($0, RSTART, RLENGTH), part, /[ \[\]]/)
        line = substr($0, RSTART, RLENGTH)
        size = substr(line, index(line, "[") + 1)
        sub(/\];$/, "", size)
        $0 = substr($0, 1, RSTART - 1) "TG_ARRAY(" part[2] ", " part[3] ", " size ");" \
             substr($0, RSTART + RLENGTH)
    }
    print
}
