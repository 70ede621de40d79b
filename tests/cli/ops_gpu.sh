#!/bin/sh
# ops_gpu.sh - the operations of the emulated GPU against the reference in plain C, the cheap cases.
set -u
out=${OUT:-build}
if "$out/tests/ops/ops_test" --backend emulated --op angles >/dev/null 2>&1; then
    exec "$out/tests/ops/ops_test" --backend emulated
fi
echo "ok 1 - operations of the emulated GPU # SKIP it is not built here: no C++ compiler"
