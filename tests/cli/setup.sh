#!/bin/sh
# setup.sh - the installer asks each package manager for the right packages, and for none
# when nothing is missing. Every command it could call is a stand-in in a folder of its own.
set -u
root=$(pwd)
out=${OUT:-build}
box=$root/$out/cli_setup
n=0 failed=0

ok() {                                  # ok NAME, after a test of $?
    rc=$?
    n=$((n + 1))
    if [ "$rc" -eq 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; failed=1; fi
}

fake() {                                # fake COMMAND: its body on standard input
    { echo '#!/bin/sh'; cat; } >"$box/$1"
    chmod +x "$box/$1"
}

fresh() {                               # a bare system: SYSTEM MACHINE UID
    rm -rf "$box" && mkdir -p "$box"
    echo "case \$1 in -s) echo $1 ;; -m) echo $2 ;; esac" | fake uname
    echo "echo $3" | fake id
}

complete() {                            # everything installed
    for c in make qemu-aarch64 pkg-config curl git c++ tmux bwrap; do echo 'exit 0' | fake "$c"; done
    for c in cc clang aarch64-linux-gnu-gcc; do echo 'echo /dev' | fake $c; done
}

sh_path=$(command -v sh)
setup() { (unset CC; PATH=$box exec "$sh_path" "$root/tools/setup.sh" "$@") </dev/null 2>&1; }

fresh Linux x86_64 0; complete
text=$(setup build test check fuzz); rc=$?
[ $rc -eq 0 ] && [ -z "$text" ]; ok "silent when nothing is missing"

fresh Linux x86_64 0
text=$(setup build); rc=$?
[ $rc -eq 1 ] && case $text in *"no apt-get, dnf, pacman or Homebrew"*) true ;; *) false ;; esac
ok "says so when there is no package manager"

setup dance >/dev/null; [ $? -eq 2 ]; ok "refuses an unknown group"

fresh Linux x86_64 0
echo 'exit 0' | fake apt-cache
echo 'exit 0' | fake apt-get
text=$(setup --dry-run build test check fuzz)
[ "$text" = "setup: installing gcc libc6-dev make pkg-config libjansson-dev libsqlite3-dev libxxhash-dev libssl-dev libpcre2-dev libedit-dev liburing-dev libcurl4-openssl-dev \
libutf8proc-dev libcmocka-dev curl git g++ tmux bubblewrap clang gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user libclang-rt-dev (with apt-get)
env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 \
gcc libc6-dev make pkg-config libjansson-dev libsqlite3-dev libxxhash-dev libssl-dev libpcre2-dev libedit-dev liburing-dev libcurl4-openssl-dev libutf8proc-dev libcmocka-dev curl git g++ tmux bubblewrap clang gcc-aarch64-linux-gnu \
libc6-dev-arm64-cross qemu-user libclang-rt-dev" ]; ok "apt-get: packages of all groups"

fresh Linux aarch64 1000
echo 'exit 1' | fake apt-cache
echo 'exit 0' | fake apt-get
echo 'exit 0' | fake sudo
text=$(setup --dry-run test check)
[ "$text" = "setup: installing libcmocka-dev curl git g++ tmux bubblewrap clang gcc (with apt-get and sudo after refreshing its lists)
sudo -n env DEBIAN_FRONTEND=noninteractive apt-get update -qq
sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 \
libcmocka-dev curl git g++ tmux bubblewrap clang gcc" ]; ok "apt-get: sudo, lists fetched first, no emulator on Arm"

fresh Linux x86_64 1000
echo 'exit 0' | fake dnf
text=$(setup build); rc=$?
[ $rc -eq 1 ] && case $text in *"not root and no sudo"*) true ;; *) false ;; esac
ok "says so when it may not install"

fresh Linux x86_64 1000; complete
rm "$box/qemu-aarch64"
echo 'exit 0' | fake apt-get
text=$(setup build test check); rc=$?
[ $rc -eq 0 ] && case $text in *"not root and no sudo"*) true ;; *) false ;; esac
ok "goes on without what a check can skip"

fresh Linux x86_64 0
echo 'exit 0' | fake dnf
text=$(setup --dry-run build test check)
[ "$text" = "setup: installing gcc glibc-devel make pkgconf-pkg-config jansson-devel \
sqlite-devel xxhash-devel openssl-devel pcre2-devel libedit-devel liburing-devel libcurl-devel utf8proc-devel libcmocka-devel curl git gcc-c++ tmux bubblewrap clang libasan libubsan (with dnf)
dnf install -y -q gcc glibc-devel make pkgconf-pkg-config jansson-devel sqlite-devel xxhash-devel openssl-devel pcre2-devel libedit-devel liburing-devel libcurl-devel utf8proc-devel \
libcmocka-devel curl git gcc-c++ tmux bubblewrap clang libasan libubsan" ]; ok "dnf: leaves out the Arm compiler it does not have"

fresh Linux x86_64 0
echo 'exit 0' | fake pacman
text=$(setup --dry-run build test)
[ "$text" = "setup: installing gcc make pkgconf jansson sqlite xxhash openssl pcre2 libedit liburing curl libutf8proc cmocka git tmux bubblewrap clang (with pacman)
pacman -S --needed --noconfirm gcc make pkgconf jansson sqlite xxhash openssl pcre2 libedit liburing curl libutf8proc cmocka git tmux bubblewrap clang" ]; ok "pacman"

fresh Darwin arm64 501
for c in cc make clang; do echo 'exit 0' | fake $c; done
echo 'exit 0' | fake brew
text=$(setup --dry-run build test check fuzz)
[ "$text" = "setup: installing pkgconf jansson xxhash openssl@3 pcre2 utf8proc cmocka tmux (with brew)
env HOMEBREW_NO_AUTO_UPDATE=1 NONINTERACTIVE=1 brew install -q pkgconf jansson xxhash openssl@3 pcre2 utf8proc cmocka tmux" ]
ok "Homebrew: without sudo, without what macOS brings"

fresh Darwin arm64 501
echo 'exit 0' | fake brew
text=$(setup build); rc=$?
[ $rc -eq 1 ] && case $text in *"xcode-select --install"*) true ;; *) false ;; esac
ok "macOS without a compiler: names the command"

# An apt-get whose first install fails as with lists from last year.
fresh Linux x86_64 0; complete
rm "$box/make"
echo 'exit 0' | fake apt-cache
echo 'shift; exec "$@"' | fake env
echo "case \$1 in update) : >'$box/updated' ;; install) [ -e '$box/updated' ] && : >'$box/make' && \
/bin/chmod +x '$box/make' ;; esac" | fake apt-get
text=$(setup build); rc=$?
[ $rc -eq 0 ] && [ "$text" = "setup: installing make (with apt-get)" ]; ok "refreshes old lists and tries again"

echo 'exit 100' | fake apt-get
rm -f "$box/make"
text=$(setup build); rc=$?
[ $rc -eq 1 ] && case $text in *"apt-get could not install make"*) true ;; *) false ;; esac
ok "reports a failed installation"

echo "1..$n"
exit $failed
