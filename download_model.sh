#!/bin/sh
# download_model.sh - get a published model file: resumed where it broke off, checked, linked.
#
# The part of a file lies beside its place as FILE.part, with the digest that it is a part of in
# FILE.part.id. Exit codes: 0 the file is there and right, 1 something failed (run it again to go
# on), 2 a wrong command line, 130 interrupted.
set -u
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd) || exit 1
catalogue=$here/models/published.txt
dir=$here
endpoint=${HF_ENDPOINT:-https://huggingface.co}
revision=main
token=${HF_TOKEN:-}
token_file=${HF_HOME:-${HOME:-/nowhere}/.cache/huggingface}/token
link=yes anyway=no name=
reserve_kb=1048576                      # of the disk stays free: 1 GB
patience=${DS4_DOWNLOAD_PATIENCE:-20}   # tries that bring nothing, one after the other

usage() {
    cat <<TXT
Usage: ./download_model.sh NAME [options]

Gets a model file and links it as ds4flash.gguf, which the programs open by
themselves. A download that breaks off goes on where it was.

  q2-imatrix        87 GB, routed experts in 2 bits: the usual one
  q2-q4-imatrix     98 GB, the last six layers' experts in 4 bits
  q4-imatrix       165 GB, all routed experts in 4 bits
  q2, q4            earlier revision, made without an importance matrix
  dspark             6 GB, drafter for the three above (not linked)
  mtp                4 GB, drafter for the earlier revision (not linked)
  list              all names with their sizes and digests

Options:
      --dir DIR         where the file goes [beside this script]
      --token TOKEN     for the server [HF_TOKEN, else $token_file]
      --revision REV    a commit or branch of the repository [main]
      --no-link         leave ds4flash.gguf alone
      --anyway          go on although the server's digest is not the known one
      --catalogue FILE  another list of files [models/published.txt]
  -h, --help            print this and exit

HF_ENDPOINT names another server with the same addresses.
TXT
}

say() { echo "download_model.sh: $*" >&2; }
wrong() { say "$*"; say "'./download_model.sh --help' lists the options"; exit 2; }
fail() { say "$*"; exit 1; }

while [ $# -gt 0 ]; do
    case $1 in
        -h|--help)   usage; exit 0 ;;
        --no-link)   link=no ;;
        --anyway)    anyway=yes ;;
        --dir|--token|--revision|--catalogue)
            [ $# -ge 2 ] && [ -n "$2" ] || wrong "$1 needs a value"
            case $1 in
                --dir) dir=$2 ;; --token) token=$2 ;; --revision) revision=$2 ;; *) catalogue=$2 ;;
            esac
            shift ;;
        -*)          wrong "unknown option $1" ;;
        *)           [ -z "$name" ] || wrong "unexpected argument $1"
                     name=$1 ;;
    esac
    shift
done
[ -n "$name" ] || { usage >&2; exit 2; }
[ -r "$catalogue" ] || fail "$catalogue: cannot be read"

if [ "$name" = list ]; then
    grep -Ev '^(#|REPOSITORY)' "$catalogue" | awk '
        { printf "%-20s %8s  %s\n%30s %s\n", $1, $2 == "-" ? "?" : sprintf("%.1f GB", $2 / 1e9), $4, "",
                 $3 == "-" ? "digest: ask the server" : "SHA-256 " $3 }'
    exit 0
fi

# ---- what is wanted ------------------------------------------------------------------------------

field() { awk -v name="$name" -v i="$1" '$1 == name { print $i; exit }' "$catalogue"; }
repository=$(awk '$1 == "REPOSITORY" { print $2; exit }' "$catalogue")
file=$(field 4) size=$(field 2) digest=$(field 3)
[ -n "$file" ] || wrong "no model is called $name; './download_model.sh list' shows the names"
[ "$size" != - ] || size=
[ "$digest" != - ] || digest=
known_digest=$digest
if [ -z "$token" ] && [ -r "$token_file" ]; then token=$(head -n 1 "$token_file"); fi
case $token in *[!A-Za-z0-9_.-]*) fail "the token has characters that no token has" ;; esac

