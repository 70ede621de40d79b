// markdown.js - an answer as DOM nodes. Nothing is ever parsed as HTML: text becomes text
// nodes, links get only addresses of known kinds, pictures become links. While an answer
// streams in, blocks that did not change keep their nodes.

import { el, copyButton } from "./dom.js";
import { highlight, languageName } from "./highlight.js";

const DEPTH = 12;               // of lists in quotes in lists; deeper is text

// ---- blocks -------------------------------------------------------------------------------

const FENCE = /^( {0,3})(`{3,}|~{3,})[ \t]*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?:[ \t]+(.*)|[ \t]*)$/;
const ROW_RULE = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const MATH = /^ {0,3}(\$\$|\\\[)/;

const blank = (line) => line.trim() === "";
const indent = (line) => line.length - line.trimStart().length;
const isTable = (lines, i) => i + 1 < lines.length && lines[i].includes("|") &&
    lines[i + 1].includes("-") && ROW_RULE.test(lines[i + 1]) &&
    cells(lines[i]).length === cells(lines[i + 1]).length;

// Does a line end the paragraph before it?
function begins(lines, i) {
    const line = lines[i], item = line.match(ITEM);
    return blank(line) || FENCE.test(line) || HEADING.test(line) || RULE.test(line) ||
        QUOTE.test(line) || MATH.test(line) || isTable(lines, i) ||
        Boolean(item && item[3] && (/^[-*+]/.test(item[2]) || parseInt(item[2], 10) === 1));
}

function fence(lines, i) {
    const [, space, marks, info] = lines[i].match(FENCE);
    const close = new RegExp(`^ {0,3}\\${marks[0]}{${marks.length},}[ \\t]*$`);
    const code = [];
    let   end = i + 1;

    while (end < lines.length && !close.test(lines[end])) {
        code.push(lines[end].replace(new RegExp(`^ {0,${space.length}}`), ""));
        end++;
    }
    return { end: Math.min(end + 1, lines.length), type: "code", language: info.trim().split(/\s/)[0],
             text: code.join("\n") };
}

function math(lines, i) {
    const close = lines[i].match(MATH)[1] === "$$" ? "$$" : "\\]";
    let   end = i;

    while (end < lines.length && !(lines[end].trimEnd().endsWith(close) &&
                                   (end > i || lines[i].trim().length > 2))) end++;
    end = Math.min(end + 1, lines.length);
    return { end, type: "math", text: lines.slice(i, end).join("\n") };
}

function quote(lines, i) {
    const inside = [];
    let   end = i;

    for (; end < lines.length; end++) {
        if (QUOTE.test(lines[end])) inside.push(lines[end].replace(QUOTE, ""));
        else if (begins(lines, end)) break;
        else inside.push(lines[end]);
    }
    return { end, type: "quote", lines: inside };
}

// Is a line a further item of a list whose markers stand at column `base`?
const sibling = (item, base, ordered) =>
    item && item[1].length < base + 2 && /\d/.test(item[2]) === ordered;

function list(lines, i) {
    const first = lines[i].match(ITEM);
    const base = first[1].length, ordered = /\d/.test(first[2]);
    const block = { type: "list", ordered, start: ordered ? parseInt(first[2], 10) : 1, loose: false,
                    items: [] };
    let   inside = null, width = 0, end = i;

    for (; end < lines.length; end++) {
        const line = lines[end], item = line.match(ITEM);
        if (sibling(item, base, ordered) && !RULE.test(line)) {
            inside = [item[3] || ""];
            width = item[1].length + item[2].length + 1;
            block.items.push(inside);
        } else if (blank(line)) {
            let next = end + 1;
            while (next < lines.length && blank(lines[next])) next++;
            if (next === lines.length) break;
            const more = sibling(lines[next].match(ITEM), base, ordered) && !RULE.test(lines[next]);
            if (!more && indent(lines[next]) < base + 2) break;
            block.loose ||= more;
            inside.push("");
        } else if (indent(line) >= base + 2) {
            inside.push(line.slice(Math.min(indent(line), width)));
        } else if (blank(lines[end - 1]) || begins(lines, end) || item) {
            break;
        } else {
            inside.push(line);
        }
    }
    block.end = end;
    return block;
}

function cells(line) {
    const out = [];
    let   cell = "", inCode = false;

    line = line.trim().replace(/^\|/, "");
    for (let i = 0; i < line.length; i++) {
        if (line[i] === "\\" && line[i + 1] === "|") cell += line[++i];
        else if (line[i] === "|" && !inCode) {
            out.push(cell.trim());
            cell = "";
        } else {
            if (line[i] === "`") inCode = !inCode && line.indexOf("`", i + 1) >= 0;
            cell += line[i];
        }
    }
    if (cell.trim()) out.push(cell.trim());
    return out;
}

function table(lines, i) {
    const sides = cells(lines[i + 1]).map((cell) =>
        cell.endsWith(":") ? (cell.startsWith(":") ? "middle" : "right") : "left");
    const block = { type: "table", sides, head: cells(lines[i]), rows: [] };

    for (block.end = i + 2; block.end < lines.length; block.end++) {
        if (!lines[block.end].includes("|")) break;
        block.rows.push(cells(lines[block.end]));
    }
    return block;
}

function paragraph(lines, i) {
    let end = i + 1;
    while (end < lines.length && !begins(lines, end)) end++;
    return { end, type: "text", text: lines.slice(i, end).map((line) => line.trim()).join("\n") };
}

function readBlock(lines, i) {
    const line = lines[i], heading = line.match(HEADING);

    if (FENCE.test(line)) return fence(lines, i);
    if (heading) return { end: i + 1, type: "heading", level: heading[1].length, text: heading[2] || "" };
    if (MATH.test(line)) return math(lines, i);
    if (RULE.test(line)) return { end: i + 1, type: "rule" };
    if (QUOTE.test(line)) return quote(lines, i);
    if (ITEM.test(line)) return list(lines, i);
    if (isTable(lines, i)) return table(lines, i);
    return paragraph(lines, i);
}

function readBlocks(lines) {
    const blocks = [];
    let   i = 0;

    while (i < lines.length) {
        if (blank(lines[i])) {
            i++;
            continue;
        }
        const block = readBlock(lines, i);
        block.source = lines.slice(i, block.end).join("\n");
        blocks.push(block);
        i = block.end;
    }
    return blocks;
}

// ---- text inside blocks ---------------------------------------------------------------------

const SAFE = /^(?:https?:\/\/|mailto:)/i;
const PUNCTUATION = /[!-\/:-@[-`{-~\u2010-\u2027\u3001-\u3003\uff01-\uff0f]/;
const ADDRESS = /https?:\/\/[^\s<>"'`\\]+/y;
const TARGET = /\(\s*(?:<([^<>\n]*)>|([^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)*))(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/y;

const SIGNS = {
    dots: "…", ldots: "…", cdots: "⋯", times: "×", cdot: "·", div: "÷", pm: "±", le: "≤", leq: "≤", ge: "≥",
    geq: "≥", ne: "≠", neq: "≠", approx: "≈", equiv: "≡", in: "∈", notin: "∉", subset: "⊂", cup: "∪", cap: "∩",
    to: "→", rightarrow: "→", Rightarrow: "⇒", implies: "⇒", iff: "⇔", forall: "∀", exists: "∃", infty: "∞",
    sum: "∑", prod: "∏", int: "∫", partial: "∂", nabla: "∇", sqrt: "√", alpha: "α", beta: "β", gamma: "γ",
    delta: "δ", epsilon: "ε", theta: "θ", lambda: "λ", mu: "μ", pi: "π", rho: "ρ", sigma: "σ", tau: "τ",
    phi: "φ", omega: "ω", Delta: "Δ", Sigma: "Σ", Omega: "Ω", quad: " ", ",": " ", log: "log", ln: "ln",
};

const signs = (text) => text.replace(/\\([A-Za-z]+|,)/g, (all, name) =>
    Object.hasOwn(SIGNS, name) ? SIGNS[name] : all);

function link(address, children) {
    const node = el("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" });
    for (const child of children) {
        if (child.nodeName === "A") node.append(...child.childNodes);
        else node.append(child);
    }
    return node;
}

// A reader of one piece of text: entries are nodes, strings, or marks that may become
// emphasis or links.
class Inline {
    constructor(text) {
        this.text = text;
        this.at = 0;
        this.entries = [];
        this.brackets = [];             // where in entries a [ waits
        this.unclosed = new Set();      // lengths of backtick runs that never end
        this.plain = "";
    }

    flush() {
        if (this.plain) this.entries.push(this.plain);
        this.plain = "";
    }

    put(node) {
        this.flush();
        this.entries.push(node);
    }

    match(pattern) {
        pattern.lastIndex = this.at;
        return pattern.exec(this.text);
    }

    code() {
        const marks = this.match(/`+/y)[0];
        const close = new RegExp(`(?<!\`)\`{${marks.length}}(?!\`)`, "g");

        close.lastIndex = this.at + marks.length;
        const end = this.unclosed.has(marks.length) ? null : close.exec(this.text);
        if (!end) {
            this.unclosed.add(marks.length);
            this.plain += marks;
            this.at += marks.length;
            return;
        }
        let inside = this.text.slice(this.at + marks.length, end.index).replaceAll("\n", " ");
        if (/^ .* $/.test(inside) && inside.trim()) inside = inside.slice(1, -1);
        this.put(el("code", null, inside));
        this.at = end.index + marks.length;
    }

    // A run of * or _ or ~ with what it may do, by the characters on both sides.
    mark() {
        const c = this.text[this.at];
        const run = this.match(c === "*" ? /\*+/y : c === "_" ? /_+/y : /~+/y)[0];
        const before = this.text[this.at - 1] || " ", after = this.text[this.at + run.length] || " ";
        const left = !/\s/.test(after) && (!PUNCTUATION.test(after) || /\s/.test(before) || PUNCTUATION.test(before));
        const right = !/\s/.test(before) && (!PUNCTUATION.test(before) || /\s/.test(after) || PUNCTUATION.test(after));
        const word = c === "_";

        this.at += run.length;
        if (c === "~" && run.length !== 2) {
            this.plain += run;
            return;
        }
        this.put({ mark: c, count: run.length, size: run.length,
                   open: left && (!word || !right || PUNCTUATION.test(before)),
                   close: right && (!word || !left || PUNCTUATION.test(after)) });
    }

    closeBracket() {
        const from = this.brackets.pop();
        this.at++;
        const target = from === undefined ? null : this.match(TARGET);
        if (!target) {
            this.plain += "]";
            return;
        }
        this.flush();
        const address = (target[1] ?? target[2]).replace(/\\([!-\/:-@[-`{-~])/g, "$1");
        const image = this.entries[from].image;
        const inside = emphasis(this.entries.splice(from).slice(1)).map(asNode);
        this.at += target[0].length;
        if (image && inside.length === 0) inside.push(document.createTextNode("picture"));
        if (SAFE.test(address)) this.entries.push(link(address, inside));
        else this.entries.push(...inside);
        if (!image) this.brackets.length = 0;
    }

    address() {
        const before = this.text[this.at - 1];
        const match = before && /\w/.test(before) ? null : this.match(ADDRESS);
        if (!match) return false;
        let text = match[0].replace(/[.,;:!?*_~\]]+$/, "");
        if (text.endsWith(")") && !text.includes("(")) text = text.slice(0, -1);
        this.put(link(text, [document.createTextNode(text)]));
        this.at += text.length;
        return true;
    }

    // \( ... \) is not typeset; only its commonest signs are.
    formula() {
        const end = this.text.indexOf("\\)", this.at + 2);
        if (end < 0 || end - this.at > 2000) return false;
        this.put(el("span.math", null, signs(this.text.slice(this.at + 2, end).trim())));
        this.at = end + 2;
        return true;
    }

    escape() {
        const next = this.text[this.at + 1];
        if (next === "(" && this.formula()) return;
        if (next && /[!-\/:-@[-`{-~]/.test(next)) {
            this.plain += next;
            this.at += 2;
        } else {
            this.plain += "\\";
            this.at++;
        }
    }

    openBracket(image) {
        this.put({ bracket: image ? "![" : "[", image });
        this.brackets.push(this.entries.length - 1);
        this.at += image ? 2 : 1;
    }

    step() {
        const c = this.text[this.at];
        if (c === "\\") return this.escape();
        if (c === "`") return this.code();
        if (c === "*" || c === "_" || c === "~") return this.mark();
        if (c === "[") return this.openBracket(false);
        if (c === "!" && this.text[this.at + 1] === "[") return this.openBracket(true);
        if (c === "]") return this.closeBracket();
        if (c === "h" && this.address()) return undefined;
        if (c === "\n") {
            this.plain = this.plain.trimEnd();
            this.put(el("br"));
        } else {
            this.plain += c;
        }
        this.at++;
        return undefined;
    }

    read() {
        const ordinary = /[^\\`*_~[\]!h\n]+/y;
        while (this.at < this.text.length) {
            const run = this.match(ordinary);
            if (run) {
                this.plain += run[0];
                this.at += run[0].length;
            } else {
                this.step();
            }
        }
        this.flush();
        return emphasis(this.entries).map(asNode);
    }
}

function asNode(entry) {
    if (typeof entry === "string") return document.createTextNode(entry);
    if (entry.bracket) return document.createTextNode(entry.bracket);
    if (entry.mark) return document.createTextNode(entry.mark.repeat(entry.count));
    return entry;
}

// CommonMark's rule for runs whose lengths add up to a multiple of three.
const misfit = (a, b) => (a.close || b.open) && (a.size + b.size) % 3 === 0 &&
    !(a.size % 3 === 0 && b.size % 3 === 0);

// Pairs marks from left to right. `bottom` remembers how far back a search of the same kind
// failed, so that a text of many marks stays linear.
function emphasis(entries) {
    const bottom = new Map();
    let   j = 0;

    while (j < entries.length) {
        const closer = entries[j];
        if (!closer.mark || !closer.close) {
            j++;
            continue;
        }
        const kind = `${closer.mark}${closer.open}${closer.size % 3}`, floor = bottom.get(kind) ?? 0;
        let   i = j - 1;
        while (i >= floor && !(entries[i].mark === closer.mark && entries[i].open &&
                               !misfit(entries[i], closer))) i--;
        if (i < floor) {
            bottom.set(kind, j);
            j++;
            continue;
        }
        j = pair(entries, i, j);
    }
    return entries;
}

// Wraps what is between the marks i and j; returns where the closing mark is now.
function pair(entries, i, j) {
    const opener = entries[i], closer = entries[j];
    const n = opener.mark === "~" || (opener.count >= 2 && closer.count >= 2) ? 2 : 1;
    const tag = opener.mark === "~" ? "del" : n === 2 ? "strong" : "em";
    const node = el(tag, null, entries.slice(i + 1, j).map(asNode));

    opener.count -= n;
    closer.count -= n;
    const from = opener.count > 0 ? i + 1 : i, to = closer.count > 0 ? j : j + 1;
    entries.splice(from, to - from, node);
    return from + 1;
}

const inline = (text) => new Inline(text).read();

// ---- nodes ----------------------------------------------------------------------------------

export function codeBlock(text, language) {
    return el("div.code", null,
        el("div.code-head", null, el("span", null, languageName(language)),
           copyButton("Copy the code", () => text)),
        el("pre", { tabindex: "0" }, el("code", null, highlight(text, language))));
}

function itemNode(block, lines, depth) {
    const task = lines[0].match(/^\[([ xX])\][ \t]+(.*)$/);
    const item = el(task ? "li.task" : "li");

    if (task) {
        item.append(el("input", { type: "checkbox", disabled: true, checked: task[1] !== " ",
                                  "aria-label": task[1] === " " ? "open" : "done" }));
        lines = [task[2], ...lines.slice(1)];
    }
    for (const child of readBlocks(lines)) {
        if (child.type === "text" && !block.loose) item.append(el("span", null, inline(child.text)));
        else item.append(blockNode(child, depth + 1));
    }
    return item;
}

function tableNode(block) {
    const row = (tag, line) => el("tr", null, block.sides.map((side, i) =>
        el(`${tag}.${side}`, null, inline(line[i] || ""))));
    return el("div.table", { tabindex: "0", role: "region", "aria-label": "Table" }, el("table", null,
        el("thead", null, row("th", block.head)),
        el("tbody", null, block.rows.map((line) => row("td", line)))));
}

function blockNode(block, depth) {
    if (depth > DEPTH) return el("p", null, block.source);
    switch (block.type) {
    case "code":    return codeBlock(block.text, block.language);
    case "math":    return el("pre.math", { tabindex: "0" }, signs(block.text));
    case "heading": return el(`h${Math.min(block.level + 2, 6)}.h${block.level}`, null, inline(block.text));
    case "rule":    return el("hr");
    case "quote":   return el("blockquote", null, readBlocks(block.lines).map((b) => blockNode(b, depth + 1)));
    case "table":   return tableNode(block);
    case "list":    return el(block.ordered ? "ol" : "ul", { start: block.ordered && block.start !== 1 && block.start },
                              block.items.map((lines) => itemNode(block, lines, depth)));
    default:        return el("p", null, inline(block.text));
    }
}

// Tabs in front of a line count as four columns, but for code, where they are the text.
function linesOf(text) {
    let closing = null;

    return text.replace(/\r\n?/g, "\n").split("\n").map((line) => {
        const marks = line.match(/^\s*(`{3,}|~{3,})/)?.[1];
        if (closing === null && marks) closing = marks;
        else if (closing && marks?.startsWith(closing) && line.trim() === marks) closing = null;
        if (closing && !marks) return line;
        return line.replace(/^[ \t]+/, (space) => space.replaceAll("\t", "    "));
    });
}

// Shows a text in a container that shows nothing else. Blocks that are as they were the last
// time keep their nodes, with what the user selected or scrolled there.
export function renderMarkdown(container, text) {
    const blocks = readBlocks(linesOf(text));
    const before = container.ds4Sources || [];
    let   same = 0;

    while (same < blocks.length && same < before.length && blocks[same].source === before[same]) same++;
    while (container.childNodes.length > same) container.lastChild.remove();
    for (const block of blocks.slice(same)) container.append(blockNode(block, 0));
    container.ds4Sources = blocks.map((block) => block.source);
}
