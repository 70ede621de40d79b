// highlight.js - colours for code, as DOM nodes. One pass of one regular expression for each
// language: comments, strings, numbers, words. It does not parse, it only has to look right,
// and every pattern reads each character a bounded number of times.

const words = (text) => new Set(text.split(" "));

const C_COMMENT = String.raw`\/\/[^\n]*|\/\*(?:[^*]|\*(?!\/))*(?:\*\/|$)`;
const HASH_COMMENT = String.raw`#[^\n]*`;
const DOUBLE = String.raw`"(?:[^"\\\n]|\\[^])*(?:"|$|(?=\n))`;
const SINGLE = String.raw`'(?:[^'\\\n]|\\[^])*(?:'|$|(?=\n))`;
const TEMPLATE = "`(?:[^`\\\\]|\\\\[^])*(?:`|$)";
const TRIPLE = String.raw`[rbfuRBFU]{0,2}(?:"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$))`;
const NUMBER = String.raw`\b(?:0[xX][\da-fA-F_']+|0[bB][01_]+|\d[\d_']*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)[a-zA-Z]{0,4}\b`;
const WORD = String.raw`[A-Za-z_$][\w$]*`;

// One language from its parts; those that are left out never match.
function language({ comment, string, meta, number = NUMBER, word = WORD, keys = "", types = "",
                    literals = "true false null", ignoreCase = false, functions = true }) {
    const parts = [comment, string, meta, number, word].map((part) => `(${part || "(?!)"})`);
    return {
        pattern: new RegExp(parts.join("|"), "gm"),
        keys: words(keys), types: words(types), literals: words(literals), ignoreCase, functions,
    };
}

const C_KEYS = "break case const continue default do else enum extern for goto if inline register " +
    "restrict return sizeof static struct switch typedef union volatile while _Atomic _Generic " +
    "_Static_assert alignas alignof constexpr static_assert thread_local";
const C_TYPES = "void char short int long float double signed unsigned bool _Bool size_t ssize_t " +
    "ptrdiff_t int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t intptr_t uintptr_t FILE";
const CPP_KEYS = " catch class co_await co_return co_yield concept const_cast consteval constinit " +
    "decltype delete dynamic_cast explicit export final friend import module mutable namespace new " +
    "noexcept operator override private protected public reinterpret_cast requires static_cast " +
    "template this throw try typename using virtual";
const JS_KEYS = "as async await break case catch class const continue debugger default delete do else " +
    "export extends finally for from function get if import in instanceof let new of return set " +
    "static super switch this throw try typeof var void while with yield";
const JAVA_KEYS = "abstract assert break case catch class const continue default do else enum extends " +
    "final finally for goto if implements import instanceof interface native new package private " +
    "protected public record return static strictfp super switch synchronized this throw throws " +
    "transient try var volatile while yield";

