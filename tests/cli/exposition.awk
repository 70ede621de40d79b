# exposition.awk - what is wrong with numbers in Prometheus' text format (version 0.0.4), one line
# for each fault: awk -f tests/cli/exposition.awk FILE
function fault(what) { print FNR ": " what ": " $0 }
function family_of(name) {
    if (name in type) return name
    sub(/_(bucket|sum|count)$/, "", name)
    return name
}
/^# HELP / {
    if ($3 in help) fault("a second HELP")
    if (NF < 4) fault("a HELP without words")
    help[$3] = 1
    next
}
/^# TYPE / {
    if ($3 in type) fault("a second TYPE")
    if (!($3 in help)) fault("TYPE without HELP")
    if ($4 !~ /^(counter|gauge|histogram)$/) fault("no type")
    if (($4 == "counter") != ($3 ~ /_total$/)) fault("counters, and they alone, end in _total")
    type[$3] = $4
    current = $3
    next
}
!/^[a-zA-Z_:][a-zA-Z0-9_:]*({([a-zA-Z_][a-zA-Z0-9_]*="([^"\\]|\\["\\n])*",?)+})? [-+0-9.eE]+$/ {
    fault("no sample")
    next
}
{
    series = $0
    sub(/ [^ ]*$/, "", series)
    if (series in seen) fault("twice")
    seen[series] = 1
    name = series
    sub(/{.*/, "", name)
    family = family_of(name)
    if (!(family in type)) fault("without TYPE")
    if (family != current) fault("not behind its TYPE")
    if (type[family] != "gauge" && $NF < 0) fault("negative")
    if (type[family] != "histogram") next
    if (name == family) fault("a histogram has no value of its own")
    if (name ~ /_bucket$/) {
        if (series !~ /le="/) fault("a bucket without a bound")
        if ($NF + 0 < last[family] + 0) fault("buckets fall")
        last[family] = $NF
        if (series ~ /le="\+Inf"/) whole[family] = $NF
    }
    if (name ~ /_count$/ && !(family in whole)) fault("no bucket for all")
    if (name ~ /_count$/ && $NF != whole[family]) fault("count and buckets differ")
}
