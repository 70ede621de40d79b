#!/bin/sh
# web_libs.sh - the page's libraries from npm, as files that embed_web.sh takes.
#
#   tools/web_libs.sh OUT        OUT: a folder, made here; OUT/stamp changes when the files do
#
# src/app/server/web/libs/package-lock.json pins versions and digests. Without npm, or without
# a way to its registry, the files are empty modules: the page then shows answers as plain text
# and says so, and OUT/plain exists, so that a later make tries again.
set -eu
libs=src/app/server/web/libs
out=${1:?usage: web_libs.sh OUT}
mkdir -p "$out"

# Fetch the packages into OUT/node_modules. No retries: a build without network must not wait.
fetch() {
    cp "$libs/package.json" "$libs/package-lock.json" "$out/"
    (cd "$out" && npm ci --ignore-scripts --no-audit --no-fund --prefer-offline --loglevel=error \
        --fetch-retries=0 --fetch-timeout=20000) >"$out/npm.log" 2>&1
}

# Text as HTML text.
escaped() { sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g' "$1"; }

page_head() {
    cat <<'END'
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Licences · ds4</title>
<link rel="icon" type="image/svg+xml" href="assets/icon.svg">
<link rel="stylesheet" href="assets/base.css">
<link rel="stylesheet" href="assets/chat.css">
<script src="assets/theme.js"></script>
</head>
<body class="paper">
<main>
<p><a href="./">Back to the conversations</a></p>
<h1>Licences of what is in this page</h1>
END
}

licences() {
    page_head
    echo "<p>The page itself has the licence of ds4 (MIT). These packages are built into it:</p>"
    for folder in "$out"/node_modules/*/ "$out"/node_modules/@*/*/; do
        [ -f "$folder/package.json" ] || continue
        name=${folder#"$out"/node_modules/}
        name=${name%/}
        version=$(sed -n 's/^ *"version": "\([^"]*\)".*/\1/p' "$folder/package.json" | head -n 1)
        printf '<h2>%s %s</h2>\n<pre>' "$name" "$version"
        for text in "$folder"LICEN[CS]E*; do
            [ ! -f "$text" ] || escaped "$text"
        done
        echo '</pre>'
    done
    printf '</main>\n</body>\n</html>\n'
}

# The browsers' builds of the packages as modules with a default export, without the lines that
# name their source maps; fonts as they are.
modules() {
    from=$out/node_modules
    plainly='/^\/\/# sourceMappingURL=/d'
    sed "$plainly" "$from/markdown-it/dist/browser/markdown-it.esm.min.mjs" >"$1/markdown-it.js"
    sed "$plainly" "$from/markdown-it-footnote/dist/markdown-it-footnote.min.js" >"$1/footnote.js"
    echo 'export default globalThis.markdownitFootnote;' >>"$1/footnote.js"
    sed "$plainly" "$from/temml/dist/temml.min.js" >"$1/temml.js"
    echo 'export default temml;' >>"$1/temml.js"
    cp "$from/temml/dist/Temml-Local.css" "$1/temml.css"
    cp "$from/temml/dist/Temml.woff2" "$1/Temml.woff2"
    cp "$from/@fontsource/stix-two-math/files/stix-two-math-latin-400-normal.woff2" "$1/stix-two-math.woff2"
    licences >"$1/licences.html"
}

no_modules() {
    for name in markdown-it footnote temml; do
        printf '// %s.js - this program was built without npm, so the library is not in it.\nexport default null;\n' \
            "$name" >"$1/$name.js"
    done
    echo '/* temml.css - this program was built without npm. */' >"$1/temml.css"
    { page_head
      echo '<p>The page has the licence of ds4 (MIT). This program was built without npm: nothing else is in it.</p>'
      printf '</main>\n</body>\n</html>\n'; } >"$1/licences.html"
}

made=$out/part
rm -rf "$made"
mkdir "$made"
why=
if ! command -v npm >/dev/null 2>&1; then
    why="no npm here"
elif ! fetch; then
    why="npm could not get them, see $out/npm.log"
elif ! modules "$made" 2>"$out/npm.log"; then
    why="they are not as expected, see $out/npm.log"
fi
if [ -n "$why" ]; then
    echo "web: the page shows answers as plain text ($why); \`make page\` gets its libraries" >&2
    rm -f "$made"/*
    no_modules "$made"
    : >"$out/plain"
else
    rm -f "$out/plain"
fi
if [ -d "$out/files" ] && diff -r "$made" "$out/files" >/dev/null; then
    rm -r "$made"
    [ -f "$out/stamp" ] || : >"$out/stamp"
else
    rm -rf "$out/files"
    mv "$made" "$out/files"
    : >"$out/stamp"
fi
