#!/bin/sh
# far_faults.sh - faults that only a device with memory of its own would show are planted in the engine, one at
# a time in a copy of the tree; the tests on the far device must fail for each. TAP.
set -u
out=${OUT:-build}
box=$out/far_faults
n=0 failed=0

# Build what finds faults and run it. Returns 0 when all of it passes.
passes() {
    tests=
    for t in engine/far_test engine/engine_test engine/snapshot_test; do tests="$tests $box/build/far/tests/$t"; done
    make -s CUDA=no OUT="$box/build" -C "$box/tree" $tests >"$box/log" 2>&1 || { cat "$box/log"; exit 2; }
    for t in $tests; do
        (cd "$box/tree" && OUT="$box/build" DS4_FAR_CUT=1 timeout 300 "$t") >"$box/log" 2>&1 || return 1
    done
}

# fault NAME FILE SED: the change must change something, and be found.
fault() {
    n=$((n + 1))
    sed "$3" "$2" >"$box/tree/$2"
    if cmp -s "$2" "$box/tree/$2"; then
        echo "not ok $n - $1: the fault could not be planted"
        failed=1
    elif passes; then
        echo "not ok $n - $1: nobody noticed"
        failed=1
    else
        echo "ok $n - $1 is found"
    fi
    cp "$2" "$box/tree/$2"
}

rm -rf "$box"
mkdir -p "$box/tree"
box=$(cd "$box" && pwd)
cp -R Makefile mk src include tests tools models "$box/tree/"
mkdir -p "$box/tree/build"
passes || { echo "not ok 1 - without a fault the tests pass"; tail -n 20 "$box/log"; exit 1; }
fault "a look into a buffer" src/model/network.c \
    's|^    if (n > 0) DS4_TRY(m->backend->read(m->dev, rows, n, err));|    for (uint32_t i = 0; i < n; i++) memcpy(rows[i].host, rows[i].at.buf->host + rows[i].at.off, rows[i].n_bytes);|;s|^#include <math.h>|&\n#include <string.h>|'
fault "a missing wait" src/engine/step.c 's|^    DS4_TRY(ds4_network_wait(&e->network, .*|    (void)ticket;|'
fault "a wrong order" src/model/network.c \
    's|^    return sample(m, batch, ticket, err);|    return DS4_OK;|;s|^    const ds4_step_list \*list = &m->step\[needs_index(m, batch)\];|&\n    DS4_TRY(sample(m, batch, ticket, err));|'
fault "an unchecked commit" src/engine/block_pool.c \
    's|^    DS4_TRY(\(p->backend->commit(p->dev, b->at.cold, p->cold_bytes, err)\));|    if (\1 != DS4_OK) p->n_total += 0;|'
fault "memory that is used after it was discarded" src/engine/block_pool.c \
    's|^    if (--b->refs > 0) return;|    p->backend->discard(p->dev, b->at.warm, p->warm_bytes);\n&|'
echo "1..$n"
rm -rf "$box"
exit $failed