const c = language({
    comment: C_COMMENT, string: `${DOUBLE}|${SINGLE}`, keys: C_KEYS, types: C_TYPES,
    meta: String.raw`^[ \t]*#[ \t]*\w+(?:[ \t]*<[^>\n]*>)?`, literals: "true false NULL nullptr",
});
const cpp = language({
    comment: C_COMMENT, string: `${DOUBLE}|${SINGLE}`, keys: C_KEYS + CPP_KEYS,
    types: C_TYPES + " auto string vector map set pair wchar_t char8_t",
    meta: String.raw`^[ \t]*#[ \t]*\w+(?:[ \t]*<[^>\n]*>)?`, literals: "true false NULL nullptr",
});
const js = language({
    comment: C_COMMENT, string: `${DOUBLE}|${SINGLE}|${TEMPLATE}`, keys: JS_KEYS,
    types: "Array Boolean Date Error Map Number Object Promise RegExp Set String Symbol",
    literals: "true false null undefined NaN Infinity", meta: String.raw`@\w+`,
});
const ts = language({
    comment: C_COMMENT, string: `${DOUBLE}|${SINGLE}|${TEMPLATE}`, meta: String.raw`@\w+`,
    keys: JS_KEYS + " abstract declare enum implements interface is keyof namespace private protected " +
        "public readonly satisfies type infer",
    types: "any bigint boolean never number object string symbol unknown void Array Promise Record " +
        "Partial Map Set", literals: "true false null undefined NaN Infinity",
});
const python = language({
    comment: HASH_COMMENT, string: `${TRIPLE}|[rbfuRBFU]{0,2}(?:${DOUBLE}|${SINGLE})`,
    keys: "and as assert async await break case class continue def del elif else except finally for " +
        "from global if import in is lambda match nonlocal not or pass raise return try while with yield",
    types: "int float str bool bytes list dict set tuple object type range", meta: String.raw`@[\w.]+`,
    literals: "True False None self cls",
});
const rust = language({
    comment: C_COMMENT, string: `r#*"[^"]*"#*|b?${DOUBLE}|'(?:[^'\\\\\\n]|\\\\[^'\\n]+)'`,
    keys: "as async await break const continue crate dyn else enum extern fn for if impl in let loop " +
        "match mod move mut pub ref return self Self static struct super trait type unsafe use where while",
    types: "bool char f32 f64 i8 i16 i32 i64 i128 isize str u8 u16 u32 u64 u128 usize String Vec " +
        "Option Result Box Rc Arc HashMap Some None Ok Err",
    meta: String.raw`#!?\[[^\]\n]*\]|\b[a-z_]+!`, literals: "true false",
});
const go = language({
    comment: C_COMMENT, string: `${DOUBLE}|${SINGLE}|${TEMPLATE}`,
    keys: "break case chan const continue default defer else fallthrough for func go goto if import " +
        "interface map package range return select struct switch type var",
    types: "any bool byte complex128 error float32 float64 int int8 int16 int32 int64 rune string uint " +
        "uint8 uint16 uint32 uint64 uintptr", literals: "true false nil iota",
});
const java = language({
    comment: C_COMMENT, string: `"""[^]*?(?:"""|$)|${DOUBLE}|${SINGLE}`, keys: JAVA_KEYS,
    types: "boolean byte char double float int long short void String Integer List Map Object",
    meta: String.raw`@\w+`,
});
const csharp = language({
    comment: C_COMMENT, string: `[$@]{0,2}${DOUBLE}|${SINGLE}`,
    keys: JAVA_KEYS + " as async await base checked delegate event explicit foreach get implicit in " +
        "internal is lock namespace operator out override params readonly ref sealed set sizeof struct " +
        "unchecked unsafe using virtual where",
    types: "bool byte char decimal double float int long object sbyte short string uint ulong ushort void var",
    meta: String.raw`^[ \t]*#\w+|^[ \t]*\[[^\]\n]*\]`,
});
const swift = language({
    comment: C_COMMENT, string: `"""[^]*?(?:"""|$)|${DOUBLE}`,
    keys: "actor as async await break case catch class continue default defer do else enum extension " +
        "fallthrough fileprivate for func guard if import in init inout is let mutating open private " +
        "protocol public repeat rethrows return self static struct subscript super switch throw throws " +
        "try typealias var weak where while",
    types: "Any Bool Character Double Float Int String UInt Array Dictionary Optional Set Void",
    meta: String.raw`[@#]\w+`, literals: "true false nil",
});
const kotlin = language({
    comment: C_COMMENT, string: `"""[^]*?(?:"""|$)|${DOUBLE}|${SINGLE}`,
    keys: "abstract as break by class companion const constructor continue data do else enum final for " +
        "fun if import in init inline interface internal is lateinit object open override package " +
        "private protected public return sealed super suspend this throw try typealias val var when where while",
    types: "Any Boolean Byte Char Double Float Int List Long Map Nothing Set Short String Unit",
    meta: String.raw`@\w+`,
});
const php = language({
    comment: `${C_COMMENT}|${HASH_COMMENT}`, string: `${DOUBLE}|${SINGLE}`,
    keys: JAVA_KEYS + " and array as callable declare echo elseif empty foreach function global include " +
        "isset list match namespace or print require require_once trait unset use fn",
    types: "bool float int string mixed void", meta: String.raw`<\?(?:php)?|\?>`,
});
const ruby = language({
    comment: HASH_COMMENT, string: `${DOUBLE}|${SINGLE}`, meta: String.raw`:[a-z_]\w*|@{1,2}\w+`,
    keys: "alias and begin break case class def do else elsif end ensure for if in module next not or " +
        "redo rescue retry return self super then undef unless until when while yield require attr_accessor",
    literals: "true false nil",
});
const lua = language({
    comment: String.raw`--\[\[[^]*?(?:\]\]|$)|--[^\n]*`, string: `${DOUBLE}|${SINGLE}`,
    keys: "and break do else elseif end for function goto if in local not or repeat return then until while",
    literals: "true false nil",
});
const shell = language({
    comment: String.raw`(?:^|(?<=\s))#[^\n]*`,
    string: String.raw`"(?:[^"\\]|\\[^])*(?:"|$)|'[^']*(?:'|$)`,
    meta: String.raw`\$\{[^}\n]*\}|\$[\w@#?*!$-]|(?<=\s)--?[A-Za-z][\w-]*`, functions: false,
    word: String.raw`[A-Za-z_][\w-]*`,
    keys: "if then else elif fi for in do done while until case esac function return break continue local " +
        "export readonly set unset shift exit source alias trap",
    types: "cd cp mv rm ls mkdir cat echo printf grep sed awk find xargs sort head tail curl wget git make " +
        "sudo apt apt-get brew npm pip python python3 node docker chmod chown tar ssh test", literals: "true false",
});
const sql = language({
    comment: String.raw`--[^\n]*|\/\*[^]*?(?:\*\/|$)`, string: String.raw`'(?:[^']|'')*(?:'|$)|"[^"\n]*"`,
    keys: "add all alter and as asc begin between by case check column commit constraint create cross " +
        "database default delete desc distinct drop else end exists foreign from full group having if in " +
        "index inner insert into is join key left like limit not offset on or order outer primary " +
        "references returning right rollback select set table then transaction union unique update using " +
        "values view when where with",
    types: "bigint blob boolean char date decimal float int integer numeric real serial text time timestamp " +
        "uuid varchar", literals: "true false null", ignoreCase: true,
});
const css = language({
    comment: String.raw`\/\*[^]*?(?:\*\/|$)`, string: `${DOUBLE}|${SINGLE}`, functions: true,
    meta: String.raw`@[\w-]+|--[\w-]+|(?<=[{;\s])[a-z-]+(?=\s*:[^:{}]*[;}])`,
    number: String.raw`#[\da-fA-F]{3,8}\b|-?\b\d+(?:\.\d+)?(?:[a-z]+|%)?`, word: "[a-zA-Z-]+", literals: "",
});
const yaml = language({
    comment: String.raw`(?:^|(?<=\s))#[^\n]*`, string: `${DOUBLE}|${SINGLE}`, functions: false,
    meta: String.raw`^[ \t]*(?:- +)*[\w.\/-]+(?=[ \t]*:(?:\s|$))`, word: String.raw`[A-Za-z_][\w-]*`,
    literals: "true false null yes no on off",
});
const toml = language({
    comment: String.raw`[#;][^\n]*`, string: `${TRIPLE}|${DOUBLE}|${SINGLE}`, functions: false,
    meta: String.raw`^[ \t]*\[[^\]\n]*\]+|^[ \t]*[\w."-]+(?=[ \t]*=)`,
});
const json = language({
    comment: C_COMMENT, meta: String.raw`"(?:[^"\\\n]|\\.)*"(?=\s*:)`, string: DOUBLE, functions: false,
});
// Keys of objects go before other strings, comments included for JSON with comments.
json.pattern = new RegExp(String.raw`(\/\/[^\n]*)|((?!))|("(?:[^"\\\n]|\\.)*"(?=\s*:)|"(?:[^"\\\n]|\\.)*"?)` +
                          String.raw`|(-?\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)|([a-z]+)`, "gm");
