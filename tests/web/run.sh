#!/bin/sh
# run.sh - the web pages in a real browser.
#
# Needs node with npm and a Chromium (CHROMIUM names another one); `make test-web` installs them.
# playwright-core and axe-core come from npm on the first run. DS4_SHOTS names a folder for screenshots.
set -u
cd "$(dirname "$0")" || exit 1

fail() {
    echo "not ok 1 - the web pages in a browser: $1"
    echo "1..1"
    exit 1
}
browser=
for candidate in "${CHROMIUM:-}" /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
    [ -n "$candidate" ] && [ -x "$candidate" ] && browser=$candidate && break
done
[ -n "$browser" ] || fail "no Chromium here"
command -v node >/dev/null && command -v npm >/dev/null || fail "no node with npm here"
[ node_modules/.package-lock.json -nt package-lock.json ] ||
    npm ci --no-audit --no-fund --silent >/dev/null 2>&1 || fail "npm could not get playwright-core and axe-core"
export CHROMIUM="$browser"
node all.mjs
