#!/bin/sh
# download.sh - download_model.sh against a server that breaks off, lies about sizes, redirects,
# answers pages, refuses and is busy: the right file with its link in the end, or one clear
# sentence, nothing lost and nothing half.
. tests/cli/tap.inc

whole=models/ds4-mini.gguf
size=$(wc -c <"$whole" | tr -d ' ')
digest=$( (sha256sum "$whole" 2>/dev/null || shasum -a 256 "$whole") | cut -c1-64)
name=Model-0731.gguf
list=$box/list
printf 'REPOSITORY own/models\nmini %s %s %s\nasked - - %s\nmtp %s %s draft.gguf\n' \
    "$size" "$digest" $name $name "$size" "$digest" >"$list"
export DS4_DOWNLOAD_PATIENCE=4 HOME="$box" HF_HOME="$box"
unset HF_TOKEN

host=
stop_host() { [ -z "$host" ] || kill "$host" 2>/dev/null; }
trap 'stop_host; rm -rf "$box"' EXIT
serve() {                               # serve [FILE]: a fresh server of a file
    stop_host
    : >"$box/port"
    "$out/tests/tools/model_host" "${1:-$whole}" "$size" "$digest" >"$box/port" 2>"$box/requests" &
    host=$!
    tries=100
    until [ -s "$box/port" ] || [ $tries -eq 0 ]; do sleep 0.05; tries=$((tries - 1)); done
    port=$(cat "$box/port")
}
get() {                                 # get FAULT NAME [OPTION...]
    export HF_ENDPOINT="http://127.0.0.1:$port/$1"
    shift
    run timeout 120 ./download_model.sh --catalogue "$list" --dir "$box/dir" "$@"
}
fresh() { rm -rf "$box/dir"; serve "$@"; }
complete() {                            # complete NAME: file, link and nothing else
    cmp -s "$whole" "$box/dir/$name"
    report $? "$1: the bytes"
    is "$1: the link" $name "$(readlink "$box/dir/ds4flash.gguf")"
    is "$1: nothing else" "$name $name.sha256 ds4flash.gguf " "$(ls -A "$box/dir" | tr '\n' ' ')"
}
refused() {                             # refused NAME WORDS: no file, no link
    is "$1 fails" 1 $rc
    has "$1 is told" "$box/stderr" "$2"
    is "$1: no file and no link" "" "$(ls "$box/dir" | grep -v '\.part')"
}

fresh; get fine mini
is "a download" 0 $rc; complete "a download"
has "its digest is told" "$box/stderr" "SHA-256 is right"
: >"$box/requests"
get fine mini
is "a second call succeeds" 0 $rc
is "and asks nobody" "" "$(cat "$box/requests")"
rm "$box/dir/$name.sha256"
get fine mini
is "without the note of the digest the file is read again" 0 $rc
printf 'x' | dd of="$box/dir/$name" bs=1 seek=100000 conv=notrunc 2>/dev/null
sleep 1; touch "$box/dir/$name"
get fine mini
is "a file that changed is not taken for right" 1 $rc
has "and stays" "$box/stderr" "is not the file that was asked for"

fresh; get cuts mini
is "a connection that breaks off" 0 $rc; complete "a connection that breaks off"
is "each went on where the last one ended" yes \
    "$(grep -c 'GET.* from [1-9]' "$box/requests" | awk '{ print ($1 > 3 ? "yes" : $1) }')"
fresh; get norange mini
is "a server that ignores ranges" 0 $rc; complete "a server that ignores ranges"
fresh; get busy mini
is "a busy server" 0 $rc; complete "a busy server"
fresh; get direct mini
is "a server without redirection" 0 $rc; complete "a server without redirection"

