#!/bin/sh
# setup.sh - install what building, testing, checking or fuzzing needs, if it is missing.
#
#   tools/setup.sh [--dry-run] GROUP...      groups: build test check lint fuzz page web proxy
#                                           languages
#
# Silent when everything is there. Otherwise it says in one line what it installs and how,
# then does it with apt-get, dnf, pacman or Homebrew. --dry-run only prints the commands.
set -u

dry_run=no
wanted=
for arg in "$@"; do
    case $arg in
        --dry-run)              dry_run=yes ;;
        build|test|check|lint|fuzz|page|web|proxy|languages) wanted="$wanted $arg" ;;
        *) echo "setup: unknown argument '$arg'; expected --dry-run, build, test, check, lint, fuzz, page, web, proxy or languages" >&2
           exit 2 ;;
    esac
done
[ -n "$wanted" ] || wanted=" build"
system=$(uname -s) machine=$(uname -m)
cc=${CC:-cc}

# ---- what is there ------------------------------------------------------------------

has() { command -v "$1" >/dev/null 2>&1; }
has_lib() { has pkg-config && pkg-config --exists "$1" 2>/dev/null; }
has_compiler() { echo '#include <stdio.h>' | "$cc" -E - >/dev/null 2>&1; }
# A gcc answers with a path when it has the file and with the bare name when not.
has_file() {
    case $("$1" -print-file-name="$2" 2>/dev/null) in
        */*) return 0 ;;
        *)   return 1 ;;
    esac
}
# gcc's sanitizers are packages of their own on some systems; clang's come with it or not.
has_sanitizers() {
    [ "$system" = Darwin ] || has_file "$cc" libasan.so ||
    "$cc" --version 2>/dev/null | { read -r first; case $first in *clang*) true ;; *) false ;; esac; }
}
has_clang_runtime() {
    has clang || return 1
    [ "$system" = Darwin ] || [ -d "$(clang -print-runtime-dir 2>/dev/null)" ]
}
has_browser() {
    for name in chromium chromium-browser google-chrome; do
        has "$name" && return 0
    done
    [ -x "${CHROMIUM:-/Applications/Google Chrome.app/Contents/MacOS/Google Chrome}" ]
}
# The Arm kernels run natively on Arm and are emulated on x86-64 Linux only.
emulates_arm() { [ "$system" = Linux ] && [ "$machine" = x86_64 ]; }

# Is the need met? Libraries that macOS brings itself have no package there.
met() {
    case $1 in
        compiler)      has_compiler ;;
        make)          has make ;;
        pkg-config)    has pkg-config ;;
        jansson)       has_lib jansson ;;
        sqlite)        [ "$system" = Darwin ] || has_lib sqlite3 ;;
        xxhash)        has_lib libxxhash ;;
        openssl)       has_lib libcrypto ;;
        pcre2)         has_lib libpcre2-8 ;;
        liburing)      [ "$system" != Linux ] || has_lib liburing ;;
        libedit)       [ "$system" = Darwin ] || has_lib libedit ;;
        libcurl)       [ "$system" = Darwin ] || has_lib libcurl ;;
        utf8proc)      has_lib libutf8proc ;;
        cmocka)        has_lib cmocka ;;
        c++-compiler)  [ "$system" = Darwin ] || has "${CXX:-c++}" || has g++ ;;
        curl)          [ "$system" = Darwin ] || has curl ;;
        bwrap)         [ "$system" != Linux ] || has bwrap ;;
        tmux)          has tmux ;;
        git)           [ "$system" = Darwin ] || has git ;;
        mandoc)        has mandoc ;;
        man)           has man ;;
        zsh)           has zsh ;;
        fish)          has fish ;;
        promtool)      has promtool ;;
        sanitizers)    has_sanitizers ;;
        arm-compiler)  ! emulates_arm || has aarch64-linux-gnu-gcc ;;
        arm-libc)      ! emulates_arm || has_file aarch64-linux-gnu-gcc libc.a ;;
        arm-emulator)  ! emulates_arm || has qemu-aarch64 ;;
        clang)         has clang ;;
        clang-runtime) has_clang_runtime ;;
        npm)           has npm && has node ;;
        browser)       has_browser ;;
        nginx)         has nginx || [ -x /usr/sbin/nginx ] ;;
        haproxy)       has haproxy || [ -x /usr/sbin/haproxy ] ;;
        caddy)         has caddy ;;
        python3|rustc|tclsh|sqlite3|bc) has "$1" ;;
    esac
}

needs_of() {
    case $1 in
        build) echo compiler make pkg-config jansson sqlite xxhash openssl pcre2 libedit liburing libcurl utf8proc ;;
        test)  echo cmocka curl git c++-compiler tmux bwrap clang ;;
        check) echo sanitizers arm-compiler arm-libc arm-emulator ;;
        lint)  echo mandoc man zsh fish promtool ;;
        fuzz)  echo clang clang-runtime ;;
        page)  echo npm ;;
        web)   echo npm browser nginx ;;
        proxy) echo nginx haproxy caddy ;;
        languages) echo npm python3 rustc tclsh sqlite3 bc ;;
    esac
}

# need           apt-get                dnf                    pacman                 brew
# "-": nothing to install there; "?": that system has no such package.
packages="
compiler         gcc,libc6-dev          gcc,glibc-devel        gcc                    ?
make             make                   make                   make                   make
pkg-config       pkg-config             pkgconf-pkg-config     pkgconf                pkgconf
jansson          libjansson-dev         jansson-devel          jansson                jansson
sqlite           libsqlite3-dev         sqlite-devel           sqlite                 -
xxhash           libxxhash-dev          xxhash-devel           xxhash                 xxhash
openssl          libssl-dev             openssl-devel          openssl                openssl@3
pcre2            libpcre2-dev           pcre2-devel            pcre2                  pcre2
libedit          libedit-dev            libedit-devel          libedit                -
liburing         liburing-dev           liburing-devel         liburing               -
libcurl          libcurl4-openssl-dev   libcurl-devel          curl                   -
utf8proc         libutf8proc-dev        utf8proc-devel         libutf8proc            utf8proc
cmocka           libcmocka-dev          libcmocka-devel        cmocka                 cmocka
c++-compiler     g++                    gcc-c++                gcc                    -
curl             curl                   curl                   curl                   -
tmux             tmux                   tmux                   tmux                   tmux
bwrap            bubblewrap             bubblewrap             bubblewrap             -
git              git                    git                    git                    -
mandoc           mandoc                 mandoc                 ?                      mandoc
man              man-db                 man-db                 man-db                 -
zsh              zsh                    zsh                    zsh                    -
fish             fish                   fish                   fish                   fish
promtool         prometheus             ?                      prometheus             prometheus
sanitizers       gcc                    libasan,libubsan       gcc-libs               -
arm-compiler     gcc-aarch64-linux-gnu  ?                      aarch64-linux-gnu-gcc  -
arm-libc         libc6-dev-arm64-cross  ?                      aarch64-linux-gnu-glibc -
arm-emulator     qemu-user              ?                      qemu-user              -
clang            clang                  clang                  clang                  ?
clang-runtime    libclang-rt-dev        compiler-rt            compiler-rt            ?
npm              nodejs,npm             nodejs,npm             npm                    node
browser          chromium               chromium               chromium               ?
nginx            nginx-light            nginx                  nginx                  nginx
haproxy          haproxy                haproxy                haproxy                haproxy
caddy            caddy                  caddy                  caddy                  caddy
python3          python3                python3                python                 python3
rustc            rustc                  rust                   rust                   rust
tclsh            tcl                    tcl                    tcl                    tcl-tk
sqlite3          sqlite3                sqlite                 sqlite                 sqlite
bc               bc                     bc                     bc                     bc
"

# Needs that a system cannot meet are left out: `make check` skips the Arm kernels and what other programs say of
# pages, completions and numbers, `make test` the emulated GPU, without liburing a pool of threads reads streamed experts, and without libcurl the agent uses
# no servers of tools at an address; tests of the terminal want tmux, those of the sandbox bubblewrap too.
optional() {
    case $1 in
        arm-*|liburing|libcurl|c++-compiler|tmux|bwrap) return 0 ;;
        mandoc|man|zsh|fish|promtool)             return 0 ;;
        *)     return 1 ;;
    esac
}

missing=
for group in $wanted; do
    for need in $(needs_of "$group"); do
        met "$need" || missing="$missing $need"
    done
done
[ -n "$missing" ] || exit 0

# Say why nothing can be installed, and fail if it is needed.
give_up() {
    echo "setup: $1" >&2
    for need in $missing; do
        met "$need" || optional "$need" || exit 1
    done
    exit 0
}

# ---- how to get it ------------------------------------------------------------------

manager=
for candidate in brew apt-get dnf pacman; do
    [ "$candidate" = brew ] && [ "$system" != Darwin ] && continue
    if has "$candidate"; then
        manager=$candidate
        break
    fi
done
if [ -z "$manager" ]; then
    give_up "missing:$missing; this system has no apt-get, dnf, pacman or Homebrew to install them with: \
please install them by hand"
fi

package_of() {
    echo "$packages" | while read -r need apt dnf pacman brew; do
        [ "$need" = "$1" ] || continue
        case $manager in
            apt-get) echo "$apt" ;;
            dnf)     echo "$dnf" ;;
            pacman)  echo "$pacman" ;;
            brew)    echo "$brew" ;;
        esac
    done
}

as_root=
sudo_words=
if [ "$manager" != brew ] && [ "$(id -u)" != 0 ]; then
    if ! has sudo; then
        give_up "missing:$missing; not root and no sudo here: please install them as root"
    fi
    as_root=sudo
    [ -t 0 ] || as_root="sudo -n"
    sudo_words=" and sudo"
fi

run() {
    if [ "$dry_run" = yes ]; then
        echo "$*"
    else
        "$@"
    fi
}

install_now() {
    case $manager in
        apt-get)
            run $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
                --no-install-recommends -o Dpkg::Use-Pty=0 "$@" >&3 ;;
        dnf)    run $as_root dnf install -y -q "$@" >&3 ;;
        pacman) run $as_root pacman -S --needed --noconfirm "$@" >&3 ;;
        brew)   run env HOMEBREW_NO_AUTO_UPDATE=1 NONINTERACTIVE=1 brew install -q "$@" >&3 ;;
    esac
}

refresh() {
    case $manager in
        apt-get) run $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&3 ;;
        pacman)  run $as_root pacman -Sy --noconfirm >&3 ;;
        *)       : ;;
    esac
}

# apt-get knows no package that is not installed until its lists were fetched once.
lists_known() {
    [ "$manager" = apt-get ] || return 0
    for name in "$@"; do
        case $name in
            libclang-rt-dev) ;;
            *) apt-cache show "$name" >/dev/null 2>&1 || return 1 ;;
        esac
    done
}

# The tools' own chatter goes nowhere, or to the terminal with --dry-run.
if [ "$dry_run" = yes ]; then
    exec 3>&1
else
    exec 3>/dev/null
fi

names=
left_out=
for need in $missing; do
    package=$(package_of "$need")
    case $package in
        -)  ;;
        \?) optional "$need" || left_out="$left_out $need" ;;
        *)  for name in ${package%,*} ${package#*,}; do
                case " $names " in *" $name "*) ;; *) names="$names $name" ;; esac
            done ;;
    esac
done
if [ -n "$left_out" ]; then
    hint="please install by hand"
    [ "$manager" = brew ] && hint="please run: xcode-select --install"
    echo "setup: missing:$left_out; $manager has no package for this: $hint" >&2
    exit 1
fi
[ -n "$names" ] || exit 0
refreshed=no
announce_refresh=
# shellcheck disable=SC2086
lists_known $names || announce_refresh=" after refreshing its lists"
echo "setup: installing$names (with $manager$sudo_words$announce_refresh)"

if [ -n "$announce_refresh" ]; then
    refresh || give_up "$manager could not refresh its lists"
    refreshed=yes
fi
final=
for name in $names; do
    # Before 2022 the runtime was part of clang itself.
    [ "$name" != libclang-rt-dev ] || apt-cache show "$name" >/dev/null 2>&1 || continue
    final="$final $name"
done
# shellcheck disable=SC2086
if ! install_now $final; then
    # Old lists name versions that the server no longer has.
    if [ "$refreshed" = yes ] || ! refresh || ! install_now $final; then
        give_up "$manager could not install$final"
    fi
fi
[ "$dry_run" = yes ] && exit 0

for need in $missing; do
    met "$need" || give_up "still missing after the installation: $need"
done
