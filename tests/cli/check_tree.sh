#!/bin/sh
# check_tree.sh - the checker of the tree finds each kind of violation, planted one at a
# time in a small tree that is otherwise clean.
set -u
root=$(pwd)
out=${OUT:-build}
box=$root/$out/cli_check_tree
input=$root/$out/cli_check_tree.input
mkdir -p "$root/$out"
n=0 failed=0

report() {                              # report RC NAME
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; failed=1; fi
}

small_tree() {
    rm -rf "$box"
    mkdir -p "$box/src/base" "$box/src/format" "$box/src/kernels" "$box/src/text" "$box/src/engine" \
             "$box/src/backend/cpu" "$box/src/backend/gpu" "$box/src/app/cli" "$box/tests/base" "$box/include"
    echo '/* ds4.h - the public part. */' >"$box/include/ds4.h"
    echo '/* a.h - one. */' >"$box/src/base/a.h"
    echo '/* gg.h - two. */' >"$box/src/format/gg.h"
    echo '/* kk.h - three. */' >"$box/src/kernels/kk.h"
    echo '/* be.h - four. */' >"$box/src/backend/be.h"
    echo '/* gpu.h - five. */' >"$box/src/backend/gpu/gpu.h"
    echo '/* main.c - a program. */
#include "engine/e.h"
int main(void)
{
    printf("abort(); /* %s */", "exit(1)");
    exit(0);
}' >"$box/src/app/cli/main.c"
    echo '/* e.c - an engine: it may say printf("x") in a comment. */
#include "ds4.h"
#include "backend/cpu/cpu.h"
#include "base/a.h"
#include <histedit.h>

/* getenv("HOME") and
   exit(1) are only words here */
static const char *const words[] = { "exit(1)", "puts(\"x\")", "/*" };

int fill(char *text, int c)
{
    if (c == 0x27 || c == '"'\"'"') return snprintf(text, 2, "%s", words[0]);
    return ds4_exit(c);
}' >"$box/src/engine/e.c"
    echo '/* cpu.h - six. */
#include "backend/be.h"
#include "kernels/kk.h"' >"$box/src/backend/cpu/cpu.h"
    echo '/* kk.c - seven. */
#include "format/gg.h"
#include "kernels/kk.h"' >"$box/src/kernels/kk.c"
    echo '/* a_test.c - tests see everything. */
#include "engine/e.h"
#include <histedit.h>' >"$box/tests/base/a_test.c"
}

check() { sh "$root/tools/check_tree.sh" "$box"; }

lines() { awk -v n="$1" -v t="$2" 'BEGIN { while (n-- > 0) print t }'; }

# planted NAME FILE "file:line: rule:" with the file's new end on standard input
planted() {
    small_tree
    cat >>"$box/$2"
    text=$(check)
    rc=$?
    expect=$3
    case "$rc:$text" in
        1:"$expect"*"1 violations") report 0 "$1" ;;
        *) report 1 "$1"; echo "# expected '$expect', got exit $rc:"; echo "$text" | sed 's/^/# /' ;;
    esac
}

small_tree
text=$(check); rc=$?
[ $rc -eq 0 ] && [ "$text" = "tree: 11 files, 0 violations" ]; report $? "a clean tree is clean"
[ $failed -eq 0 ] || echo "$text" | sed 's/^/# /'