command -v curl >/dev/null || fail "curl is needed and is not here"
if command -v sha256sum >/dev/null; then sha256() { sha256sum | cut -c1-64; }
elif command -v shasum >/dev/null; then sha256() { shasum -a 256 | cut -c1-64; }
elif command -v openssl >/dev/null; then sha256() { openssl dgst -sha256 | sed 's/.* //'; }
else fail "sha256sum, shasum or openssl is needed and none is here"
fi
mkdir -p "$dir" || fail "$dir: cannot be made"
[ -w "$dir" ] || fail "$dir: cannot be written"
target=$dir/$file part=$dir/$file.part

bytes_of() { [ -e "$1" ] && wc -c <"$1" | tr -d ' ' || echo 0; }
gigabytes() { awk -v n="$1" 'BEGIN { printf n < 1e8 ? "%.2f MB" : "%.1f GB", n < 1e8 ? n / 1e6 : n / 1e9 }'; }

# ---- one at a time -------------------------------------------------------------------------------

lock=$dir/.$file.lock
box=
clean() {
    rm -rf "$lock"
    [ -z "$box" ] || rm -rf "$box"
}
take_lock() {
    if ! mkdir "$lock" 2>/dev/null; then
        owner=$(cat "$lock/pid" 2>/dev/null)
        if [ -n "$owner" ] && kill -0 "$owner" 2>/dev/null; then
            fail "another download of $file is running (process $owner)"
        fi
        rm -rf "$lock"                  # left behind by one that was killed
        mkdir "$lock" 2>/dev/null || fail "$lock: cannot be made"
    fi
    echo $$ >"$lock/pid"
    trap clean EXIT
    trap 'say "interrupted; run it again to go on"; exit 130' INT TERM HUP
    box=$(mktemp -d "${TMPDIR:-/tmp}/ds4_download_XXXXXX") || fail "no folder for temporary files"
}

# ---- the server ----------------------------------------------------------------------------------

# The token goes to the server that was named and to no other, and not onto a command line.
ask() {                                 # ask URL OPTIONS OF curl...
    url=$1
    shift
    case $url in
        "$endpoint"/*) [ -z "$token" ] || printf 'header = "Authorization: Bearer %s"\n' "$token" ;;
    esac | curl -K - -sS --connect-timeout 30 "$@" -- "$url"
}
header() { sed -n "s/^$1: *//Ip" "$box/head" | tr -d '\r"' | tail -n 1; }

# Sleep as the server asks, between a second and five minutes.
pause() {
    seconds=$(header retry-after)
    case $seconds in ''|*[!0-9]*) seconds=$1 ;; esac
    [ "$seconds" -le 300 ] || seconds=300
    [ "$seconds" -lt 2 ] || say "waiting $seconds seconds"
    sleep "$seconds"
}

explain() {                             # explain STATUS: a refusal that will not change
    case $1 in
        401|403) if [ -n "$token" ]; then fail "the server refuses the token ($1); see --token"
                 else fail "the server wants a token ($1): --token, or HF_TOKEN"; fi ;;
        404|410) fail "$file is not at $endpoint/$repository, revision $revision ($1)" ;;
        4??)     [ "$1" = 429 ] || [ "$1" = 408 ] || fail "the server refuses: status $1" ;;
    esac
}

