#!/bin/sh
# schemas.sh - schemas as zod and pydantic write them, answered by a server with the bundled model and
# checked by a validator from npm. Prints TAP. Needs node and the npm registry; skips without them.
. tests/cli/tap.inc
. tests/cli/server.inc
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    skip "schemas of libraries" "no node and npm here"
    finish
fi
if [ ! -d tests/sdk/node_modules/ajv ] &&
   ! (cd tests/sdk && npm ci --no-audit --no-fund --ignore-scripts --silent >"$box/npm" 2>&1); then
    skip "schemas of libraries" "npm cannot install them"
    finish
fi
start_server --parallel 2
node tests/sdk/schemas_test.mjs "$url"
rc=$?
stop_server
[ $rc -eq 0 ] || sed 's/^/# /' "$box/log"
exit $rc
