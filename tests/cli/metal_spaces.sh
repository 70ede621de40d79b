#!/bin/sh
# metal_spaces.sh - every pointer of the Metal text leads to the address space that it says, as far as clang can
# tell; and clang does tell when one does not.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
text=build/metal/kernels.metal
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
: > "$dir/metal_stdlib"

# Errors but those of structs' implicit members, which C++ for OpenCL wants in each space.
errors() {
    clang -x clcpp -cl-std=clc++2021 -target spir64 -Xclang -finclude-default-header -ferror-limit=0 \
        -Xclang -cl-ext=+cl_khr_fp16,-__opencl_c_generic_address_space,-__opencl_c_pipes,-__opencl_c_device_enqueue \
        -I"$dir" -include "$here/emulator/spaces.cl" -Wno-unknown-pragmas -Wno-unknown-attributes -fsyntax-only "$1" 2>&1 |
        grep 'error:' | grep -v -e 'no matching constructor' -e "no viable overloaded '='" \
            -e 'call to implicitly-deleted default constructor'
}
n=0
told() {
    n=$((n + 1))
    if [ "$1" = yes ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        rc=1
    fi
}
rc=0
printf 'kernel void k(device const float *x) { device const float *y = x; (void)y; }\n' > "$dir/plain.cl"
if ! command -v clang >/dev/null || [ -n "$(errors "$dir/plain.cl")" ]; then
    echo "ok 1 - address spaces of the Metal text # SKIP no clang that reads C++ for OpenCL"
    exit 0
fi
[ -f "$text" ] || { echo "not ok 1 - $text is not built"; exit 1; }
cp "$text" "$dir/text.cl"
found=$(errors "$dir/text.cl")
[ -z "$found" ] || echo "# $found"
told "$([ -z "$found" ] && echo yes)" "every pointer leads where it says"
sed 's/static inline f4 ld4(device const float \*p)/static inline f4 ld4(const float *p)/' "$text" > "$dir/planted.cl"
told "$(errors "$dir/planted.cl" | grep -q 'address space' && echo yes)" "a pointer without its space is told"
sed 's/static inline void kd_set(threadgroup atomic_uint/static inline void kd_set(device atomic_uint/' "$text" > "$dir/planted.cl"
told "$([ -n "$(errors "$dir/planted.cl")" ] && echo yes)" "a pointer to another space is told"
exit $rc
