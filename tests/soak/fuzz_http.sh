#!/bin/sh
# fuzz_http.sh - damaged requests at the socket of a server under sanitizers, see http_fuzz.c.
#   OUT=build/san FUZZ_SECONDS=60 sh tests/soak/fuzz_http.sh [SEED]
. tests/cli/tap.inc
. tests/cli/server.inc
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
start_server --parallel 3 --max-queue 8 --max-connections 100 -c 1024
"$out/tests/soak/http_fuzz" "${url##*:}" "${FUZZ_SECONDS:-60}" "${1:-$(date +%s)}" tests/fuzz/corpus/http/*
bad=$?
tap_n=4
kill -0 "$server" 2>/dev/null
report $? "the server is still there"
stop_server
is "it ends as it should, without a finding" 0 "$rc"
[ "$rc" -eq 0 ] || grep -v ' ds4-server: ' "$box/log" | head -n 60 | sed 's/^/# /'
[ "$bad" -eq 0 ] || tap_failed=1
finish