json.keysAreStrings = true;
const make = language({
    comment: HASH_COMMENT, string: `${DOUBLE}|${SINGLE}`, functions: false, literals: "",
    meta: String.raw`^[\w.\/%$() -]+:(?!=)|\$[({][^)}\n]*[)}]|\$[@<^?*%+]`,
    keys: "ifeq ifneq ifdef ifndef else endif include define endef export override",
});
const docker = language({
    comment: HASH_COMMENT, string: `${DOUBLE}|${SINGLE}`, functions: false, literals: "",
    meta: String.raw`\$\{[^}\n]*\}|\$\w+`,
    keys: "FROM RUN CMD LABEL EXPOSE ENV ADD COPY ENTRYPOINT VOLUME USER WORKDIR ARG AS HEALTHCHECK SHELL",
});
const haskell = language({
    comment: String.raw`--[^\n]*|\{-[^]*?(?:-\}|$)`, string: DOUBLE, word: String.raw`[A-Za-z_][\w']*`,
    keys: "case class data deriving do else if import in infix infixl infixr instance let module newtype " +
        "of qualified then type where", types: "Int Integer Float Double Bool Char String IO Maybe Either",
    literals: "True False Nothing Just", functions: false,
});
const zig = language({
    comment: String.raw`\/\/[^\n]*`, string: `${DOUBLE}|${SINGLE}|\\\\\\\\[^\\n]*`, meta: String.raw`@\w+`,
    keys: "and break catch comptime const continue defer else enum errdefer error export extern fn for if " +
        "inline or orelse packed pub return struct switch test try union unreachable usingnamespace var while",
    types: "bool f32 f64 i8 i16 i32 i64 isize type u8 u16 u32 u64 usize void anytype anyerror noreturn",
    literals: "true false null undefined",
});