planted "base sees the engine" src/base/a.h "src/base/a.h:2: include:" <<'END'
#include "engine/e.h"
END
planted "text sees format" src/text/t.h "src/text/t.h:2: include:" <<'END'
/* t.h - eight. */
#include "format/gg.h"
END
planted "format sees kernels" src/format/gg.h "src/format/gg.h:2: include:" <<'END'
#include "kernels/kk.h"
END
planted "one backend sees another" src/backend/cpu/cpu.h "src/backend/cpu/cpu.h:4: include:" <<'END'
#include "backend/gpu/gpu.h"
END
planted "a backend's interface sees a backend" src/backend/be.h "src/backend/be.h:2: include:" <<'END'
#include "backend/gpu/gpu.h"
END
planted "one program sees another" src/app/cli/x.c "src/app/cli/x.c:2: include:" <<'END'
/* x.c - eight. */
#include "app/bench/b.h"
END
planted "an include without its folder" src/kernels/kk.c "src/kernels/kk.c:4: include:" <<'END'
#include "kk.h"
END
planted "the same name twice" tests/base/e.c "tests/base/e.c:1: name:" <<'END'
/* e.c - again. */
END
planted "no header comment" src/base/b.c "src/base/b.c:1: header:" <<'END'
int b;
END
planted "a header comment of another file" src/base/b.c "src/base/b.c:1: header:" <<'END'
/* c.c - something. */
END
planted "the environment" src/app/cli/main.c "src/app/cli/main.c:8: getenv:" <<'END'
static const char *home = getenv("HOME");
END
planted "exit in the library" src/base/a.h "src/base/a.h:2: exit:" <<'END'
static void f(void) { /* no */ exit(1); }
END
planted "abort in the library" src/base/a.h "src/base/a.h:2: exit:" <<'END'
static void f(void) { abort (); }
END
planted "printf in the library" src/base/a.h "src/base/a.h:2: print:" <<'END'
static void f(void) { printf("x"); }
END
planted "stderr in the library" src/base/a.h "src/base/a.h:2: print:" <<'END'
static void f(void) { fprintf(stderr, "x"); }
END
planted "a library header twice" src/format/j.c "src/format/j.c:2: library:" <<'END'
/* j.c - eight. */
#include <histedit.h>
END
{ echo '/* long.c - eight. */'; lines 600 'extern int x;'; } >"$input"
planted "a long file" src/base/long.c "src/base/long.c:601: length:" <"$input"
{ printf '/* f.c - eight. */\nint f(void)\n{\n'; lines 59 '    x();'; echo '}'; } >"$input"
planted "a long function" src/base/f.c "src/base/f.c:3: function: f() has 61 lines" <"$input"
{ printf '/* f.c - eight. */\n/* Longer than 60 lines: it is a list. */\nint f(void)\n{\n'; lines 59 '    x();'
  printf '}\nint g(void)\n{\n'; lines 60 '    x();'; echo '}'; } >"$input"
planted "a long function behind one with a reason" src/base/f.c "src/base/f.c:66: function: g() has 62 lines" <"$input"
{ printf '# a text\n\n| '; lines 20 'abcdefghij' | tr '\n' '|'; printf '\n\n```\n'; lines 20 'abcdefghij' | tr -d '\n'
  printf '\n```\n'; lines 15 'abcdefghij' | tr -d '\n'; echo; } >"$input"
planted "a long line of a text" README.md "README.md:8: columns: 150" <"$input"
planted "a riddle" src/base/a.h "src/base/a.h:2: riddle:" <<'END'
/* What a device does when nobody asks. */
END
planted "kernels of a GPU are C" src/backend/gpu/k.k "src/backend/gpu/k.k:1: header:" <<'END'
int b;
END
planted "a function's brace" src/base/f.c "src/base/f.c:2: brace:" <<'END'
/* f.c - eight. */
int f(int x) {
    return x;
}
END
printf 'int\tx;\n' >"$input"
planted "a tab" src/base/a.h "src/base/a.h:2: tab:" <"$input"
{ printf 'extern int '; lines 10 'abcdefghij' | tr -d '\n'; echo ';'; } >"$input"
planted "a long line" src/base/a.h "src/base/a.h:2: columns: 112" <"$input"
printf 'int x; \n' >"$input"
planted "white space at the end" src/base/a.h "src/base/a.h:2: space:" <"$input"
printf '/* %s: later */\n' "TO""DO" >"$input"
planted "an unfinished thing" src/base/a.h "src/base/a.h:2: unfinished:" <"$input"
printf 'See /%s/x.\n' "tm""p" >"$input"
planted "a path" tests/base/x.sh "tests/base/x.sh:1: path:" <"$input"
printf 'See /%s/joe/x.\n' "hom""e" >"$input"
planted "a home directory" README.md "README.md:1: path:" <"$input"

# ---- who calls whom -----------------------------------------------------------------------------------------

# together NAME "file:line: rule:": what was planted by hand in a small tree
together() {
    text=$(check)
    rc=$?
    expect=$2
    case "$rc:$text" in
        1:"$expect"*"1 violations") report 0 "$1" ;;
        *) report 1 "$1"; echo "# expected '$expect', got exit $rc:"; echo "$text" | sed 's/^/# /' ;;
    esac
}

# Two files below base, each with a function that the other may call.
two_files() {
    small_tree
    printf '/* b.h - eight. */\nint ds4_b(int x);    /* for tests */\nint ds4_top(int x);\n' >"$box/src/base/b.h"
    printf '/* c.h - nine. */\nint ds4_c(int x);\n' >"$box/src/base/c.h"
    printf '/* b.c - ten. */\n#include "base/b.h"\nint ds4_b(int x)\n{\n    return ds4_c(x);\n}\n' >"$box/src/base/b.c"
    printf '/* c.c - eleven. */\n#include "base/c.h"\nint ds4_c(int x)\n{\n    return x;\n}\n' >"$box/src/base/c.c"
    printf '/* t.c - twelve. */\n#include "base/b.h"\nint ds4_top(int x)\n{\n    return ds4_b(x);\n}\n' \
        >"$box/src/engine/t.c"
    printf 'static int x = ds4_top(1);\n' >>"$box/src/app/cli/main.c"
}