fresh; get gated mini --token hf_secret
is "a token opens the door" 0 $rc; complete "a token"
is "the token goes to the server that was named" yes "$(grep -q 'HEAD /gated.* token' "$box/requests" && echo yes)"
is "and to no other" "" "$(grep '/store.* token' "$box/requests")"
mkdir -p "$box/x" && echo hf_other >"$box/token"
fresh; get gated mini
is "the token's file is read" 0 $rc
rm "$box/token"
fresh; get gated mini;              refused "no token" "wants a token (401)"
fresh; get 401 mini --token hf_bad; refused "a bad token" "refuses the token (401)"
fresh; get 403 mini;                refused "what is forbidden" "wants a token (403)"
fresh; get 404 mini;                refused "what is not there" "is not at"
fresh; get 500 mini;                refused "a server in trouble" "status 500"
fresh; get page mini;               refused "a page in place of a file" "answers with a page"
fresh; get html mini;               refused "a page from the storage" "Please sign in"
is "and the page is not kept" "" "$(ls "$box/dir")"
fresh; get nowhere mini;            refused "a redirection to nowhere" "gopher://x"
fresh; get size mini;               refused "another size" "77 bytes"
fresh; get long mini;               refused "more bytes than there are" "sent more than"
fresh; get stuck mini;              refused "bytes that do not come" "no more bytes came"
is "what came is kept" $((size / 2)) "$(wc -c <"$box/dir/$name.part" | tr -d ' ')"
get fine mini
is "and gone on with" 0 $rc; complete "going on in another call"
fresh; get other mini;              refused "another digest" "another file under this name"
get other mini --anyway
is "even when it is wanted anyway, the bytes must agree" 1 $rc
has "with what the server says" "$box/stderr" "0123456789abcdef"

# The right size, and zeros in the middle.
cp "$whole" "$box/holes" && dd if=/dev/zero of="$box/holes" bs=4096 seek=300 count=50 conv=notrunc 2>/dev/null
fresh "$box/holes"; get fine mini
refused "a file with zeros" "the bytes are wrong"
is "the bad bytes are out of the way" yes "$([ -e "$box/dir/$name.part.bad" ] && echo yes)"

fresh; get fine asked
is "a digest that only the server knows" 0 $rc; complete "the server's digest"
fresh; get silent asked
is "nobody knows the digest" 0 $rc
has "and that is said" "$box/stderr" "only its size will be checked"

# A part of another revision; one that is too long; a lock.
mkdir -p "$box/old"
fresh; mkdir -p "$box/dir"; head -c 5000 "$whole" >"$box/dir/$name.part"; echo otherid >"$box/dir/$name.part.id"
get fine mini
is "a part of another revision is not gone on with" 0 $rc
has "and that is said" "$box/stderr" "part of another file"; complete "after it"
fresh; mkdir -p "$box/dir"; cat "$whole" "$whole" >"$box/dir/$name.part"; echo "$digest" >"$box/dir/$name.part.id"
get fine mini
is "a part that is too long is not gone on with" 0 $rc; complete "after that"
fresh; mkdir -p "$box/dir/.$name.lock"; echo $$ >"$box/dir/.$name.lock/pid"
get fine mini
refused "a second download" "another download"
echo 999999999 >"$box/dir/.$name.lock/pid"
get fine mini
is "a lock that was left behind is taken over" 0 $rc; complete "then"

fresh; mkdir -p "$box/dir"; echo mine >"$box/dir/ds4flash.gguf"
get fine mini
is "a file of the user's own stays" mine "$(cat "$box/dir/ds4flash.gguf")"
fresh; get fine mtp
is "a drafter is not linked" "draft.gguf draft.gguf.sha256 " "$(ls -A "$box/dir" | tr '\n' ' ')"
stop_host; host=
get fine mini
is "no server" 1 $rc
has "is told" "$box/stderr" "does not answer"

# The disk: more is asked for than it has.
printf 'REPOSITORY own/models\nmini 900000000000000 - %s\n' $name >"$list"
serve; sed -n 1p "$list" >/dev/null
"$out/tests/tools/model_host" "$whole" 900000000000000 "$digest" >"$box/port" 2>/dev/null &
other=$!
sleep 0.5
port=$(cat "$box/port")
get fine mini
kill $other
is "a disk without room" 1 $rc
has "is told with both numbers" "$box/stderr" "are needed"

run ./download_model.sh;            is "no name" 2 $rc
run ./download_model.sh nothing;    is "an unknown name" 2 $rc
run ./download_model.sh --frob;     is "an unknown option" 2 $rc
run ./download_model.sh --dir;      is "a missing value" 2 $rc
run ./download_model.sh --help;     is "help" 0 $rc
run ./download_model.sh list
is "the list has the published files" 10 "$(grep -c '^[a-z].*gguf$' "$box/stdout")"
has "with their digests" "$box/stdout" "ca22ae2f838e14077c22bc1c1417b71b45b5e5a3687bd96c2ac6e17fdb6261c0"
finish
