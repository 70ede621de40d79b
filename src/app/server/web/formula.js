// formula.js - formulas in answers: TeX between $, $$, \( \), \[ \] or in an environment, as
// MathML nodes made by Temml. What it cannot set stays as it was written.

import temml from "./temml.js";
import { el } from "./dom.js";

const LONGEST = 4000;           // characters of one formula; longer ones stay text
const ENVIRONMENT = /^\\begin\{((?:equation|align|alignat|gather|multline|eqnarray|cases|[bpvBV]?matrix|array|split)\*?)\}/;

// ---- where formulas are -------------------------------------------------------------------

const escaped = (text, at) => {
    let n = 0;
    while (text[at - 1 - n] === "\\") n++;
    return n % 2 === 1;
};

// The index of a closing mark that no backslash takes away; -1 when there is none before `to`.
function closing(text, mark, from, to) {
    for (let at = text.indexOf(mark, from); at >= 0 && at < to; at = text.indexOf(mark, at + 1)) {
        if (mark[0] === "\\" || !escaped(text, at)) return at;
    }
    return -1;
}

const CLOSES = { "$$": "$$", "\\(": "\\)", "\\[": "\\]", "$": "$" };

// A single dollar opens before what is no space and closes after what is none and before what
// is no digit, so that prices stay prices.
const opens = (text, mark, from) => mark !== "$" || !/\s/.test(text[from] ?? " ");

function closingOf(text, mark, from, to) {
    let at = closing(text, CLOSES[mark], mark === "$" ? from + 1 : from, to);
    while (mark === "$" && at >= 0 && (/\s/.test(text[at - 1]) || /\d/.test(text[at + 1] ?? ""))) {
        at = closing(text, "$", at + 1, to);
    }
    return at;
}

function inlineRule(state, silent) {
    const text = state.src, at = state.pos;
    const mark = Object.keys(CLOSES).find((one) => text.startsWith(one, at));
    if (!mark) return false;

    const from = at + mark.length;
    // Where a search has failed, later ones in this text would fail too.
    const failed = state.env.ds4NoFormula?.of === text ? state.env.ds4NoFormula : { of: text };
    if (failed[mark] <= at || !opens(text, mark, from)) return false;
    const end = closingOf(text, mark, from, state.posMax);
    if (end < 0 && state.posMax === text.length) state.env.ds4NoFormula = { ...failed, [mark]: at };
    const tex = end < 0 ? "" : text.slice(from, end).trim();
    if (!tex || tex.length > LONGEST) return false;
    if (!silent) {
        const token = state.push("formula", "", 0);
        token.content = tex;
        token.markup = text.slice(at, end + mark.length);
        token.meta = { display: mark === "$$" || mark === "\\[" };
    }
    state.pos = end + mark.length;
    return true;
}

const lineOf = (state, i) => state.src.slice(state.bMarks[i] + state.tShift[i], state.eMarks[i]);

// The marks of a line that begins a formula of its own lines.
function blockMarks(line) {
    if (line.startsWith("$$")) return { open: "$$", close: "$$", skip: 2 };
    if (line.startsWith("\\[")) return { open: "\\[", close: "\\]", skip: 2 };
    const name = line.match(ENVIRONMENT)?.[1];
    return name ? { open: line, close: `\\end{${name}}`, skip: 0, whole: true } : null;
}

// A formula has no empty line. One that is open at the end of the text is still being written:
// it is shown as text.
function blockRule(state, startLine, endLine, silent) {
    if (state.sCount[startLine] - state.blkIndent >= 4) return false;
    const marks = blockMarks(lineOf(state, startLine));
    if (!marks) return false;

    const lines = [];
    for (let i = startLine; i < endLine; i++) {
        const line = lineOf(state, i), body = i === startLine ? line.slice(marks.skip) : line;
        const end = body.indexOf(marks.close);
        if (i > startLine && (state.isEmpty(i) || state.sCount[i] < state.blkIndent)) return false;
        lines.push(body);
        if (end < 0 && i + 1 < endLine) continue;
        if (end >= 0 && body.slice(end + marks.close.length).trim()) return false;
        if (silent) return true;
        if (end >= 0) lines[lines.length - 1] = body.slice(0, marks.whole ? end + marks.close.length : end);
        const token = state.push("formula_block", "", 0);
        token.block = true;
        token.content = lines.join("\n").trim();
        token.markup = state.getLines(startLine, i + 1, state.blkIndent, false);
        token.meta = { display: true, open: end < 0 };
        token.map = [startLine, i + 1];
        state.line = i + 1;
        return true;
    }
    return false;
}

// A plug-in of markdown-it: tokens "formula" and "formula_block".
export function formulas(md) {
    md.inline.ruler.before("escape", "formula", inlineRule);
    md.block.ruler.before("fence", "formula_block", blockRule,
                          { alt: ["paragraph", "reference", "blockquote", "list"] });
}

// ---- their nodes --------------------------------------------------------------------------

// While an answer grows, a paragraph is set again with each of its words: its formulas are
// kept, the oldest ones forgotten.
const set = new Map();
const MOST_SET = 400;

function mathml(tex, display) {
    const key = `${display ? 1 : 0}${tex}`, known = set.get(key);
    if (known) return known.cloneNode(true);
    const box = document.createElement("div");
    temml.render(tex, box, { displayMode: display, throwOnError: true, trust: false, maxExpand: 500, maxSize: [20, 200] });
    if (set.size >= MOST_SET) set.delete(set.keys().next().value);
    set.set(key, box.firstChild);
    return box.firstChild.cloneNode(true);
}

export function formulaNode({ content, markup, meta }) {
    try {
        if (!meta.open && content.length <= LONGEST) {
            const math = mathml(content, meta.display);
            return meta.display ? el("span.formula", { tabindex: "0" }, math) : math;
        }
    } catch { /* shown as it was written */ }
    return el(meta.display ? "span.formula.source" : "code.source", { dir: "ltr" }, markup.trim());
}