# Where the bytes are, how many, and their digest, as the server says: sets source, size, digest.
find_source() {
    address=$endpoint/$repository/resolve/$revision/$file
    tries=0
    while :; do
        : >"$box/head"
        status=$(ask "$address" --head -o /dev/null -D "$box/head" -w '%{http_code}' --max-time 60 2>"$box/said")
        case $status in 200|301|302|303|307|308) break ;; esac
        explain "$status"
        tries=$((tries + 1))
        [ $tries -lt "$patience" ] || fail "$endpoint does not answer: $( [ "$status" = 000 ] && head -n 1 "$box/said" || echo "status $status")"
        pause 3
    done
    source=$address
    if [ "$status" != 200 ]; then
        source=$(header location)
        case $source in
            http://*|https://*) ;;
            /*) source=$(echo "$endpoint" | sed 's|\(://[^/]*\).*|\1|')$source ;;
            *)  fail "the server redirects to '$source', which is no address" ;;
        esac
    fi
    case $(header content-type) in
        text/html*) [ "$status" != 200 ] || fail "the server answers with a page and not with a file: a proxy or a sign-in page?" ;;
    esac
    compare_claims
}

# What the server says against what is known.
compare_claims() {
    claimed_size=$(header x-linked-size) claimed=$(header x-linked-etag | tr A-F a-f)
    if [ -z "$claimed_size" ] && [ "$status" = 200 ]; then claimed_size=$(header content-length); fi
    case $claimed_size in *[!0-9]*) claimed_size= ;; esac
    case $claimed in *[!0-9a-f]*) claimed= ;; esac
    [ ${#claimed} -eq 64 ] || claimed=
    if [ -n "$known_digest" ] && [ -n "$claimed" ] && [ "$claimed" != "$known_digest" ]; then
        say "the server has another file under this name:"
        say "  known   $known_digest"
        say "  server  $claimed"
        [ "$anyway" = yes ] || fail "nothing was changed; --anyway takes the server's"
        size= known_digest=$claimed
    fi
    digest=${claimed:-$known_digest}
    if [ -n "$size" ] && [ -n "$claimed_size" ] && [ "$size" != "$claimed_size" ]; then
        fail "the server's file has $claimed_size bytes, $size are known to be right"
    fi
    size=${size:-$claimed_size}
    [ -n "$size" ] || fail "the server does not say how large $file is"
    [ -n "$digest" ] || say "nobody says the digest of $file: only its size will be checked"
}

# ---- the bytes -----------------------------------------------------------------------------------

check_room() {
    free_kb=$(df -Pk "$dir" | awk 'END { print $4 }')
    need_kb=$(( (size - $(bytes_of "$part")) / 1024 + reserve_kb ))
    [ "$free_kb" -ge "$need_kb" ] || fail "$dir has $(gigabytes $((free_kb * 1024))) free, $(gigabytes $((need_kb * 1024))) are needed (1 GB of it stays free)"
}

# A part of another revision, or one that is no model, is not gone on with.
check_part() {
    id=${digest:-$size}
    if [ -e "$part" ] && [ "$(cat "$part.id" 2>/dev/null)" != "$id" ]; then
        say "$part is a part of another file: starting anew"
        rm -f "$part"
    fi
    if [ "$(bytes_of "$part")" -gt "$size" ]; then
        say "$part is longer than the file: starting anew"
        rm -f "$part"
    fi
    echo "$id" >"$part.id" || fail "$part.id: cannot be written"
}

check_magic() {
    [ "$(bytes_of "$part")" -ge 4 ] || return 0
    [ "$(head -c 4 "$part")" = GGUF ] && return 0
    title=$(head -c 4000 "$part" | tr -d '\000' | tr '\n' ' ' | sed -n 's/.*<title>\([^<]*\)<.*/ ("\1")/p' | tr -dc '[:print:]' | cut -c1-80)
    rm -f "$part" "$part.id"
    fail "the server sent something that is no model file$title: a proxy or a sign-in page?"
}

