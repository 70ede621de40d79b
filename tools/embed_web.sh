#!/bin/sh
# embed_web.sh - the files of folders as a C table, see src/app/server/web_assets.h.
#
#   tools/embed_web.sh FOLDER... >web_assets.c
#
# chat.html becomes "/", another NAME.html "/NAME", the rest "/assets/NAME".
set -eu
export LC_ALL=C
[ $# -gt 0 ] || { echo "usage: embed_web.sh FOLDER..." >&2; exit 2; }

type_of() {
    case $1 in
        *.html)        echo "text/html; charset=utf-8" ;;
        *.css)         echo "text/css; charset=utf-8" ;;
        *.js)          echo "text/javascript; charset=utf-8" ;;
        *.svg)         echo "image/svg+xml" ;;
        *.woff2)       echo "font/woff2" ;;
        *.webmanifest) echo "application/manifest+json" ;;
        *)             return 1 ;;
    esac
}

path_of() {
    case $1 in
        chat.html) echo / ;;
        *.html)    echo "/${1%.html}" ;;
        *)         echo "/assets/$1" ;;
    esac
}

echo '/* web_assets.c - made by tools/embed_web.sh; see web_assets.h. */'
echo '#include "app/server/web_assets.h"'
n=0 table=
for folder in "$@"; do for file in "$folder"/*; do
    name=${file##*/}
    type=$(type_of "$name") || continue
    [ -s "$file" ] || continue
    # CRC and size: enough to tell two builds apart.
    etag=$(cksum <"$file" | awk '{ printf "%08x-%x", $1, $2 }')
    bytes=$(wc -c <"$file" | tr -d ' ')
    printf '\nstatic const uint8_t asset_%d[] = {\n' "$n"
    od -An -v -tu1 "$file" | sed 's/  */ /g; s/^ //; s/ *$/,/; s/ /,/g'
    echo '};'
    table="$table    { \"$(path_of "$name")\", \"$type\", asset_$n, $bytes, \"\\\\\"$etag\\\\\"\" },
"
    n=$((n + 1))
done; done
[ "$n" -gt 0 ] || { echo "embed_web: no files in $*" >&2; exit 1; }
printf '\nconst ds4_web_asset ds4_web_assets[] = {\n%b};\n' "$table"
printf 'const size_t ds4_web_n_assets = %d;\n' "$n"
