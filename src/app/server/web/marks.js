// marks.js - the few HTML tags that models write for what Markdown lacks: <br>, <sub>, <sup>,
// <kbd>, <mark>, <u>, and <details> with a <summary>. They are read as Markdown is, without
// attributes, into tokens of markdown-it; every other tag stays text.

const BREAK = /<br\s*\/?>/iy;
const PAIR = /<(sub|sup|kbd|mark|u)>/iy;
const DEEPEST = 20;

const matchAt = (pattern, text, at) => {
    pattern.lastIndex = at;
    return pattern.exec(text);
};

function inlineRule(state, silent) {
    const at = state.pos;
    if (state.src.charCodeAt(at) !== 60) return false;

    const line = matchAt(BREAK, state.src, at);
    if (line) {
        if (!silent) state.push("hardbreak", "br", 0);
        state.pos += line[0].length;
        return true;
    }
    const pair = matchAt(PAIR, state.src, at);
    if (!pair || state.level >= DEEPEST) return false;
    const tag = pair[1].toLowerCase(), from = at + pair[0].length;
    const end = closingTag(state, tag, from);
    if (end < 0) return false;
    if (!silent) {
        const most = state.posMax;
        state.push("mark_open", tag, 1);
        state.pos = from;
        state.posMax = end;
        state.md.inline.tokenize(state);
        state.posMax = most;
        state.push("mark_close", tag, -1);
    }
    state.pos = end + tag.length + 3;
    return true;
}

// Where </tag> begins; -1 when there is none, and then no later search looks for it again.
function closingTag(state, tag, from) {
    const known = state.env.ds4NoTag;
    const none = known?.of === state.src ? known : { of: state.src };
    if (none[tag] <= from) return -1;
    const close = new RegExp(`</${tag}>`, "gi");
    close.lastIndex = from;
    const end = close.exec(state.src)?.index ?? -1;
    if (end >= 0 && end < state.posMax) return end;
    if (end < 0) state.env.ds4NoTag = { ...none, [tag]: from };
    return -1;
}

// ---- <details> ----------------------------------------------------------------------------

const OPEN = /^<details(?:\s+open)?>/i;
const CLOSE = /<\/details>/i;
const SUMMARY = /^\s*<summary>(.*?)<\/summary>/is;

const lineOf = (state, i) => state.src.slice(state.bMarks[i] + state.tShift[i], state.eMarks[i]);

// The line after the one that closes what startLine opens; while the text grows, its end.
function endOf(state, startLine, endLine) {
    let depth = 0;
    for (let i = startLine; i < endLine; i++) {
        const line = lineOf(state, i);
        if (OPEN.test(line)) depth++;
        if (CLOSE.test(line)) depth--;
        if (depth === 0) return i + 1;
    }
    return endLine;
}

function blockRule(state, startLine, endLine, silent) {
    if (state.sCount[startLine] - state.blkIndent >= 4) return false;
    if (!OPEN.test(lineOf(state, startLine)) || (state.env.ds4Details || 0) >= DEEPEST) return false;
    if (silent) return true;

    const end = endOf(state, startLine, endLine);
    let   inside = state.getLines(startLine, end, state.blkIndent, false).replace(/^\s*<details[^>]*>/i, "");
    const close = inside.toLowerCase().lastIndexOf("</details>");
    if (close >= 0) inside = inside.slice(0, close);
    const summary = inside.match(SUMMARY);
    if (summary) inside = inside.slice(summary[0].length);

    state.push("details_open", "details", 1).map = [startLine, end];
    state.push("summary_open", "summary", 1);
    const words = state.push("inline", "", 0);
    words.content = (summary?.[1] || "Details").trim();
    words.children = [];
    state.push("summary_close", "summary", -1);
    state.env.ds4Details = (state.env.ds4Details || 0) + 1;
    state.md.block.parse(inside, state.md, state.env, state.tokens);
    state.env.ds4Details--;
    state.push("details_close", "details", -1);
    state.line = end;
    return true;
}

// A plug-in of markdown-it.
export function marks(md) {
    md.inline.ruler.before("autolink", "mark", inlineRule);
    md.block.ruler.before("fence", "details", blockRule, { alt: ["paragraph", "reference", "blockquote", "list"] });
}
