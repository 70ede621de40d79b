#!/bin/sh
# run.sh - many clients of one server for SOAK_SECONDS, see soak_main.c. Prints TAP.
#   OUT=build SOAK_SECONDS=600 sh tests/soak/run.sh
#
# The memory that the server keeps is bounded, so that it is full before memory is judged.
. tests/cli/tap.inc
. tests/cli/server.inc
seconds=${SOAK_SECONDS:-600}
start_server --parallel "${SOAK_STREAMS:-16}" --mem 340M --turn-mem 1M
"$out/tests/soak/soak" "${url##*:}" "$server" "$seconds" "${SOAK_STREAMS:-16}" \
    models/eval/cases.jsonl models/eval/filler.txt
bad=$?
kill -0 "$server" 2>/dev/null
rc=$?
tap_n=$((6 + 1))
[ $rc -eq 0 ] && echo "ok $tap_n - the server is still there" || echo "not ok $tap_n - the server is gone"
stop_server
tap_n=$((tap_n + 1))
[ "$rc" -eq 0 ] && echo "ok $tap_n - it ends as it should" || echo "not ok $tap_n - it ends with status $rc"
[ "$bad" -eq 0 ] && [ "$rc" -eq 0 ]
