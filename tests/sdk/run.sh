#!/bin/sh
# run.sh - the JavaScript SDKs and agent libraries that programs use, against a running server with the
# bundled model. Prints TAP. Needs node and the npm registry; skips without them.
. tests/cli/tap.inc
. tests/cli/server.inc
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    skip "the SDKs" "no node and npm here"
    finish
fi
if [ ! -d tests/sdk/node_modules/@langchain ] &&
   ! (cd tests/sdk && npm ci --no-audit --no-fund --ignore-scripts --silent >"$box/npm" 2>&1); then
    skip "the SDKs" "npm cannot install them"
    finish
fi
cat >"$box/script" <<'END'
{"if": "weather of Turin", "say": "I should look.</think>Let me look.\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">Turin \"Torino\"\\ é</｜DSML｜parameter>\n<｜DSML｜parameter name=\"days\" string=\"false\">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name=\"get_time\">\n<｜DSML｜parameter name=\"zone\" string=\"true\">CET</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"}
{"if": "21 degrees", "say": "They want the number.</think>It is 21 degrees."}
{"if": "some JSON, prescribed", "say": "</think>{\"colour\": \"red\", \"grown\": true}"}
{"if": "think hard", "say": "One. Two. Three.</think>Done thinking."}
END
server_program=$out/ds4-server-scripted
start_server --parallel 4 --script "$box/script"
for file in sdk libraries; do
    node tests/sdk/${file}_test.mjs "$url" >"$box/tap" 2>"$box/stderr"
    # One plan for both files: the numbers go on.
    sed "s/^1\.\..*//; /^$/d" "$box/tap" | awk -v n="$tap_n" '
        /^ok [0-9]/ || /^not ok [0-9]/ { at = /^not/ ? 3 : 2; $at = ++n }
        { print }' >"$box/numbered"
    cat "$box/numbered"
    grep -q '^not ok' "$box/tap" && tap_failed=1
    grep -q '^1\.\.' "$box/tap" || { tap_failed=1; sed 's/^/# /' "$box/stderr" | tail -n 20; }
    tap_n=$((tap_n + $(grep -c '^ok \|^not ok ' "$box/tap")))
done
stop_server
[ $tap_failed -eq 0 ] || sed 's/^/# /' "$box/log"
finish
