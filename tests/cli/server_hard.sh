#!/bin/sh
# server_hard.sh - ds4-server under clients that do not behave: thousands of connections in turn,
# damaged requests, silent and slow ones. Longer runs: make fuzz-http, make test-soak.
. tests/cli/tap.inc
. tests/cli/server.inc
soak=$out/tests/soak

start_server --parallel 2 --max-connections 60 -c 1024
port=${url##*:}
run "$soak/soak" --in-turn "$port" 10000
is "10,000 connections in turn are served" 0 $rc
grep '^#' "$box/stdout"
run "$soak/http_fuzz" "$port" 8 $$ tests/fuzz/corpus/http/*
is "damaged, slow and silent clients for a while" 0 $rc
[ "$rc" -eq 0 ] || cat "$box/stdout" "$box/stderr" | sed 's/^/# /'
ask /health
is "it is still there" 200 "$status"
open=$(metric connections)
[ "${open:-99}" -le 5 ]
report $? "and all of them have gone: $open connections"
stop_server
is "and ends as it should" 0 "$rc"
finish