two_files
text=$(check); rc=$?
[ $rc -eq 0 ]; report $? "calls that go down are clean"
[ $rc -eq 0 ] || echo "$text" | sed 's/^/# /'

two_files
sed -i.was 's/return x;/return ds4_b(x);/' "$box/src/base/c.c" && rm "$box/src/base/c.c.was"
together "a circle of two files" "src/base/b.c:1: circle: src/base/b.c -> src/base/c.c (ds4_c) -> src/base/b.c (ds4_b)"

two_files
sed -i.was 's/return x;/return ds4_top(x);/' "$box/src/base/c.c" && rm "$box/src/base/c.c.was"
text=$(check)
case $text in
    *"circle: src/base -> src/engine (src/base/c.c) -> src/base (src/engine/t.c)"*) report 0 "a circle of two folders" ;;
    *) report 1 "a circle of two folders"; echo "$text" | sed 's/^/# /' ;;
esac
case $text in
    *"circle: src/base/b.c -> src/base/c.c (ds4_c) -> src/engine/t.c (ds4_top) -> src/base/b.c (ds4_b)"*)
        report 0 "a circle of three files" ;;
    *) report 1 "a circle of three files"; echo "$text" | sed 's/^/# /' ;;
esac

two_files
printf '#include "base/c.h"\n' >>"$box/src/base/b.h"
printf '#include "base/b.h"\n' >>"$box/src/base/c.h"
together "headers that include each other" "src/base/b.h:1: circle: src/base/b.h -> src/base/c.h (included)"

two_files
printf 'int ds4_d(int x);\n' >>"$box/src/base/c.h"
printf 'int ds4_d(int x)\n{\n    return x;\n}\nint e = ds4_d(1);\n' >>"$box/src/base/c.c"
together "a public function for its own file" "src/base/c.h:3: unused: ds4_d() has no user"
printf '/* d_test.c - 13. */\nint x = ds4_d(1);\n' >"$box/tests/base/d_test.c"
together "a public function for tests, without a reason" "src/base/c.h:3: unused: tests alone use ds4_d()"
printf '/* c.h - nine. */\nint ds4_c(int x);\n/* Tests compare with it. */\nint ds4_d(int x);\n' >"$box/src/base/c.h"
text=$(check); report $? "a public function for tests, with a reason"

two_files
printf 'int ds4_d(int x,\n          struct y { int z; } *y);\nint ds4_e(int x,\n          int y);\n' >>"$box/src/base/c.h"
together "a function that is defined nowhere" "src/base/c.h:5: unused: ds4_e() is declared and defined nowhere"

two_files
printf '/* ds4.h - the public part. */\nint ds4_d(int x);\n' >"$box/include/ds4.h"
printf '#include "ds4.h"\nint ds4_d(int x)\n{\n    return x;\n}\n' >>"$box/src/base/c.c"
together "the library has nobody at all" "include/ds4.h:2: unused: ds4_d() has no user"
printf '/* d_test.c - 13. */\nint x = ds4_d(1);\n' >"$box/tests/base/d_test.c"
text=$(check); report $? "the library may be for others and tests"

two_files
printf '/* ds4_b() is a name here: return ds4_b(x); "ds4_b(" */\nstatic const char *t = "ds4_b(x)"; int k = y.ds4_b + y->ds4_b(1);\n' \
    >>"$box/src/base/c.c"
text=$(check); report $? "comments, texts and members call nobody"

small_tree
mkdir -p "$box/no_awk"
printf '#!/bin/sh\necho no memory >&2\nexit 2\n' >"$box/no_awk/awk"
chmod +x "$box/no_awk/awk"
PATH=$box/no_awk:$PATH check >/dev/null 2>&1
[ $? -eq 1 ]; report $? "a checker that does not run is no success"

small_tree
{ printf '/* f.c - eight. */\nint f(void)\n{\n'; lines 58 '    x();'; echo '}'
  echo '/* 80 columns are not 110: ｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜｜ */'; } >"$box/src/base/f.c"
text=$(check); rc=$?
[ $rc -eq 0 ] && [ "$text" = "tree: 12 files, 0 violations" ]; report $? "60 lines are enough, wide characters are one column"

echo "1..$n"
exit $failed
