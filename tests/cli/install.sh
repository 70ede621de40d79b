#!/bin/sh
# install.sh - make install into an empty folder: what is there works from there, a program is
# built against it, and make uninstall leaves nothing.
. tests/cli/tap.inc
prefix=/opt/ds4
there=$box/package$prefix

run make OUT="$out" DESTDIR="$box/package" PREFIX=$prefix install
is "make install succeeds" 0 $rc
[ $rc -eq 0 ] || sed 's/^/# /' "$box/stderr"
for file in bin/ds4 bin/ds4-eval lib/libds4.a lib/pkgconfig/ds4.pc include/ds4.h share/man/man1/ds4.1 \
        share/ds4/ds4-mini.gguf share/ds4/eval/cases.jsonl share/doc/ds4/LICENSE \
        share/bash-completion/completions/ds4-server share/zsh/site-functions/_ds4 share/fish/vendor_completions.d/ds4-eval.fish; do
    [ -s "$there/$file" ]
    report $? "$file is there"
done
is "nothing is outside the prefix" "" "$(find "$box/package" -type f ! -path "$there/*")"
is "no place is left unfilled" "" "$(grep -rlI '@[A-Z]*@' "$there/lib/pkgconfig" "$there/lib/systemd" "$there/share/ds4" 2>/dev/null |
    grep -v jsonl)"

(cd "$box" && "$there/bin/ds4" --nothink --temp 0 -n 8 -p Hello) >"$box/stdout" 2>"$box/stderr"
is "ds4 answers from there" 0 $?
has "with the model beside it" "$box/stderr" "share/ds4/ds4-mini.gguf"
(cd "$box" && "$there/bin/ds4-eval" mini --limit 1 --kind self) >"$box/stdout" 2>"$box/stderr"
is "ds4-eval mini finds its cases" 0 $?

export PKG_CONFIG_LIBDIR="$there/lib/pkgconfig"
is "pkg-config knows the version" "$(sed -n 's/^#define DS4_VERSION "\(.*\)"/\1/p' include/ds4.h)" \
   "$(pkg-config --modversion ds4)"
flags=
grep -q __asan_init "$there/lib/libds4.a" && flags="-fsanitize=address,undefined"
# shellcheck disable=SC2046,SC2086
run ${CC:-cc} -std=c11 $flags -o "$box/one_shot" examples/one_shot.c \
    $(pkg-config --define-variable=prefix="$there" --cflags --libs ds4)
is "a program builds against it" 0 $rc
[ $rc -eq 0 ] || sed 's/^/# /' "$box/stderr"
run "$box/one_shot" "$there/share/ds4/ds4-mini.gguf" "Who are you?"
is "and answers" 0 $rc
if command -v c++ >/dev/null; then
    echo '#include <ds4.h>
int main() { ds4_engine_close(nullptr); }' >"$box/x.cc"
    run c++ -Wall -Wextra -Werror -I"$there/include" -fsyntax-only "$box/x.cc"
    is "C++ takes the header" 0 $rc
fi

touch "$there/share/ds4/mine.gguf"
run make OUT="$out" DESTDIR="$box/package" PREFIX=$prefix uninstall
is "make uninstall succeeds" 0 $rc
is "only what others put there is left" "$there/share/ds4/mine.gguf" "$(find "$box/package" -type f -o -type l)"
finish
