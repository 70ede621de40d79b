#!/bin/sh
# man.sh - what other programs say of the manual pages: mandoc finds nothing, man shows them.
. tests/cli/tap.inc

for page in man/*.1; do
    if command -v mandoc >/dev/null; then
        is "$page is well formed" "" "$(mandoc -T lint -W warning "$page" 2>&1 | head -n 3)"
    else
        skip "$page is well formed" "no mandoc here"
    fi
done
if command -v man >/dev/null && [ "$(uname -s)" = Linux ]; then
    man -l man/ds4.1 >"$box/stdout" 2>&1 </dev/null
    is "man shows the page" 1 "$(grep -c '^.*NAME' "$box/stdout" | head -n 1)"
else
    skip "man shows the page" "no man here"
fi
finish