# One attempt; sets rc (of curl) and status. Its output is bounded by the size that is known,
# whatever the server sends. From the first byte on, the digest is taken on the way.
fetch() {
    have=$(bytes_of "$part")
    : >"$box/head"
    [ -t 2 ] && meter=--progress-bar || meter=-s
    bound="$(( (size - have) / 512 + 2 ))"
    rm -f "$box/digest"
    if [ "$have" -eq 0 ]; then
        { ask "$source" $meter -f -L --max-redirs 5 -D "$box/head" --speed-limit 1000 --speed-time 60 2>"$box/said"
          echo $? >"$box/rc"; } | head -c "$((size + 1))" | { tee "$part"; echo $? >"$box/tee"; } | sha256 >"$box/digest"
        [ "$(cat "$box/tee")" = 0 ] || fail "$part: cannot be written; is the disk full?"
    else
        (ulimit -f $((have / 512 + bound)) 2>/dev/null
         ask "$source" $meter -f -L --max-redirs 5 -D "$box/head" --speed-limit 1000 --speed-time 60 \
             -C "$have" -o "$part" 2>"$box/said")
        echo $? >"$box/rc"
    fi
    rc=$(cat "$box/rc")
    status=$(sed -n 's/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$box/head" | tail -n 1)
}

# Until all bytes are there. What brings bytes is tried again at once, what brings none rests longer
# each time.
fetch_all() {
    idle=0
    while [ "$(bytes_of "$part")" -lt "$size" ]; do
        before=$(bytes_of "$part")
        fetch
        if [ "$(bytes_of "$part")" -gt "$size" ]; then
            rm -f "$part" "$part.id"
            fail "the server sent more than the $size bytes of $file: they were removed"
        fi
        check_magic
        if [ "$rc" = 33 ] || { [ "$rc" = 22 ] && [ "$status" = 416 ]; }; then
            say "the server cannot go on in the middle: starting anew"
            rm -f "$part"
        elif [ "$rc" = 23 ]; then
            fail "$part: cannot be written; is the disk full?"
        elif [ "$rc" = 22 ] && [ "$source" = "$address" ]; then
            explain "$status"
        fi
        now=$(bytes_of "$part")
        [ "$now" -lt "$size" ] || break
        [ "$now" -gt "$before" ] && idle=0
        idle=$((idle + 1))
        [ $idle -lt "$patience" ] || fail "no more bytes came in $idle tries ($(gigabytes "$now") of $(gigabytes "$size") are there): $(head -n 1 "$box/said"); run it again to go on"
        [ $idle -eq 1 ] && say "broke off at $(gigabytes "$now") of $(gigabytes "$size"); going on"
        pause $((idle < 6 ? idle - 1 : 30))
        find_source                     # addresses of storage expire
    done
}

# ---- the check -----------------------------------------------------------------------------------

hash_file() {                           # hash_file FILE, with progress on a terminal
    if [ -t 2 ] && dd if=/dev/null of=/dev/null status=progress 2>/dev/null; then
        dd if="$1" bs=4194304 status=progress | sha256
    else
        sha256 <"$1"
    fi
}

check_digest() {                        # check_digest FILE FOUND: of FILE; FOUND "" is computed
    found=$2
    if [ -z "$found" ]; then
        say "checking $(gigabytes "$size") (some minutes for a large file)"
        found=$(hash_file "$1")
    fi
    [ "$found" = "$digest" ]
}

# The file is kept with its digest beside it, so that a second call need not read it again.
finish() {
    if [ -n "$digest" ]; then
        echo "$digest  $file" >"$target.sha256" || fail "$target.sha256: cannot be written"
        say "$file: SHA-256 is right"
    fi
    case $name in dspark|mtp) link=no ;; esac
    if [ $link = yes ]; then
        if [ -e "$dir/ds4flash.gguf" ] && [ ! -L "$dir/ds4flash.gguf" ]; then
            say "$dir/ds4flash.gguf is a file and stays; use -m $target"
        else
            ln -sf "$file" "$dir/ds4flash.gguf" || fail "$dir/ds4flash.gguf: cannot be made"
            say "ds4flash.gguf is $file now: ./ds4 starts a conversation"
        fi
    else
        say "$target is there"
    fi
    exit 0
}

take_lock
if [ -e "$target" ]; then
    if [ "$(cut -c1-64 "$target.sha256" 2>/dev/null)" = "${known_digest:-none}" ] && [ ! "$target" -nt "$target.sha256" ]; then
        say "$file is there and was checked"
        digest=$known_digest
        finish
    fi
    find_source
    if [ "$(bytes_of "$target")" = "$size" ] && { [ -z "$digest" ] || check_digest "$target" ""; }; then finish; fi
    fail "$target is there and is not the file that was asked for: move it away"
fi
find_source
check_part
check_room
say "$file, $(gigabytes "$size"), to $dir"
[ "$(bytes_of "$part")" -eq 0 ] || say "going on at $(gigabytes "$(bytes_of "$part")")"
fetch_all
if [ -n "$digest" ] && ! check_digest "$part" "$(cat "$box/digest" 2>/dev/null)"; then
    mv "$part" "$part.bad"
    rm -f "$part.id"
    fail "SHA-256 is $found and should be $digest: the bytes are wrong; they lie in $part.bad"
fi
mv "$part" "$target" || fail "$target: cannot be made"
rm -f "$part.id"
finish