const LANGUAGES = {
    c, h: c, cpp, "c++": cpp, cc: cpp, cxx: cpp, hpp: cpp, cuda: cpp, cu: cpp, metal: cpp, objc: c,
    javascript: js, js, jsx: js, mjs: js, node: js, typescript: ts, ts, tsx: ts, json, jsonc: json,
    json5: json, jsonl: json, python, py: python, rust, rs: rust, go, golang: go, java, csharp, cs: csharp,
    "c#": csharp, swift, kotlin, kt: kotlin, php, ruby, rb: ruby, lua, bash: shell, sh: shell, shell,
    zsh: shell, console: shell, terminal: shell, sql, sqlite: sql, mysql: sql, postgresql: sql, css,
    scss: css, less: css, yaml, yml: yaml, toml, ini: toml, conf: toml, make, makefile: make,
    dockerfile: docker, docker, haskell, hs: haskell, zig,
};
const MARKUP = words("html xml svg xhtml vue svelte htm plist");
const NAMES = {
    js: "JavaScript", javascript: "JavaScript", ts: "TypeScript", typescript: "TypeScript", py: "Python",
    rs: "Rust", cpp: "C++", cs: "C#", csharp: "C#", sh: "Shell", bash: "Bash", html: "HTML", css: "CSS",
    sql: "SQL", json: "JSON", yaml: "YAML", yml: "YAML", toml: "TOML", xml: "XML", php: "PHP", go: "Go",
};

export function languageName(tag) {
    const known = NAMES[tag.toLowerCase()];
    return known || (tag ? tag[0].toUpperCase() + tag.slice(1) : "Text");
}

function span(kind, text) {
    const node = document.createElement("span");
    node.className = `hl-${kind}`;
    node.textContent = text;
    return node;
}

function wordKind(text, at, end, source, how) {
    const word = how.ignoreCase ? text.toLowerCase() : text;
    if (how.keys.has(word)) return "key";
    if (how.types.has(word)) return "type";
    if (how.literals.has(word)) return "num";
    if (how.functions && source[end] === "(") return "fun";
    return null;
}

function code(source, how, out) {
    let last = 0;
    for (const match of source.matchAll(how.pattern)) {
        const text = match[0];
        const end = match.index + text.length;
        let   kind = null;

        if (match[1] !== undefined) kind = "com";
        else if (match[2] !== undefined) kind = "str";
        else if (match[3] !== undefined) kind = "meta";
        else if (match[4] !== undefined) kind = "num";
        else kind = wordKind(text, match.index, end, source, how);
        if (how.keysAreStrings && kind === "meta" && !/^\s*:/.test(source.slice(end, end + 40))) kind = "str";
        if (!kind || !text) continue;
        out.append(source.slice(last, match.index), span(kind, text));
        last = end;
    }
    out.append(source.slice(last));
}

// Tags with their attributes; scripts and styles inside stay plain.
function markup(source, out) {
    let last = 0;
    for (const match of source.matchAll(/<!--[^]*?(?:-->|$)|<[\/!?]?[A-Za-z][^<>]*>?|&#?\w+;/g)) {
        out.append(source.slice(last, match.index));
        last = match.index + match[0].length;
        if (match[0].startsWith("<!--")) out.append(span("com", match[0]));
        else if (match[0][0] === "&") out.append(span("num", match[0]));
        else tag(match[0], out);
    }
    out.append(source.slice(last));
}

function tag(source, out) {
    const name = source.match(/^<[\/!?]?[\w:.-]+/)[0];
    let   last = name.length;

    out.append(span("key", name));
    const attributes = source.slice(name.length);
    last = 0;
    for (const match of attributes.matchAll(/("[^"]*"?|'[^']*'?)|([\w:@.-]+)/g)) {
        out.append(attributes.slice(last, match.index), span(match[1] ? "str" : "fun", match[0]));
        last = match.index + match[0].length;
    }
    out.append(attributes.slice(last));
}

function diff(source, out) {
    for (const line of source.split(/(?<=\n)/)) {
        const kind = /^(\+\+\+|---|@@|diff |index )/.test(line) ? "meta"
            : line[0] === "+" ? "add" : line[0] === "-" ? "del" : null;
        out.append(kind ? span(kind, line) : line);
    }
}

// Longer code is shown without colours: nobody reads it in a chat, and it has to stay fluent.
const MOST = 60000;

// The code as a fragment of text nodes and spans.
export function highlight(source, languageTag) {
    const out = document.createDocumentFragment();
    const tagName = languageTag.toLowerCase();

    if (source.length > MOST) out.append(source);
    else if (MARKUP.has(tagName)) markup(source, out);
    else if (tagName === "diff" || tagName === "patch") diff(source, out);
    else if (Object.hasOwn(LANGUAGES, tagName)) code(source, LANGUAGES[tagName], out);
    else out.append(source);
    return out;
}
