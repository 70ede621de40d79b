#!/bin/sh
# run.sh - the JavaScript SDKs that programs use, against a running server with the bundled
# model. Prints TAP. Needs node and the npm registry; skips without them.
. tests/cli/tap.inc
. tests/cli/server.inc
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    skip "the SDKs" "no node and npm here"
    finish
fi
if [ ! -d tests/sdk/node_modules/openai ] &&
   ! (cd tests/sdk && npm ci --no-audit --no-fund --ignore-scripts --silent >"$box/npm" 2>&1); then
    skip "the SDKs" "npm cannot install them"
    finish
fi
cat >"$box/script" <<'END'
{"if": "weather of Turin", "say": "I should look.</think>Let me look.\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">Turin \"Torino\"\\ é</｜DSML｜parameter>\n<｜DSML｜parameter name=\"days\" string=\"false\">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name=\"get_time\">\n<｜DSML｜parameter name=\"zone\" string=\"true\">CET</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"}
{"if": "21 degrees", "say": "They want the number.</think>It is 21 degrees."}
{"if": "think hard", "say": "One. Two. Three.</think>Done thinking."}
END
server_program=$out/ds4-server-scripted
start_server --parallel 4 --script "$box/script"
node tests/sdk/sdk_test.mjs "$url"
rc=$?
stop_server
[ $rc -eq 0 ] || sed 's/^/# /' "$box/log"
exit $rc
