#!/bin/sh
# kv_long.sh - the long tests of kept conversations; see `make test-kv-long`.
#
#   tests/long/kv_long.sh CONTEXT MODEL...      the last model also reads a long context
set -u
out=${OUT:-build}
context=$1
shift
failed=0
box=$(mktemp -d "$out/kv_long_XXXXXX") || exit 2
trap 'rm -rf "$box"' EXIT

step() {                                # step WHAT COMMAND...: its output is shown
    what=$1
    shift
    echo "# $what"
    "$@" || { echo "FAIL  $what"; failed=1; }
}

step "walks and faults, a random model" "$out/tests/service/store_test"
step "damage" "$out/tests/service/store_fault_test"
for model in "$@"; do
    step "walks on $model" env DS4_KV_MODEL="$model" "$out/tests/service/store_test"
    step "sizes and times with $model" "$out/tests/long/kv_size" "$model" "$box/size"
    rm -rf "$box/size"
    last=$model
done
# A tenth of what the rows take, so that nine tenths must lie on the disk.
step "a context of $context tokens" "$out/tests/long/kv_context" "$last" models/eval/filler.txt "$context" \
    $((context * 40 / 1048576 + 4)) "$box/context"
exit $failed
