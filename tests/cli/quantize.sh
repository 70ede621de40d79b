#!/bin/sh
# quantize.sh - the command line of ds4-quantize: what it refuses, and with which exit code.
set -u
out=${OUT:-build}
quantize=$out/ds4-quantize
box=$out/cli_quantize
n=0 failed=0

check() {                               # check NAME CODE WORDS, after run
    n=$((n + 1))
    if [ "$rc" -eq "$2" ] && printf '%s\n' "$text" | grep -qF -- "$3"; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        printf '# exit %s\n' "$rc"
        printf '%s\n' "$text" | sed 's/^/# /'
        failed=1
    fi
}

run() { text=$("$quantize" "$@" 2>&1 </dev/null); rc=$?; }

rm -rf "$box" && mkdir -p "$box/empty" "$box/broken"
echo '{' >"$box/broken/config.json"
echo '{"model_type":"other"}' >"$box/empty/config.json"
cat >"$box/tokenizer.json" <<'END'
{"added_tokens":[{"id":2,"content":"<｜end▁of▁sentence｜>","special":true}],
 "model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}}
END

run --help;                                     check "help" 0 "Usage: ds4-quantize"
run --version;                                  check "version" 0 "0."
run;                                            check "no command" 2 "missing command"
run frobnicate;                                 check "unknown command" 2 "unknown command frobnicate"
run --frob;                                     check "unknown option" 2 "--frob"
run convert --help;                             check "help of convert" 0 "--experts TYPE"
run convert --frob;                             check "unknown option of convert" 2 "unknown option --frob"
run convert;                                    check "no folder" 2 "missing option --from"
run convert --from x --out y;                   check "no experts" 2 "missing option --recipe or --experts"
run convert --from x --out y --experts q3;      check "unknown expert type" 2 "invalid value for --experts: q3"
run convert --from x --out y --experts q2 --dense q3
check "unknown dense type" 2 "invalid value for --dense: q3"
run convert --from x --out y --experts q2 --part head
check "unknown part" 2 "invalid value for --part: head"
run convert --from x --out y --experts q2 --threads 0
check "no threads" 2 "invalid value for --threads: 0"
run convert --from "$box/none" --out y --experts q2;    check "no such folder" 1 "none/config.json"
run convert --from "$box/broken" --out y --experts q2;  check "broken configuration" 2 "broken/config.json: line"
run convert --from "$box/empty" --out y --experts q2;   check "other architecture" 2 '"model_type" is "other"'
run vocab --tokenizer "$box/tokenizer.json";            check "vocab without a target" 2 "missing option --out"
run vocab --tokenizer "$box/none" --out y;              check "no tokenizer" 1 "none"
run vocab --tokenizer "$box/broken/config.json" --out y;        check "broken tokenizer" 2 "broken/config.json"
run vocab --tokenizer "$box/tokenizer.json" --out "$box/v.gguf"; check "vocab" 0 ""
text=$(head -c 4 "$box/v.gguf"); rc=$?;         check "a GGUF file" 0 "GGUF"
run vocab --tokenizer "$box/tokenizer.json" --out "$box/no/v.gguf";     check "no such target" 1 "no/v.gguf"
text=$(ls "$box"); rc=$?
[ "$(printf '%s\n' "$text" | wc -l)" -eq 4 ] || rc=1;   check "no temporary files stay" 0 "v.gguf"

rm -rf "$box"
echo "1..$n"
exit $failed
