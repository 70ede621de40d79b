#!/bin/sh
# web_libs.sh - the page's libraries: built in where npm is, and a build that works without it.
# The npm here is a stand-in that asks no registry.
. tests/cli/tap.inc

# The system's own tools, and no npm.
mkdir "$box/bin"
for tool in sh sed cp mv rm mkdir cat head diff; do ln -s "$(command -v $tool)" "$box/bin/$tool"; done
make_libs() { PATH=$box/bin "$box/bin/sh" tools/web_libs.sh "$box/web"; }
fake_npm() {
    { echo '#!/bin/sh'; cat; } >"$box/bin/npm"
    chmod +x "$box/bin/npm"
}

run make_libs
is "without npm the build goes on" 0 "$rc"
has "and says so, with the way to more" "$box/stderr" "no npm here); \`make page\`"
is "every module is there and empty" 3 "$(grep -l 'export default null' "$box"/web/files/*.js | wc -l | tr -d ' ')"
report "$([ -e "$box/web/plain" ]; echo $?)" "a later build knows that it may try again"
touch -d '2001-01-01' "$box/web/stamp"
run make_libs
is "what stays the same is not built again" "$(date -d '2001-01-01' +%s)" "$(stat -c %Y "$box/web/stamp")"

echo 'echo "getaddrinfo ENOTFOUND" >&2; exit 1' | fake_npm
run make_libs
is "without network the build goes on" 0 "$rc"
has "and says where npm's words are" "$box/stderr" "npm could not get them, see $box/web/npm.log"
has "which are kept" "$box/web/npm.log" "ENOTFOUND"

# Packages as npm lays them.
fake_npm <<'END'
printf '%s\n' "$*" >args
mkdir -p node_modules/markdown-it/dist/browser node_modules/markdown-it-footnote/dist node_modules/temml/dist \
    node_modules/@fontsource/stix-two-math/files
for p in markdown-it markdown-it-footnote temml @fontsource/stix-two-math; do
    printf '{\n  "version": "1.2.3"\n}\n' >node_modules/$p/package.json
    echo "Licence of $p <b>&" >node_modules/$p/LICENSE
done
printf 'export default 1;\n//# sourceMappingURL=x.map\n' >node_modules/markdown-it/dist/browser/markdown-it.esm.min.mjs
echo 'f();' >node_modules/markdown-it-footnote/dist/markdown-it-footnote.min.js
echo 'var temml = 1;' >node_modules/temml/dist/temml.min.js
for f in Temml-Local.css Temml.woff2; do echo $f >node_modules/temml/dist/$f; done
echo font >node_modules/@fontsource/stix-two-math/files/stix-two-math-latin-400-normal.woff2
END
run make_libs
is "with npm they are built in" 0 "$rc"
is "without a word" "" "$(cat "$box/stderr")"
has "as modules" "$box/web/files/temml.js" "export default temml;"
is "without the names of source maps" "export default 1;" "$(cat "$box/web/files/markdown-it.js")"
has "their licences as text" "$box/web/files/licences.html" "Licence of temml &lt;b&gt;&amp;"
has "those of scoped packages too" "$box/web/files/licences.html" "<h2>@fontsource/stix-two-math 1.2.3</h2>"
report "$([ ! -e "$box/web/plain" ]; echo $?)" "and nothing is to be tried again"
has "no script of a package runs" "$box/web/args" "--ignore-scripts"
report "$([ "$(stat -c %Y "$box/web/stamp")" -gt 1000000000 ]; echo $?)" "the program is built again"
is "the lock file names no registry" 0 "$(grep -c resolved src/app/server/web/libs/package-lock.json)"
is "and has a digest for each package" "$(grep -c '"node_modules/' src/app/server/web/libs/package-lock.json)" \
    "$(grep -c '"integrity": "sha512-' src/app/server/web/libs/package-lock.json)"

run sh tools/embed_web.sh "$box/web/files"
is "they become a table in C" 0 "$rc"
has "with the type of fonts" "$box/stdout" '"/assets/stix-two-math.woff2", "font/woff2"'
has "and a page of licences" "$box/stdout" '"/licences", "text/html; charset=utf-8"'
finish
