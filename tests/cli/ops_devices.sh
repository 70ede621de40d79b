#!/bin/sh
# ops_devices.sh - the operations of the devices that exist in tests only, against the reference in plain C: the
# far device with the least shapes, and the emulated GPU with the cheap ones.
set -u
out=${OUT:-build}
ops=$out/tests/ops/ops_test
"$ops" --backend far --shape least
rc=$?
if "$ops" --backend emulated --op angles >/dev/null 2>&1; then
    "$ops" --backend emulated || rc=1
else
    echo "ok 1 - operations of the emulated GPU # SKIP it is not built here: no C++ compiler"
fi
exit $rc
