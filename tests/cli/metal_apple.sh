#!/bin/sh
# metal_apple.sh - the Metal device compiles for Apple's chips against headers that declare what Apple documents;
# and a selector that is not declared there, or a wrong argument, is told.
set -u
flags="-target arm64-apple-macos14 -nostdlibinc -x objective-c -std=gnu11 -fno-objc-arc -fblocks
       -Werror=objc-method-access -Werror=int-conversion -Werror=incompatible-pointer-types -Itests/emulator/apple -isystem tests/emulator/apple/libc -Isrc -Iinclude"
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
n=0 rc=0
told() {
    n=$((n + 1))
    [ "$1" = yes ] && echo "ok $n - $2" && return
    echo "not ok $n - $2"
    rc=1
}
# shellcheck disable=SC2086
compiles() { clang $flags -I"$dir" -c -o "$dir/out.o" "$1" 2> "$dir/log"; }

echo 'int one(void) { return 1; }' > "$dir/plain.m"
if ! command -v clang >/dev/null || ! compiles "$dir/plain.m"; then
    echo "ok 1 - the Metal device for Apple's chips # SKIP no clang that compiles for them"
    exit 0
fi
for sdk in 150000 140000; do            # with residency sets, and before there were any
    flags="$flags -U__MAC_OS_X_VERSION_MAX_ALLOWED -D__MAC_OS_X_VERSION_MAX_ALLOWED=$sdk"
    for file in src/backend/gpu/metal/*.m; do
        if compiles "$file"; then
            magic=$(od -A n -t x1 -N 8 "$dir/out.o" | tr -d ' \n')
            told "$([ "$magic" = cffaedfe0c000001 ] && echo yes)" "$(basename "$file") is an arm64 object, SDK $sdk"
        else
            sed 's/^/# /' "$dir/log"
            told no "$(basename "$file") compiles, SDK $sdk"
        fi
    done
done
planted() {
    sed "$2" "src/backend/gpu/metal/$1" > "$dir/planted.m"
    cmp -s "src/backend/gpu/metal/$1" "$dir/planted.m" && told no "the fault is planted" && return
    told "$(compiles "$dir/planted.m" || echo yes)" "$3"
}
planted metal_work.m 's/waitUntilCompleted/waitUntilComplete/' "a selector that Metal does not have is told"
planted metal_work.m 's/MTLBarrierScopeBuffers\]/@selector(commit)]/' "an argument of another type is told"
planted metal_memory.m 's/options:MTLResourceStorageModeShared/option:MTLResourceStorageModeShared/' "a misspelt part is told"
exit $rc
